"""The embedded default: scikit-learn's 1,797 handwritten digits, 8x8 gray (Alpaydin and Kaynak, UCI, 1998)."""

from __future__ import annotations

from typing import Any

import numpy as np

from decoct.data.found import Found, Wish
from decoct.data.sources.arrays import from_arrays
from decoct.errors import SourceError

LEVELS = 16


def find(place: str, wish: Wish) -> Found:
    """All digits as one part, values 0..16 stretched to 0..255. Raises `SourceError` if a path follows the name."""
    if place:
        raise SourceError(
            f"opening digits:{place}",
            received=f"{place!r} after 'digits'",
            expected="'digits' alone: they come with decoct",
            remedy="write 'digits', or 'imagefolder:PATH' for your own images",
        )
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images, labels = bunch.images, bunch.target.astype(np.int64)
    stretched = np.rint(images * (255 / LEVELS)).astype(np.uint8)
    return from_arrays("opening digits", {"all": stretched}, {"all": labels}, tuple(map(str, range(10))), wish)
