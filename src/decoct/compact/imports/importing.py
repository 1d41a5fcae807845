"""`import_set`: anyone's published set as a `DistilledSet`, so that it can be judged like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from decoct.compact.compact_set import LabelKind
from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.compact.imports.layouts import Foreign, read_layout
from decoct.compact.imports.scaling import to_inputs
from decoct.data.dataset import DataSpec
from decoct.errors import ConfigError, DataError, MismatchError
from decoct.files import sha256

MEANINGS = ("auto", "hard", "probabilities", "logits", "scores", "ordered")
"""What labels may mean; ordered: there are none, and the rows stand class by class, the same number of each."""
_SUM = 0.01


def import_set(
    path: Path | str,
    spec: DataSpec,
    *,
    scale: str = "auto",
    labels: str = "auto",
    factor: int = 1,
    experiment: int = 0,
    bits: int = 8,
    name: str | None = None,
) -> DistilledSet:
    """The set published at `path` (`layouts.read_layout` lists what is understood), for the data of `spec`.

    `scale` says on which scale its images stand (`scaling.SCALES`); `labels` what its labels mean (`MEANINGS`: integers
    are hard, rows that sum to 1 probabilities, anything else must be named); `factor` that each stored image is a grid
    of so many by so many (IDC, NCFM); `bits` in how many bits a value is kept and counted, 8 as for decoct's own sets,
    or 16 or 32. No code in the files is run. What a file does not say and was assumed stands in the notices of the set.

    The classes of the file are taken to be numbered in the order of `spec.class_names`, which files of tensors cannot
    say. Raises what `read_layout` and `to_inputs` raise, `MismatchError` for images or labels of another size,
    `DataError` for no images and for values that are not finite, `ConfigError` for labels whose meaning is not known
    or cannot be the one that is said, and a `factor` that is no such number.
    """
    path = Path(path)
    if not 1 <= factor <= min(spec.shape[-2:]):
        raise _unclear(path, f"factor={factor}", f"a whole number from 1 to {min(spec.shape[-2:])}",
                       "give how many pictures stand side by side in one, 1 for plain images")  # fmt: skip
    foreign = read_layout(path, spec.class_names, spec.shape, experiment)
    images = _shaped(path, foreign.images, spec)
    inputs, told = to_inputs(images, scale, spec)
    if not bool(torch.isfinite(inputs).all()):
        raise DataError(f"importing {path}", received="NaN or infinite values in its images", expected="finite values",
                        remedy="take another file")  # fmt: skip
    targets, kind, classes, more = _labelled(path, foreign, len(images), spec.classes, labels)
    if kind == "hard" and not foreign.layout.startswith("a folder"):
        more.append("class numbers are taken to follow the order of the class names of these data")
    rows = factor**2
    if rows > 1:
        targets, classes = targets.repeat_interleave(rows, 0), classes.repeat_interleave(rows, 0)
    facts = {
        "files": {file.name: sha256(file) for file in foreign.files[:8]}, "layout": foreign.layout, "scale": scale,
        "labels": labels, "bits": bits, "assumed": [*told, *more],
    }  # fmt: skip
    return DistilledSet(
        spec=spec,
        storage="multiformation" if rows > 1 else "pixels",
        config={"factor": factor} if rows > 1 else {},
        tensors=quantise(inputs, bits),
        labels=targets,
        label_kind=kind,
        classes=classes,
        learned=foreign.learned,
        provenance={"name": name or _named_after(path), "imported": facts},
    )


def _shaped(path: Path, images: Shaped[Tensor, "n ..."], spec: DataSpec) -> Shaped[Tensor, "n c h w"]:
    """Images of the shape of the data; rows with their channels last (JAX) are turned."""
    if images.ndim and len(images) == 0:
        raise DataError(f"importing {path}", received=f"no images, a tensor of shape {list(images.shape)}",
                        expected="at least one image", remedy="take another file")  # fmt: skip
    if images.ndim == 4 and tuple(images.shape[1:]) == spec.shape:
        return images
    if images.ndim == 4 and (images.shape[3], *images.shape[1:3]) == spec.shape:
        return images.permute(0, 3, 1, 2).contiguous()
    if images.ndim == 3 and (1, *images.shape[1:]) == spec.shape:
        return images[:, None]
    raise MismatchError(
        f"importing {path}",
        received=f"images of shape {list(images.shape)}",
        expected=f"[n, {', '.join(map(str, spec.shape))}], the shape of the data (or with channels last)",
        remedy="open the data that the set was made from, with the --size and --mode of its authors",
    )


def _labelled(
    path: Path, foreign: Foreign, rows: int, classes: int, meaning: str
) -> tuple[Shaped[Tensor, "n ..."], LabelKind, Int64[Tensor, " n"], list[str]]:
    """Labels as they are stored, their kind, the class of each row, and what was assumed."""
    if meaning not in MEANINGS:
        raise _unclear(path, f"labels={meaning!r}", f"one of {', '.join(MEANINGS)}", "choose one of them")
    if foreign.labels is None:
        return _ordered(path, rows, classes, meaning)
    found = foreign.labels
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    _require_meant(path, found, classes, meaning)
    if found.ndim == 1:
        return _hard(path, found, rows, classes)
    if tuple(found.shape) != (rows, classes):
        raise _mismatched(path, found, rows, classes)
    soft = found.detach().float()
    if not bool(torch.isfinite(soft).all()):
        raise DataError(f"importing {path}", received="NaN or infinite labels", expected="finite labels",
                        remedy="take another file")  # fmt: skip
    nominal = foreign.classes if foreign.classes is not None else soft.argmax(1)
    if meaning == "hard":
        return soft.argmax(1), "hard", nominal, ["of its soft labels only the largest entry is taken"]
    looks_like = bool((soft >= 0).all()) and bool(((soft.sum(1) - 1).abs() <= _SUM).all())
    if meaning == "auto" and not looks_like:
        raise _unclear(
            path,
            f"labels from {float(soft.min()):.3g} to {float(soft.max()):.3g} whose rows do not sum to 1",
            "to be told what they are: logits, scores (regression targets), probabilities or hard",
            "give --labels, as its authors trained (DATM: logits; FRePo, KIP: scores)",
        )
    if meaning == "scores":
        return soft, "scores", nominal, []
    return _distribution(path, soft, meaning, looks_like), "probabilities", nominal, []


def _distribution(path: Path, soft: Float[Tensor, "n C"], meaning: str, looks_like: bool) -> Float[Tensor, "n C"]:
    if meaning == "logits":
        return soft.softmax(1)
    if not looks_like:
        raise _unclear(path, f"rows that sum to {float(soft.sum(1).min()):.3g} up to {float(soft.sum(1).max()):.3g}",
                       "probabilities", "give --labels logits or scores")  # fmt: skip
    return soft / soft.sum(1, keepdim=True)


def _require_meant(path: Path, found: Shaped[Tensor, "n ..."], classes: int, meaning: str) -> None:
    """Raise `ConfigError` where labels that are there are said not to be, or one number a row to be many."""
    if meaning == "ordered":
        raise _unclear(path, f"labels='ordered' and labels of shape {list(found.shape)} beside the images",
                       "images without labels", "leave --labels out, or save the images alone")  # fmt: skip
    if found.ndim == 1 and meaning not in ("auto", "hard"):
        raise _unclear(path, f"labels={meaning!r} for labels of shape {list(found.shape)}, one number a row",
                       f"soft labels, {classes} numbers a row", "leave --labels out, or say hard")  # fmt: skip


def _hard(
    path: Path, found: Shaped[Tensor, " n"], rows: int, classes: int
) -> tuple[Int64[Tensor, " n"], LabelKind, Int64[Tensor, " n"], list[str]]:
    whole = found.long()
    # Whole numbers are not compared: torch does not know how for unsigned ones of more than a byte.
    fits = len(found) == rows and (not found.is_floating_point() or bool((whole == found).all()))
    if not fits or int(whole.min()) < 0 or int(whole.max()) >= classes:
        raise _mismatched(path, found, rows, classes)
    return whole, "hard", whole, []


def _ordered(
    path: Path, rows: int, classes: int, meaning: str
) -> tuple[Int64[Tensor, " n"], LabelKind, Int64[Tensor, " n"], list[str]]:
    if meaning != "ordered" or rows % classes:
        raise _unclear(
            path,
            f"{rows} images" + ("" if meaning == "ordered" else " without labels"),
            f"a label for each, or a multiple of {classes} images that stand class by class",
            "give --labels ordered if they do, or save images and labels together",
        )
    found = torch.arange(classes).repeat_interleave(rows // classes)
    return found, "hard", found, ["its rows are taken to stand class by class, the same number of each"]


def _mismatched(path: Path, found: Tensor, rows: int, classes: int) -> MismatchError:
    # As float64, since torch has no smallest of unsigned numbers of more than a byte.
    values = found.double()
    span = f" from {float(values.min()):.3g} to {float(values.max()):.3g}" if found.numel() else ""
    return MismatchError(
        f"importing {path}",
        received=f"labels of shape {list(found.shape)}{span} for {rows} images",
        expected=f"class numbers [{rows}] from 0 to {classes - 1}, or soft labels [{rows}, {classes}]",
        remedy="open the data that the set was made from",
    )


def _unclear(path: Path, received: str, expected: str, remedy: str) -> ConfigError:
    return ConfigError(f"importing {path}", received=received, expected=expected, remedy=remedy)


def _named_after(path: Path) -> str:
    plain = {"images_best", "data_best", "images", "data"}
    stem = path.name if path.is_dir() else path.stem
    return path.resolve().parent.name if stem in plain else stem


def assumptions(small: DistilledSet) -> list[str]:
    """What was assumed about an imported set, for a person; nothing for a set made by decoct."""
    imported: Any = small.provenance.get("imported")
    found = imported.get("assumed") if isinstance(imported, dict) else None
    return [str(one) for one in found] if isinstance(found, list) else []
