from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.compact.folder_names import class_name, folder_names
from decoct.errors import ConfigError

HARD = [
    "",
    ".",
    "..",
    "a/b",
    "a\\b",
    "CON",
    "nul.txt",
    "x ",
    "x.",
    " x",
    ".git",
    "%",
    "%2F",
    "a:b",
    "\0",
    "é",
    "e\u0301",
]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=12), unique=True, min_size=1, max_size=8))
def test_names_come_back_and_differ_without_regard_to_case(names):
    folders = folder_names(names)
    assert [class_name(folder) for folder in folders] == names
    assert len({folder.casefold() for folder in folders}) == len(names)


def test_dangerous_names(tmp_path):
    folders = folder_names(HARD)
    for name, folder in zip(HARD, folders, strict=True):
        (tmp_path / folder).mkdir()
        assert (tmp_path / folder).resolve().parent == tmp_path.resolve()
        assert folder[0] != "."
        assert folder[-1] not in ". "
        assert not set(folder) & set('/\\:*?"<>|\0')
        assert class_name(folder) == name


def test_ordinary_names_stay_readable():
    assert folder_names(["T-shirt", "ankle boot", "3", "café", "猫"]) == ["T-shirt", "ankle boot", "3", "café", "猫"]


def test_case_alone():
    folders = folder_names(["A", "a", "b"])
    assert folders == ["%41", "a", "b"]


def test_bytes_that_are_no_unicode_come_back():
    assert class_name(folder_names(["\udcff"])[0]) == "\udcff"


def test_too_long_names_have_another_way_out():
    with pytest.raises(ConfigError, match="export to parquet or npz"):
        folder_names(["x" * 300])
