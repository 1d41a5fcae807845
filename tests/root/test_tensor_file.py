"""Tensors in files: whole or not at all, with the system's refusals as errors of decoct."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from full_disk import files_of_at_most
from safetensors import safe_open
from safetensors.torch import load_file

from decoct.errors import OutputError
from decoct.tensor_file import write_tensors


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_tensors(tmp_path / "deep" / "a.safetensors", {"x": torch.arange(3)}, {"told": "so"})
    assert torch.equal(load_file(tmp_path / "deep" / "a.safetensors")["x"], torch.arange(3))
    with safe_open(tmp_path / "deep" / "a.safetensors", framework="pt") as file:
        assert file.metadata() == {"told": "so"}


def test_a_refusal_of_the_system_is_told_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.arange(3)})
    with files_of_at_most(2000), pytest.raises(OutputError, match=r"a.safetensors\n.*larger than the system allows"):
        write_tensors(path, {"x": torch.zeros(1000)})
    assert torch.equal(load_file(path)["x"], torch.arange(3))
    assert [found.name for found in tmp_path.iterdir()] == ["a.safetensors"]
