"""The data card of a saved set: `README.md` in the form of a Hugging Face data set card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from decoct.durations import show_bytes

_OPEN = """import json
import numpy as np
from safetensors.numpy import load_file

manifest = json.load(open("manifest.json", encoding="utf-8"))
tensors = load_file("set.safetensors")
"""

_CORESET = """weights = tensors["weights"]
labels = tensors["classes"]
inputs = tensors["raw"].astype(np.float32){unit}
"""

_LABELS = """weights = np.ones(len(tensors["classes"]), np.float32)
{labels}"""

_WHOLE = """labels = tensors["labels"]"""

_TOP_K = """values, indices = tensors["labels.values"], tensors["labels.indices"].astype(np.int64)
labels = np.zeros((*values.shape[:-1], {classes}), np.float32)  # probabilities, one column a class
np.put_along_axis(labels, indices, values.astype(np.float32), -1)
"""

_VALUES = """values = tensors["{name}"].astype(np.float32)
if "low" in tensors:  # 8 bits: a range for each channel
    low, step = (tensors[name].reshape(1, -1, 1, 1) for name in ("low", "step"))
    values = low + step * values
"""

_PIXELS = """inputs = values  # normalised already: feed them to a network as they are
"""

_ENLARGE = """
def enlarge(cell, axis, size):  # bilinear, half-pixel centres, border repeated
    length = cell.shape[axis]
    place = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    below = np.floor(place).astype(int)
    share = (place - below).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
    above = np.minimum(below + 1, length - 1)
    return cell.take(below, axis) * (1 - share) + cell.take(above, axis) * share
