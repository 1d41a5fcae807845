"""Features on disk, by the fingerprint of what they were computed from, so that they are computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from decoct.files import write_atomically


def kept_features(
    folder: Path, facts: dict[str, Any], compute: Callable[[], Float[Tensor, "n d"]], device: str
) -> tuple[Float[Tensor, "n d"], str | None]:
    """The features that `facts` (plain JSON: all that they follow from) name, from `folder` or computed and kept there.

    Beside them where they were computed: `device` if that is now, None where a file of an earlier version does not say.
    A file that is damaged or of other facts is computed anew. Raises `OutputError`, and what `compute` raises.
    """
    text = json.dumps(facts, sort_keys=True)
    path = folder / f"features-{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            if told.get("facts") == text:
                return file.get_tensor("features"), told.get("device")
    except (OSError, SafetensorError):
        pass
    table, told = compute(), {"facts": text, "device": device}
    write_atomically(path, lambda place: save_file({"features": table.contiguous()}, place, told))
    return table, device
