"""The manifest of a run folder as text: plain JSON that carries its own hash."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from pathlib import Path
from typing import Any

from decoct.errors import ConfigError, IntegrityError

SCHEMA = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 64 << 20
DIGEST = re.compile(r"[0-9a-f]{64}")
_NO_DIGEST = "0" * 64
_REMEDY = "take a fresh copy of the folder, or make the result again"


def parse(folder: Path) -> dict[str, Any]:
    """The manifest as JSON of a schema we know, whose own hash is right."""
    path = folder / MANIFEST
    require_inside(folder, path)
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise damaged(folder, f"a manifest of {path.stat().st_size} bytes", f"at most {MAX_MANIFEST_BYTES} bytes")
    content = path.read_bytes()
    try:
        manifest = json.loads(content.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise damaged(folder, f"a manifest that is no plain JSON ({error})", "a JSON object") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise IntegrityError(
            f"reading the run {folder}",
            received=f"schema version {schema}",
            expected=f"at most version {SCHEMA}",
            remedy="update decoct: a newer version wrote this folder",
        )
    if type(schema) is not int or schema != SCHEMA:
        raise damaged(folder, f"a manifest with schema {schema!r}", f"a JSON object with schema {SCHEMA}")
    digest = manifest.get("manifest_sha256")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest) or _digest(content, digest) != digest:
        raise damaged(folder, "a manifest that does not match its own manifest_sha256", "the manifest as written")
    return manifest


def manifest_text(manifest: dict[str, Any]) -> bytes:
    """The manifest as bytes, with the hash of these bytes (taken with zeros in its place) inside."""
    try:
        plain = json.dumps({**manifest, "manifest_sha256": _NO_DIGEST}, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            "writing the manifest of a result",
            received=str(error),
            expected="config, learned settings and provenance as plain JSON without NaN or infinity",
            remedy="turn tensors and other objects into numbers, texts, lists and dictionaries",
        ) from error
    digest = hashlib.sha256(plain.encode()).hexdigest()
    head, _, tail = plain.rpartition(_NO_DIGEST)
    return f"{head}{digest}{tail}".encode()


def _digest(content: bytes, digest: str) -> str:
    """sha256 of the manifest with its last `digest` overwritten by zeros."""
    head, _, tail = content.rpartition(digest.encode())
    return hashlib.sha256(head + _NO_DIGEST.encode() + tail).hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def require_inside(folder: Path, path: Path) -> None:
    """Refuse links that lead out of the folder, and anything that is no ordinary file (a pipe would never end)."""
    if not path.resolve().is_relative_to(folder.resolve()) or not stat.S_ISREG(path.stat().st_mode):
        raise damaged(folder, f"{path.name}, which leads out of the folder or is no file", "an ordinary file in it")


def damaged(folder: Path, received: str, expected: str) -> IntegrityError:
    return IntegrityError(f"reading the run {folder}", received=received, expected=expected, remedy=_REMEDY)