"""

_MULTIFORMATION = """
f, (count, channels, h, w) = manifest["config"]["factor"], values.shape
H, W = manifest["config"].get("size", (h, w))
cells = [
    enlarge(enlarge(values[:, :, i * h // f : (i + 1) * h // f, j * w // f : (j + 1) * w // f], 2, H), 3, W)
    for i in range(f)
    for j in range(f)
]
inputs = np.stack(cells, 1).reshape(count * f * f, channels, H, W)  # normalised already
"""

_SHARED = """
images = {images}
coefficients = tensors["coefficients"].astype(np.float32)
if "coefficient_low" in tensors:  # 8 bits: a range for each base
    coefficients = tensors["coefficient_low"] + tensors["coefficient_step"] * coefficients
inputs = (coefficients @ images.reshape(len(images), -1)).reshape(-1, *images.shape[1:])  # normalised already
"""

_SIZED = """
h, w = manifest["config"]["size"]"""

_GENERATOR = """inputs = None  # rows come out of a network: decoct.load(FOLDER).decode()
"""

_STANDARDISE = """mean, std = (tensors["transform." + name].reshape({axes}) for name in ("mean", "std"))
inputs = (inputs - mean) / std
"""

_ZCA = """flat = inputs.reshape(len(inputs), -1) - tensors["transform.centre"]
inputs = (flat @ tensors["transform.matrix"]).reshape(inputs.shape)
"""


def data_card(manifest: Mapping[str, Any]) -> str:
    """Markdown with a YAML head for the set that `manifest` describes (as `save_set` makes it, without files)."""
    spec, rows, kind = manifest["spec"], manifest["rows"], manifest["kind"]
    image = len(spec["shape"]) == 3
    made = "selected from" if kind == "coreset" else "distilled from"
    size = manifest["bytes"]
    facts = {
        "kind": f"{kind} ({'real rows' if kind == 'coreset' else 'storage ' + str(manifest['storage'])})",
        "rows": f"{rows} of shape {'x'.join(map(str, spec['shape']))}",
        "classes": f"{len(spec['class_names'])}: {_names(spec['class_names'])}",
        "labels": manifest["label_kind"],
        "source": _code(spec["source"]),
        "source fingerprint": _code(spec["fingerprint"]),
        "normalisation": f"{spec['transform']}, its tensors are in `set.safetensors`",
        "bytes": f"{size['total']} ({show_bytes(size['total'])}): images {size['images']}, labels {size['labels']}, "
        f"decoder {size['decoder']}",
        "made by": f"decoct {manifest['decoct']}",
    }
    provenance = json.dumps(manifest["provenance"], indent=1, default=str)
    return "\n".join(
        [
            _head(spec, rows, image, kind),
            f"# {rows} {'images' if image else 'rows'} {made} {_code(spec['source'])}",
            "",
            "![preview](preview.png)\n" if image else "",
            "| | |\n|---|---|",
            *(f"| {name} | {value} |" for name, value in facts.items()),
            "",
            *_notices(spec["notices"]),
            "## Reading it",
            "",
            "With decoct: `inputs, targets, weights = decoct.load(FOLDER).materialize()`.",
            "",
            "Without decoct, in this folder, with `numpy` and `safetensors` alone:",
            "",
            f"```python\n{reading_snippet(manifest)}```",
            "",
            "`inputs` are what a network is fed, in single precision. `manifest.json` has the sha256 of every file "
            "of the set.",
            "",
            "## Provenance",
            "",
            f"```json\n{provenance.replace('```', '` ` `')}\n```",
            "",
        ]
    )


def reading_snippet(manifest: Mapping[str, Any]) -> str:
    """Python that reads this set with numpy and safetensors into `inputs`, `labels` and `weights`."""
    spec = manifest["spec"]
    image = len(spec["shape"]) == 3
    if manifest["kind"] == "coreset":
        axes = "1, -1, 1, 1" if image else "1, -1"
        whiten = _ZCA if spec["transform"] == "zca" else ""
        return _OPEN + _CORESET.format(unit=" / 255" if image else "") + _STANDARDISE.format(axes=axes) + whiten
    values, bases = _VALUES.format(name="pixels"), _VALUES.format(name="bases")
    enlarged = _ENLARGE + _SIZED + _SHARED.format(images="enlarge(enlarge(values, 2, h), 3, w)")
    decode = {
        "pixels": values + _PIXELS,
        "multiformation": values + _ENLARGE + _MULTIFORMATION,
        "bases": bases + (enlarged if image else _SHARED.format(images="values")),
        "generator": _GENERATOR,
    }
    unknown = "inputs = None  # this storage is described by the package that made it\n"
    return _OPEN + _LABELS.format(labels=_labels(manifest)) + decode.get(manifest["storage"], unknown)


def _labels(manifest: Mapping[str, Any]) -> str:
    """The lines that read `labels`: hard or soft, all entries or the largest, the mean over views."""
    kind = manifest["label_kind"]
    if kind == "hard":
        return _WHOLE + "\n"
    whole = _WHOLE + f".astype(np.float32)  # {kind}, one column a class\n"
    top_k = _TOP_K.format(classes=len(manifest["spec"]["class_names"]))
    scale = "labels /= labels.sum(-1, keepdims=True)\n" if kind == "probabilities" else ""
    mean = "labels = labels.mean(0)  # over the augmented views that the set has labels for\n"
    return (
        (top_k if "labels.values" in manifest["tensors"] else whole)
        + scale
        + (mean if "views" in manifest["learned"] else "")
    )


def _head(spec: Mapping[str, Any], rows: int, image: bool, kind: str) -> str:
    """YAML; a JSON text is a YAML text, so names from outside are written as JSON."""
    sizes = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    size = next((name for limit, name in sizes if rows < limit), "n>1M")
    task = "image-classification" if image else "tabular-classification"
    tags = ["decoct", "coreset" if kind == "coreset" else "dataset-distillation"]
    return "\n".join(
        [
            "---",
            f"pretty_name: {json.dumps(spec['source'] + ', made small')}",
            f"task_categories: [{task}]",
            f"size_categories: [{json.dumps(size)}]",
            f"tags: {json.dumps(tags)}",
            "---",
            "",
        ]
    )


def _notices(notices: list[str]) -> list[str]:
    """A section on what was decided when the source was opened; nothing where nothing was."""
    return ["## How the source was opened", "", *(f"- {_code(notice)}" for notice in notices), ""] if notices else []


def _names(names: list[str]) -> str:
    shown = ", ".join(_code(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _code(text: str) -> str:
    """A text from outside as inline code that cannot leave its cell."""
    plain = "".join(" " if ord(char) < 32 or char in "`|" else char for char in text)
    return f"`{plain.strip() or ' '}`"
