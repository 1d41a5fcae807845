"""Class names as folder names that every file system takes, and back."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from decoct.errors import ConfigError

_EMPTY = "%"
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-+,()=@.")
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_MAX_BYTES = 240


def folder_names(class_names: Sequence[str]) -> list[str]:
    """A folder name for each class, all different, also where upper and lower case are the same.

    Characters that are not safe become `%XX` for each byte of their UTF-8, as in addresses on the web, and so do the
    capitals of names that differ only by case; `class_name` turns the result back. Raises `ConfigError` for a name
    of more than 240 bytes.
    """
    plain = [_escape(name) for name in class_names]
    often = Counter(name.casefold() for name in plain)
    return [_lower(name) if often[name.casefold()] > 1 else name for name in plain]


def class_name(folder: str) -> str:
    """The class name of a folder name that `folder_names` made."""
    return "" if folder == _EMPTY else unquote_to_bytes(folder).decode("utf-8", "surrogatepass")


def _escape(name: str) -> str:
    if not name:
        return _EMPTY
    composed = unicodedata.is_normalized("NFC", name)
    escaped = "".join(c if c in _PLAIN or (composed and not c.isascii() and c.isalnum()) else _hex(c) for c in name)
    if escaped[0] in ". " or _DEVICE.fullmatch(escaped):
        escaped = _hex(escaped[0]) + escaped[1:]
    if escaped[-1] in ". ":
        escaped = escaped[:-1] + _hex(escaped[-1])
    if len(escaped.encode()) > _MAX_BYTES:
        raise ConfigError(
            "naming the folder of a class",
            received=f"a name of {len(escaped.encode())} bytes: {name[:40]!r}...",
            expected=f"at most {_MAX_BYTES} bytes",
            remedy="export to parquet or npz, which take any name",
        )
    return escaped


def _hex(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _lower(escaped: str) -> str:
    """Escape the capitals, leaving the digits of earlier escapes."""
    parts = re.split(r"(%[0-9A-F]{2})", escaped)
    return "".join(
        part if i % 2 else "".join(_hex(c) if c != c.casefold() else c for c in part) for i, part in enumerate(parts)
    )
