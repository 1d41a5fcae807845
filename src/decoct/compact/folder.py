"""A run folder: files, and a manifest that says what they are and is written last.

The manifest is the only proof that a folder is whole, so everything here is about when it stands there. Writing stages
every file in the hidden folder `.decoct-unfinished` first, which takes all the space and time and changes nothing; then
the old manifest goes, the files are renamed into place, and the new manifest is renamed last. A kill at any moment
leaves the old result whole, or a folder without a manifest, which is an unfinished run. The staging folder that such a
kill leaves marks what stands there as decoct's own, so that the next writing may replace it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from decoct.compact.manifest import DIGEST, MANIFEST, SCHEMA, damaged, manifest_text, parse, require_inside
from decoct.errors import ConfigError, IntegrityError, OutputError, SourceError, UnfinishedRunError
from decoct.files import alone, make_folder, sha256, write_atomically, writing

STAGING = ".decoct-unfinished"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")

Writer = Callable[[Path], None]


def content_writer(content: bytes) -> Writer:
    """The writer that puts `content` into its path."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def write_run(folder: Path, files: Mapping[str, Writer], manifest: Mapping[str, Any]) -> Path:
    """Write a finished run: `files` (name -> function that fills a path), and `manifest.json` last. Returns its path.

    `manifest` is plain JSON with at least "kind" and "content" (a hash that tells one result from another); schema
    version, sizes and hashes are added here. Other files of the folder stay as they are, and are no part of the run.
    A finished run in the folder is replaced only by one of the same kind and content.

    Processes that write into one folder take turns. Raises `OutputError` where something else is in the way or the
    folder cannot be written: then it is as it was. Raises `ConfigError` for a manifest that is not plain JSON.
    """
    _require_writable(folder, files, manifest)
    existed = folder.is_dir()
    make_folder(folder)
    with alone(folder):
        # What another process wrote meanwhile counts.
        _require_writable(folder, files, manifest)
        return _write_run(folder, files, manifest, existed)


def _write_run(folder: Path, files: Mapping[str, Writer], manifest: Mapping[str, Any], existed: bool) -> Path:
    staging = folder / STAGING
    marked = staging.is_dir()
    try:
        make_folder(staging)
        _empty(staging)
        for name, writer in files.items():
            write_atomically(staging / name, writer)
        entries = {name: _entry(staging / name) for name in files}
        text = manifest_text({"schema": SCHEMA, **manifest, "files": entries})
        write_atomically(staging / MANIFEST, content_writer(text))
    except BaseException:
        _undo(folder, marked, existed)
        raise
    with writing(folder):
        # From here on only renames: the staging folder goes last, so a stop in between stays recognisable.
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in files:
            (staging / name).replace(folder / name)
        (staging / MANIFEST).replace(folder / MANIFEST)
        shutil.rmtree(staging)
    return folder / MANIFEST


def _require_writable(folder: Path, files: Mapping[str, Writer], manifest: Mapping[str, Any]) -> None:
    """Refuse to write over anything but the same result or the rest of an interrupted writing."""
    for name in files:
        if not _is_plain(name):
            raise ConfigError(
                f"writing a result into {folder}",
                received=f"the file name {name!r}",
                expected="letters, digits, '.', '_' and '-', not beginning with '.'",
                remedy="choose another name",
            )
    called = f"writing a result into {folder}"
    if (folder / MANIFEST).exists():
        try:
            old = parse(folder)
            found = f"a finished {old.get('kind')!r} with content {str(old.get('content'))[:12]}"
            same = (old.get("kind"), old.get("content")) == (manifest["kind"], manifest["content"])
        except IntegrityError as error:
            found, same = f"a manifest that cannot be read ({error.received})", False
        if not same:
            raise OutputError(
                called,
                received=found,
                expected="a new folder, or one with this very result",
                remedy="choose another folder, or remove this one if you do not need it",
            )
        return
    require_free(folder, list(files))


