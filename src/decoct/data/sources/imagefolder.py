"""A folder of class folders of images, with or without folders `train`, `val` and `test` above them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decoct.data.cache import cache_key
from decoct.data.checks import SHOWN
from decoct.data.dataset import Split
from decoct.data.decoding import decode_and_keep, good_rows
from decoct.data.found import Found, Wish, file_state, part_named
from decoct.data.sources.folders import SUFFIXES, images_below, is_image, readable, visible_folders
from decoct.errors import DataError, SourceError


@dataclass(frozen=True)
class _Files:
    """Image files in a fixed order, as `decoding.Pictures`; names are paths below `root`, with forward slashes."""

    root: Path
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def fetch(self, start: int, stop: int) -> Sequence[Path]:
        return [self.root / name for name in self.names[start:stop]]

    def name(self, row: int) -> str:
        return _printable(self.names[row])


def find(place: str, wish: Wish) -> Found:
    """Open the folder at `place`: classes are its folders in sorted order, images anywhere below them.

    Hidden files and folders, `__MACOSX` and files that are no images are passed over; a lone folder inside is
    entered. Raises `SourceError` for a missing or empty folder and unreadable images, `DataError` for a class without
    images, `OutputError` where the cache cannot be written.
    """
    called = f"opening imagefolder:{place}"
    with readable(called):
        return _find(called, place, wish)


def _find(called: str, place: str, wish: Wish) -> Found:
    root = _enter(_existing(called, Path(place).expanduser()))
    folders, notices = _part_folders(called, root)
    told = _told_names(next(iter(folders.values())))
    classes = _class_names(called, folders)
    if set(told) == set(classes):
        classes = list(told)
    files, counts = _list_images(called, root, folders, classes)
    labels = np.concatenate([np.repeat(np.arange(len(classes)), counts[part]) for part in folders]).astype(np.int64)
    listing = ((name, *file_state(root / name)) for name in files.names)
    key = cache_key(f"imagefolder:{root.resolve()}", wish.size, wish.mode, listing)
    entry = wish.cache.load(key) or decode_and_keep(called, key, wish, files, labels, about={})
    kept, dropped = good_rows(called, entry, wish.skip_bad)
    ids = np.array([_printable(name) for name in files.names])[kept]
    parts, start = {}, 0
    for part in folders:
        stop = start + sum(counts[part])
        own = slice(*np.searchsorted(kept, [start, stop]))
        parts[part] = Split(entry.x[own], labels[kept][own], ids[own])
        start = stop
    names = tuple(_printable(told.get(name, name)) for name in classes)
    return Found(parts, names, (*notices, *entry.about["notices"], *dropped))


def _told_names(base: Path) -> dict[str, str]:
    """Folder -> class name, in label order, where an export left `class_names.json` beside the class folders."""
    try:
        said = json.loads((base / "class_names.json").read_text(encoding="utf-8"))
        pairs = dict(zip(said["folders"], said["class_names"], strict=True))
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return pairs if all(isinstance(word, str) for pair in pairs.items() for word in pair) else {}


def _printable(name: str) -> str:
    """`name` without the half characters that stand for bytes which are not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def _existing(called: str, folder: Path) -> Path:
    if folder.is_dir():
        return folder
    raise SourceError(
        called,
        received="no such folder" if not folder.exists() else "a file",
        expected="a folder that holds one folder of images for each class",
        remedy="check the path; relative paths start at the current folder",
    )


def _enter(folder: Path) -> Path:
    """The folder that branches: an unpacked archive often wraps everything in one folder more."""
    seen: set[Path] = set()
    while folder.resolve() not in seen:
        seen.add(folder.resolve())
        inner = visible_folders(folder)
        alone = len(inner) == 1 and part_named(inner[0]) is None
        if not alone or not visible_folders(folder / inner[0]) or any(is_image(f.name) for f in folder.iterdir()):
            return folder
        folder = folder / inner[0]
    return folder


def _part_folders(called: str, root: Path) -> tuple[dict[str, Path], list[str]]:
    """The folder of each part, training first; a source without such folders is one part.

    Raises `SourceError` for two folders of one part, and for parts of which none is to train on.
    """
    inner = visible_folders(root)
    named = {name: part for name in inner if (part := part_named(name))}
    others = [name for name in inner if name not in named]
    if "train" not in named.values():
        if named and not others and all(visible_folders(root / name) for name in named):
            raise SourceError(
                called,
                received=f"{_some(list(named))} with class folders in them, and no folder of training images",
                expected="a folder 'train' beside them, or class folders alone",
                remedy="name the folder of training images 'train', or open the folder whose classes you want",
            )
        return {"all": root}, []
    if len(named) == 1 and others:
        return {"all": root}, []
    parts = {part: root / name for name, part in named.items()}
    if len(parts) < len(named):
        twice = [name for name, part in named.items() if list(named.values()).count(part) > 1]
        raise SourceError(
            called,
            received=f"folders that say the same: {_some(twice)}",
            expected="one folder each of train, val and test",
            remedy="put their images into one of them, or rename the one that is not meant",
        )
    notices = [f"folders that are neither train, val nor test were passed over: {', '.join(others)}"] if others else []
    return {part: parts[part] for part in ("train", "val", "test") if part in parts}, notices


def _class_names(called: str, folders: dict[str, Path]) -> list[str]:
    base = next(iter(folders.values()))
    names = visible_folders(base)
    if not names:
        loose = sum(is_image(file.name) for file in base.iterdir())
        raise SourceError(
            called,
            received=f"a folder with {loose} images and no folders in it" if loose else f"an empty folder ({base})",
            expected="one folder of images for each class, such as cats/ and dogs/",
            remedy="sort the images into one folder for each class",
        )
    for part, folder in folders.items():
        foreign = [name for name in visible_folders(folder) if name not in names]
        if foreign:
            raise DataError(
                called,
                received=f"class folders in {part!r} that the training folder lacks: {', '.join(map(repr, foreign))}",
                expected=f"only classes that can be trained on ({len(names)} of them)",
                remedy="correct the spelling, add training images of these classes, or remove the folders",
            )
    return names


def _list_images(
    called: str, root: Path, folders: dict[str, Path], classes: list[str]
) -> tuple[_Files, dict[str, list[int]]]:
    """All image files by part and class, and for each part how many each class has."""
    names: list[str] = []
    counts: dict[str, list[int]] = {part: [] for part in folders}
    for part, folder in folders.items():
        for name in classes:
            own = [path.relative_to(root).as_posix() for path in images_below(folder / name)]
            names += own
            counts[part].append(len(own))
    base = next(iter(counts))
    empty = [name for name, count in zip(classes, counts[base], strict=True) if count == 0]
    if not names or len(empty) == len(classes):
        raise SourceError(
            called,
            received=f"{len(classes)} folders without a single image: {_some(classes)}",
            expected=f"image files ({', '.join(sorted(SUFFIXES))})",
            remedy="check the path, and that the images have one of these endings",
        )
    if empty:
        raise DataError(
            called,
            received=f"{len(empty)} of {len(classes)} class folders without an image: {_some(empty)}",
            expected="images in every class folder",
            remedy="add images to these folders or remove them",
        )
    for part in [part for part in folders if sum(counts[part]) == 0]:
        del folders[part], counts[part]
    return _Files(root, names), counts


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
