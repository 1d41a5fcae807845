"""The same run on a GPU."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from axis_members import OBJECTIVES
from toys import blob_images

import decoct
from decoct.distillation.labels.learned import Learned
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.storage.multiformation import Multiformation


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_gpu_takes_the_same_steps_as_the_processor(name):
    """Same seed, same draws: images after three steps agree to float tolerance; a set made there loads here."""
    objective = OBJECTIVES[name]
    if "bfloat16" in {field.name for field in fields(objective)}:
        objective = replace(objective, bfloat16=False)
    data, point = blob_images(classes=3), Recipe(Multiformation(), objective, Learned(), lr=0.01, steps=3)
    problems = [Problem(data, 2, "convnet2-w4", device, "crop_scale", 0.0) for device in ("cpu", "cuda")]
    runs = [Distillation(problem, point, 7) for problem in problems]
    for step in range(3):
        for run in runs:
            run.advance(step / 3)
    one, other = (run.tensors["pixels"].detach().cpu() for run in runs)
    assert torch.allclose(one, other, atol=1e-3)
    small = decoct.distill(data, point, ipc=2, network="convnet2-w4", device="cuda")
    assert small.decode().device.type == "cpu"
