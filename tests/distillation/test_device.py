"""Every objective, storage and kind of labels on another device: CUDA where there is one, else the stand-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import stand_in
import torch

CHECKS = Path(__file__).with_name("device_checks.py")


@pytest.mark.slow
def test_another_device_does_what_the_processor_does() -> None:
    """In an interpreter of its own: torch counts its devices before the first backward pass, and never again."""
    if not torch.cuda.is_available():
        try:
            stand_in.library()
        except stand_in.NotBuiltError as error:
            pytest.skip(f"no CUDA device, and no stand-in for one: {error}")
    order = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--tb=short", str(CHECKS)]
    done = subprocess.run(order, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout
