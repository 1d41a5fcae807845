"""How fast this machine computes, measured in a moment: training steps, products of matrices, rows one by one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from decoct.data.dataset import Dataset
from decoct.engine import one_thread
from decoct.networks.build import network as build_network
from decoct.networks.count import flops_forward

TRAINING = 3.0
"""Floating-point operations of a step over those of its forward pass: forward, gradients of layers, of weights."""
BATCH = 64
SQUARE = 1024
ROWS = 65_536
"""Rows compared with one row, at most: their numbers should not fit the cache where those of the data do not."""
TRIALS = 3


@dataclass(frozen=True)
class Rates:
    """Floating-point operations a second of comparing rows with `d` numbers, on one thread, as selectors compute."""

    products: float
    """Of products of matrices."""
    rows: float
    """Of all rows with one row after the other, where memory sets the pace."""


def measured_rate(data: Dataset, network: str, device: str) -> float:
    """Floating-point operations a second of training steps on 64 rows: the fastest of three after a first."""
    module = build_network(network, data.spec.shape, data.spec.classes, 0).to(device).train()
    inputs = torch.zeros(BATCH, *data.spec.shape, device=device)
    targets = torch.zeros(BATCH, dtype=torch.int64, device=device)

    def step() -> None:
        F.cross_entropy(module(inputs), targets).backward()
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return TRAINING * flops_forward(module, data.spec.shape) * BATCH / _fastest(step)


def measured_rates(n: int, d: int) -> Rates:
    """The rates for n rows with d numbers each; takes a few hundredths of a second."""
    table = torch.zeros(min(n, ROWS), d)
    square = table.new_zeros(SQUARE, d)
    with one_thread():
        products = 2 * SQUARE * SQUARE * d / _fastest(lambda: square @ square.T)
        rows = 2 * len(table) * d / _fastest(lambda: table @ square[0])
    return Rates(products, rows)


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three after a first."""
    fastest = math.inf
    for trial in range(TRIALS + 1):
        began = time.perf_counter()
        work()
        if trial:
            fastest = min(fastest, time.perf_counter() - began)
    return max(fastest, 1e-9)
