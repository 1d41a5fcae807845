"""The files that the rows of a coreset were decoded from, copied byte for byte into class folders."""

from __future__ import annotations

import csv
import os
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from decoct.compact.compact_set import CompactSet
from decoct.compact.coreset import Coreset
from decoct.compact.new_folder import write_new_folder
from decoct.compact.stored import readable
from decoct.data.checks import SHOWN
from decoct.data.found import part_named
from decoct.data.images import UNREADABLE, decode
from decoct.data.sources.folders import images_below, visible_folders
from decoct.data.sources.folders import readable as permitted
from decoct.errors import ConfigError, IntegrityError, MismatchError, OutputError, SourceError
from decoct.progress import progress

PREFIX = "imagefolder:"
TOLERANCE = 8.0
"""Root mean square, in steps of 0..255, by which a file may differ from its row: decoders do not round alike."""


def write_originals(small: CompactSet, path: Path, source: Path | str | None = None) -> None:
    """Copy the files of a coreset's rows into class folders below `path`, and write `selection.csv` beside them.

    A file keeps its path below its class folder; the folder of its part ("train") is left out, or stands inside the
    class folder where rows are of several parts. `selection.csv` has a line for each row in the order picked. `source`
    is the folder that was opened, where it has moved. Each file is decoded as its row was and compared with it: one
    that shows another picture is refused, one that shows the same in other bytes is not noticed.

    Raises `ConfigError` for made rows and for sources that are no image folder, `SourceError` where the folder is
    missing, `MismatchError` for files that are missing or have changed, `IntegrityError` for ids that lead out of the
    folder, `OutputError` where `path` is not new or empty, lies in the source or cannot be written.
    """
    called = f"exporting originals to {path}"
    core = _of_files(called, small)
    with permitted(called):
        folder = _folder(called, core.spec.source, source)
        root, files = _files(called, core, folder)
    if path.resolve().is_relative_to(folder.resolve()):
        raise OutputError(
            called, received=f"a folder inside the source {folder}", remedy="choose another path",
            expected="a folder elsewhere: inside, the copies would be rows of the source when it is opened again",
        )  # fmt: skip
    places = _places([file.relative_to(root).parts for file in files], _classes(core))
    write_new_folder(path, lambda staging: _fill(called, core, files, places, staging))


def _of_files(called: str, small: CompactSet) -> Coreset:
    if isinstance(small, Coreset) and small.spec.source.startswith(PREFIX):
        return small
    if not isinstance(small, Coreset):
        raise ConfigError(
            called, received="a distilled set, whose rows were made and have no originals",
            expected="a coreset: rows of a source", remedy="export it to imagefolder, parquet or npz",
        )  # fmt: skip
    raise ConfigError(
        called, received=f"rows of {small.spec.source!r}, which have no files of their own",
        expected="rows of a folder of images (imagefolder:PATH)",
        remedy="export to another form (imagefolder writes images as PNG), or look the ids up in your source",
    )  # fmt: skip


def _folder(called: str, opened: str, source: Path | str | None) -> Path:
    """The folder that was opened, or the one that is named in its place."""
    folder = Path(str(opened if source is None else source).removeprefix(PREFIX)).expanduser()
    if folder.is_dir():
        return folder
    raise SourceError(
        called, expected="the folder of images that was selected from",
        received=f"{folder}, {'a file' if folder.exists() else 'which is not there'} (looked for from {Path.cwd()})",
        remedy="name the folder as it is now: --source FOLDER, or source=... in Python",
    )  # fmt: skip


def _files(called: str, core: Coreset, folder: Path) -> tuple[Path, list[Path]]:
    """The file of every row, and the folder that ids start at; raises `MismatchError` naming those that are missing."""
    ids = [_inside(called, str(name)) for name in core.ids]
    found = {root: _found(root, ids) for root in _roots(folder)}
    root = min(found, key=lambda root: found[root].count(None))
    missing = [name for name, file in zip(ids, found[root], strict=True) if file is None]
    if missing:
        raise _mismatch(called, f"{len(missing)} of {len(core)} originals that are not in {root}", missing)
    return root, [file for file in found[root] if file is not None]


def _inside(called: str, name: str) -> str:
    """The id as it is; raises `IntegrityError` for one that could lead out of the folder."""
    if any(step in ("", ".", "..") or Path(step).name != step for step in name.split("/")):
        raise IntegrityError(
            called, received=f"the id {name!r}", expected="paths of files below the folder of images",
            remedy="the set was altered, or is of another source: select again",
        )  # fmt: skip
    return name


