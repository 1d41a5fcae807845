"""Losses and their gradients for images, with real rows embedded in bfloat16 and in float32."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
import torch.nn.functional as F
from axis_members import OBJECTIVES
from torch import Tensor
from toys import blob_images

from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.streams import Streams

HALVED = [name for name, objective in OBJECTIVES.items() if "bfloat16" in {field.name for field in fields(objective)}]
"""Objectives that embed real rows in bfloat16 unless asked otherwise."""


def loss_and_gradient(name: str, device: str, bfloat16: bool) -> tuple[Tensor, Tensor]:
    """Of one step, the first after all that comes before it."""
    data = blob_images(classes=3, per_class=20)
    config = replace(OBJECTIVES[name], bfloat16=bfloat16)
    state = config.init(Problem(data, 2, "convnet2-w8", device, "crop_scale", 0.0), Streams(3))
    real = RealSource(data, device, Streams(3)("real"))
    state.prepare(real)
    rows = torch.cat([torch.from_numpy(members[:2]) for members in data.train.class_rows(3)])
    images = data.inputs(data.train, rows, device).requires_grad_(True)
    classes = data.train.labels(rows).to(device)
    loss = state.loss(Synthetic(images, F.one_hot(classes, 3).float(), classes), real)
    return loss.detach().cpu(), torch.autograd.grad(loss, images)[0].cpu()
