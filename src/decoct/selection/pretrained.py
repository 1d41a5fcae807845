"""Features of a pretrained vision backbone, by its name on the hub or from a local folder, through `transformers`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.errors import ConfigError, DataError, MissingExtraError, SourceError
from decoct.machine import require_memory
from decoct.progress import progress

PREFIX = "transformers:"
"""How such a backbone is named as a kind of features: transformers:NAME or transformers:FOLDER."""
BLOCK = 64
"""Images that go through the backbone together."""
SIDE = 224
"""Side of the images in pixels where neither the backbone nor its processor says one."""


@dataclass(frozen=True, eq=False)
class Backbone:
    """A vision model in eval mode and the images that it was trained on: size `(h, w)`, mean and deviation of three
    channels, in units of the full range."""

    module: nn.Module
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, unit: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 y x"]:
        """Images from 0 to 1, gray or in colour, as the backbone wants them."""
        colour = unit.expand(-1, 3, -1, -1) if unit.shape[1] == 1 else unit[:, :3]
        shrinks = unit.shape[-2] > self.size[0] or unit.shape[-1] > self.size[1]
        if tuple(colour.shape[-2:]) != self.size:
            colour = F.interpolate(colour, self.size, mode="bicubic", antialias=shrinks).clamp(0, 1)
        mean, std = (torch.tensor(values, device=unit.device).reshape(1, 3, 1, 1) for values in (self.mean, self.std))
        return (colour - mean) / std

    def __call__(self, unit: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Features: the projected image embedding of models of images and texts, the first token of transformers, the
        mean over all places of convolutional networks."""
        pixels = self.prepare(unit)
        with torch.no_grad():
            if hasattr(self.module, "get_image_features"):
                found: Any = self.module.get_image_features(pixel_values=pixels)  # type: ignore[operator]
                return (found if isinstance(found, Tensor) else found.pooler_output).float()
            last = self.module(pixel_values=pixels).last_hidden_state
        return (last[:, 0] if last.ndim == 3 else last.flatten(2).mean(2)).float()


def pretrained_features(data: Dataset, name: str, device: str = "cpu") -> Float[Tensor, "n d"]:
    """Features of every training row under the backbone `name`, in the order of `data.train`: float32 on the CPU.

    Images go through it as they are, brought to its size and normalisation; nothing is trained. Cost: one forward
    pass a row, in blocks of 64; memory 4 n d bytes. Raises what `backbone` raises, `ConfigError` for tables of
    features, `DataError` where the backbone gives no finite numbers, `MemoryEstimateError`.
    """
    if not data.spec.is_image:
        raise ConfigError(
            f"computing features by {PREFIX}{name}", received=f"rows of shape {data.spec.shape}",
            expected="images of shape (c, h, w)", remedy="use features='pixels' or 'pca' for tables",
        )  # fmt: skip
    model, n = backbone(name, device), len(data.train)
    table = torch.empty(0)
    with progress(f"computing features by {name}", float(n)) as tick:
        for start in range(0, n, BLOCK):
            part = model(data.train.raw(slice(start, start + BLOCK)).to(device).float() / 255).cpu()
            if start == 0:
                what = f"keeping features of {n} rows with {part.shape[1]} numbers each"
                require_memory(what, 4 * n * part.shape[1], "select from fewer rows (data.with_train)")
                table = torch.empty(n, part.shape[1])
            table[start : start + BLOCK] = part
            tick(float(start + len(part)))
    if not bool(torch.isfinite(table).all()):
        raise DataError(
            f"computing features by {PREFIX}{name}",
            received=f"NaN or infinity in {int((~torch.isfinite(table).all(1)).sum())} of {n} rows",
            expected="finite numbers", remedy="try the backbone in single precision, or another one",
        )  # fmt: skip
    return table


def backbone_identity(name: str) -> str:
    """What `name` stands for, for keys of caches: of a folder a hash of its settings and weights, wherever it lies.

    A name on the hub stands for itself: weights that are replaced there under the same name are not noticed. Cost:
    reading the files of the folder once.
    """
    folder = Path(name)
    if not folder.is_dir():
        return name
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".safetensors"):
            with file.open("rb") as content:
                found.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
    return f"folder@{found.hexdigest()[:32]}"


def backbone_cost(name: str) -> tuple[float, int]:
    """Floating-point operations of one image through that backbone, and how many numbers it gives.

    The backbone is loaded for it. Raises what `backbone` raises.
    """
    from torch.utils.flop_counter import FlopCounterMode

    found = backbone(name)
    with FlopCounterMode(display=False) as counter:
        features = found(torch.zeros(1, 3, *found.size))
    return float(counter.get_total_flops()), int(features.shape[1])


def backbone(name: str, device: str = "cpu") -> Backbone:
    """The vision model of that name on the hub, or in that folder (`save_pretrained`), in single precision.

    Weights come from safetensors alone, and no code that a model brings along is run. Raises `MissingExtraError`
    without `transformers`, `SourceError` for a model that cannot be loaded or is none for images.
    """
    transformers = _transformers(name)
    called = f"loading the backbone {name!r}"
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        module = transformers.AutoModel.from_pretrained(name, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise SourceError(
            called, received=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            expected="a model on the hub or a folder with config.json and model.safetensors",
            remedy="check the name, the connection, or give the folder that save_pretrained wrote",
        ) from error  # fmt: skip
    settings = _processor(transformers, name)
    vision = getattr(config, "vision_config", config)
    size = _size(settings.get("crop_size")) or _size(settings.get("size")) or _size(getattr(vision, "image_size", None))
    mean, std = (tuple(settings.get(key) or (0.5, 0.5, 0.5)) for key in ("image_mean", "image_std"))
    found = Backbone(module.to(device).eval(), size or (SIDE, SIDE), mean, std)
    try:
        found(torch.zeros(1, 3, *found.size, device=device))
    except (TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise SourceError(
            called, received=f"a {type(module).__name__} that takes no images ({' '.join(str(error).split())[:200]})",
            expected="a vision model, such as ViT, DINOv2, CLIP, SigLIP or ResNet", remedy="name another model",
        ) from error  # fmt: skip
    return found


def _transformers(name: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            f"loading the backbone {name!r}", received=f"{type(error).__name__}: {error}",
            expected="the package 'transformers'", remedy="pip install 'decoct[transformers]'",
        ) from error  # fmt: skip
    return transformers


def _processor(transformers: Any, name: str) -> dict[str, Any]:
    """What the model's image processor says, where it has one: its numbers are used, its code is not."""
    try:
        return dict(transformers.ImageProcessingMixin.get_image_processor_dict(name)[0])
    except (OSError, ValueError):
        return {}


def _size(said: Any) -> tuple[int, int] | None:
    """Height and width, of the several ways in which processors and models write them."""
    if isinstance(said, int):
        return said, said
    if isinstance(said, (list, tuple)) and len(said) == 2:
        return int(said[0]), int(said[1])
    if isinstance(said, dict) and {"height", "width"} <= said.keys():
        return int(said["height"]), int(said["width"])
    if isinstance(said, dict) and "shortest_edge" in said:
        return int(said["shortest_edge"]), int(said["shortest_edge"])
    return None
