"""A pytest plugin: whatever would run on the processor, or where torch sees fit, runs on the stand-in device.

    PYTHONPATH=tests python -m pytest -o addopts= -W ignore -p stand_in.everywhere tests/analysis

Shape checks are off (they would have to come first), and tests that look at tensors themselves may fail for mixing
devices; what counts is that no line of `src/decoct` does.
"""

from __future__ import annotations

import stand_in
from decoct import machine

_usual = machine.usable_device
machine.best_device = stand_in.device
machine.usable_device = lambda name: stand_in.device() if name in (None, "cpu") else _usual(name)