def require_free(folder: Path, names: Sequence[str]) -> None:
    """Raise `OutputError` where files of these names stand in `folder` that no interrupted writing left there."""
    in_the_way = sorted(name for name in names if (folder / name).exists())
    if in_the_way and not (folder / STAGING).is_dir():
        raise OutputError(
            f"writing a result into {folder}",
            received=f"a folder with {', '.join(in_the_way)} that no run of decoct finished",
            expected="a folder without files of these names",
            remedy="choose another folder, or remove these files if you do not need them",
        )


def is_finished(folder: Path) -> bool:
    """Whether the folder has a manifest (which may still be damaged: `read_manifest` tells)."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path, kinds: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest of a finished run, after checking itself and the size and hash of every file that it lists.

    Raises `SourceError` where there is no such folder, `UnfinishedRunError` where it has no manifest, `IntegrityError`
    where anything is not as it was written, or the kind is none of `kinds`.
    """
    if not folder.is_dir():
        raise SourceError(
            f"reading the run {folder}",
            received="no such folder" if not folder.exists() else "a file",
            expected="a folder that decoct wrote",
            remedy="check the spelling of the path",
        )
    if not (folder / MANIFEST).exists():
        raise UnfinishedRunError(
            f"reading the run {folder}",
            received=f"a folder without {MANIFEST}: the run has not finished, or this is no run of decoct",
            expected="a finished run",
            remedy="start the same command again to finish it, or check the path",
        )
    manifest = parse(folder)
    if kinds and manifest.get("kind") not in kinds:
        raise damaged(folder, f"a result of kind {manifest.get('kind')!r}", f"one of {', '.join(kinds)}")
    for name in _listed(folder, manifest):
        path = _file(folder, manifest, name)
        _require_hash(folder, name, sha256(path), manifest)
    return manifest


def read_file(folder: Path, manifest: Mapping[str, Any], name: str) -> bytes:
    """The content of a listed file, checked in the very bytes that are returned; raises `IntegrityError`."""
    if name not in _listed(folder, manifest):
        raise damaged(folder, f"no entry for {name}", "every file of the result listed in the manifest")
    content = _file(folder, manifest, name).read_bytes()
    _require_hash(folder, name, hashlib.sha256(content).hexdigest(), manifest)
    return content


def _entry(path: Path) -> dict[str, Any]:
    with writing(path):
        return {"sha256": sha256(path), "bytes": path.stat().st_size}


def _listed(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The table of files, each entry with a plain name, a size and a hash."""
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise damaged(folder, f"files {files!r}", "a JSON object of files")
    for name, entry in files.items():
        if not _is_plain(name):
            raise damaged(folder, f"the file name {name[:80]!r}", "a plain file name inside the folder")
        size, digest = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if type(size) is not int or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise damaged(folder, f"the entry {entry!r} for {name}", "its size in bytes and its sha256")
    return files


def _is_plain(name: str) -> bool:
    """Names are plain ASCII: no separator, no drive, no "..", nothing hidden, so that no path leaves the folder."""
    return _FILE_NAME.fullmatch(name) is not None and name != MANIFEST


def _file(folder: Path, manifest: Mapping[str, Any], name: str) -> Path:
    """The path of a listed file that is there, inside, and of the right size."""
    path, expected = folder / name, manifest["files"][name]["bytes"]
    if not path.exists():
        raise damaged(folder, f"no file {name}", f"{name} of {expected} bytes")
    require_inside(folder, path)
    if path.stat().st_size != expected:
        raise damaged(folder, f"{name} of {path.stat().st_size} bytes", f"{name} of {expected} bytes")
    return path


def _require_hash(folder: Path, name: str, found: str, manifest: Mapping[str, Any]) -> None:
    expected = manifest["files"][name]["sha256"]
    if found != expected:
        raise damaged(folder, f"{name} with sha256 {found[:16]}...", f"{name} with sha256 {expected[:16]}...")


def _empty(staging: Path) -> None:
    """Remove what an interrupted writing left, but not the folder that marks it."""
    with writing(staging):
        for path in staging.iterdir():
            path.unlink()


def _undo(folder: Path, marked: bool, existed: bool) -> None:
    """Leave the folder as it was before staging: marked if it was `marked`, gone if it had not `existed`."""
    staging = folder / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    if marked:
        staging.mkdir(exist_ok=True)
    elif not existed and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
