"""Errors survive being copied and sent to another process."""

from __future__ import annotations

import copy
import pickle

import pytest

from decoct import errors
from decoct.errors import DecoctError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DecoctError)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_comes_back_whole(kind, again):
    error = kind("counting", received="-1", expected="0 or more", remedy="count again")
    other = again(error)
    assert type(other) is kind
    assert str(other) == str(error)
    assert vars(other) == vars(error)
