"""Calls as callers make them, without the check of types that tests have and callers have not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping


@contextmanager
def as_callers_do() -> Iterator[None]:
    """Inside, no argument is compared with its annotation."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
