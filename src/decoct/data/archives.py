"""What stands between an archive of arrays (`.npz`) and its arrays: everything that reading a damaged one raises."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib

DAMAGED = (
    OSError, ValueError, TypeError, AttributeError, LookupError, EOFError, SyntaxError, MemoryError, OverflowError,
    RuntimeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy and `zipfile` raise for bytes that are no whole archive, or lack an array, depending on where they break:
a member that is no array is read as bytes, and the header of an array as a Python literal."""
