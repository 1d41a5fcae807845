"""Uids of kept rows as DataComp's tools read them."""

from __future__ import annotations

import hashlib
import uuid

import numpy as np
import pytest
from compact_examples import coreset_of, examples
from toys import blob_features

from decoct.compact.datacomp import uid_of, uids
from decoct.compact.export import export
from decoct.errors import ConfigError


def hexadecimal(pair) -> str:
    return f"{int(pair[0]):016x}{int(pair[1]):016x}"


def test_uids_of_the_user_are_kept_and_sorted_as_whole_numbers():
    rng = np.random.default_rng(0)
    own = [uuid.UUID(bytes=rng.bytes(16)).hex for _ in range(50)]
    pairs = uids([name.upper() for name in own])
    assert pairs.dtype == np.dtype("u8,u8")
    assert [hexadecimal(pair) for pair in pairs] == sorted(own)
    # The reader looks samples up by binary search in the same order.
    wanted = np.array([(int(own[7][:16], 16), int(own[7][16:], 16))], pairs.dtype)
    assert pairs[np.searchsorted(pairs, wanted)[0]] == wanted[0]


def test_other_ids_become_the_first_half_of_their_hash():
    assert uid_of("cat/1.png") == hashlib.sha256(b"cat/1.png").hexdigest()[:32]
    assert uid_of("f" * 31) != "f" * 31
    assert uid_of("\udcff") == hashlib.sha256(rb"\udcff").hexdigest()[:32]


def test_a_coreset_as_a_subset_file(tmp_path):
    core = coreset_of(blob_features())
    path = export(core, "datacomp", tmp_path / "subset.npy")
    found = np.load(path, allow_pickle=False)
    assert found.shape == (len(core),)
    assert {hexadecimal(pair) for pair in found} == {uid_of(str(name)) for name in core.ids}
    assert (found == np.sort(found)).all()


def test_made_rows_have_no_ids(tmp_path):
    with pytest.raises(ConfigError, match="have no ids"):
        export(examples()["pixels-8"], "datacomp", tmp_path / "subset.npy")
    assert not list(tmp_path.iterdir())