def _roots(folder: Path) -> Iterator[Path]:
    """`folder`, then the lone folders inside, which may have been entered when it was opened."""
    seen: set[Path] = set()
    while folder.resolve() not in seen:
        yield folder
        seen.add(folder.resolve())
        inner = visible_folders(folder)
        folder = folder / inner[0] if len(inner) == 1 else folder


def _found(root: Path, ids: list[str]) -> list[Path | None]:
    """The file of every id; its name may be escaped, or composed in another way than on this disk."""
    direct = [root / name for name in ids]
    below = () if all(file.is_file() for file in direct) else images_below(root)
    known = {_plain(file.relative_to(root).as_posix()): file for file in below}
    return [file if file.is_file() else known.get(_plain(name)) for file, name in zip(direct, ids, strict=True)]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", readable(name))


def _places(own: list[tuple[str, ...]], names: list[str]) -> list[Path]:
    """Where each file goes: class folders first, and all paths as different as they were."""
    parted = all(len(steps) > 2 and part_named(steps[0]) for steps in own)
    # A class may be called "test", and have folders inside.
    if not parted or all(readable(steps[0]) == name for steps, name in zip(own, names, strict=True)):
        return [Path(*steps) for steps in own]
    several = len({steps[0] for steps in own}) > 1
    return [Path(steps[1], *steps[: int(several)], *steps[2:]) for steps in own]


def _fill(called: str, core: Coreset, files: list[Path], places: list[Path], staging: Path) -> None:
    """Copy what is as it was, and list it; raises `MismatchError` naming the files that have changed."""
    try:
        changed = _copy(called, core, files, places, staging)
        with (staging / "selection.csv").open("x", encoding="utf-8", newline="") as file:
            names = [readable(place.as_posix()) for place in places]
            lines = zip(names, _classes(core), range(len(core)), core.weights.tolist(), strict=True)
            csv.writer(file).writerows([("file", "class", "rank", "weight"), *lines])
    except FileExistsError as error:
        raise OutputError(
            called, received=f"{readable(Path(error.filename).name)!r} twice",
            expected="names that stay different on this disk",
            remedy="export to a disk that tells upper and lower case apart, or rename one of the two and select again",
        ) from error  # fmt: skip
    if changed:
        raise _mismatch(called, f"{len(changed)} of {len(core)} originals that are not what was selected", changed)


def _copy(called: str, core: Coreset, files: list[Path], places: list[Path], staging: Path) -> list[str]:
    """Copy the files with their dates until one has changed, and go on looking; returns the complaints."""
    for name in {place.parts[0] for place in places}:
        (staging / name).mkdir()
    changed, written = list[str](), set[Path]()
    with progress(f"{called}: {len(core)} files", len(core)) as tick:
        for row, (file, place) in enumerate(zip(files, places, strict=True)):
            content, complaint = _read(file, core.raw[row])
            changed += [f"{core.ids[row]}: {complaint}"] if complaint else []
            if not changed and place not in written:
                written.add(place)
                (staging / place).parent.mkdir(parents=True, exist_ok=True)
                with (staging / place).open("xb") as copy:
                    copy.write(content)
                os.utime(staging / place, ns=(file.stat().st_mtime_ns, file.stat().st_mtime_ns))
            tick(row + 1)
    return changed


def _classes(core: Coreset) -> list[str]:
    """The class name of every row."""
    return [readable(core.spec.class_names[label]) for label in core.classes.tolist()]


def _read(file: Path, row: Tensor) -> tuple[bytes, str]:
    """The bytes of a file, and what is wrong with them, if anything."""
    try:
        content = file.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the size, which did not matter when it was opened
            pixels = decode(content, (row.shape[1], row.shape[2]), "gray" if len(row) == 1 else "rgb")
    except UNREADABLE as error:
        return b"", f"cannot be read ({getattr(error, 'strerror', None) or 'not a whole picture'})"
    apart = np.sqrt(np.mean((pixels.astype(np.float32) - row.numpy()) ** 2))
    return content, "shows another picture" if apart > TOLERANCE else ""


def _mismatch(called: str, what: str, names: list[str]) -> MismatchError:
    listed = "".join(f"\n    {readable(name)}" for name in names[:SHOWN])
    rest = f"\n    and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return MismatchError(
        called, received=f"{what}:{listed}{rest}", expected="the files that were selected, as they were",
        remedy="put them back, name the folder that holds them with --source FOLDER (source=... in Python), or select "
        "again from what is there",
    )  # fmt: skip
