"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Workers that run side by side take one thread each: two teams of threads on the same cores stall each other."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        import torch

        os.environ["OMP_NUM_THREADS"] = "1"  # for the commands that tests start
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it skip, naming the folder, where it is missing."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DECOCT_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data: the folder {folder} is missing (set DECOCT_DATA)")
    return folder
