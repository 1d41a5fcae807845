"""Writing files whole, hashing them, and the system's refusals."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from decoct.errors import OutputError
from decoct.files import make_folder, sha256, write_atomically, write_json, write_text


def test_text_and_json_are_written_whole_with_ordinary_permissions(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "grüße")
    assert (tmp_path / "deep" / "a.txt").read_text(encoding="utf-8") == "grüße"
    write_json(tmp_path / "b.json", {"x": [1, 2.5, None]})
    assert json.loads((tmp_path / "b.json").read_text()) == {"x": [1, 2.5, None]}
    assert stat.S_IMODE((tmp_path / "b.json").stat().st_mode) & 0o444
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "c.json", float("nan"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json", "deep"]


def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, fail)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "the disk is full(.|\n)*nothing half-written"),
        (errno.EROFS, "read-only(.|\n)*you can write to"),
        (errno.EACCES, "no permission"),
    ],
)
def test_refusals_of_the_system_are_output_errors(tmp_path, number, text):
    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match=text):
        write_atomically(tmp_path / "a.txt", refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match="choose another"):
        make_folder(tmp_path / "a" / "b")


def test_hashes_are_those_of_the_content(tmp_path):
    content = b"x" * 3_000_000
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
