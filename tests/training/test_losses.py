"""Row losses against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from decoct.training.losses import cross_entropy, row_losses, soft_cross_entropy, squared_error


def test_cross_entropy_of_equal_logits_is_log_of_the_class_count():
    found = cross_entropy(torch.zeros(2, 5), torch.tensor([0, 3]))
    torch.testing.assert_close(found, torch.full((2,), math.log(5)))


def test_cross_entropy_by_hand():
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    expected = math.log(sum(math.exp(z) for z in (1.0, 2.0, 0.5))) - 2.0
    assert cross_entropy(logits, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-6)
    assert cross_entropy(logits, torch.tensor([[0.0, 1.0, 0.0]])).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_cross_entropy_is_kl_plus_entropy_times_the_squared_temperature(temperature: float):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, generator=generator)
    p = torch.rand(4, 3, generator=generator)
    p = p / p.sum(1, keepdim=True)
    q = (logits / temperature).softmax(1)
    kl_and_entropy = (p * (p / q).log()).sum(1) - (p * p.log()).sum(1)
    torch.testing.assert_close(soft_cross_entropy(logits, p, temperature), temperature**2 * kl_and_entropy)


def test_soft_gradient_vanishes_where_the_student_says_what_the_teacher_says():
    logits = torch.tensor([[0.3, -1.0, 2.0]], requires_grad=True)
    row_losses("kl", 3.0)(logits, (logits / 3).softmax(1).detach()).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6


def test_squared_error_is_the_mean_over_classes_and_reads_hard_labels_as_one_hot():
    logits = torch.tensor([[1.0, 3.0]])
    assert squared_error(logits, torch.tensor([[0.0, 1.0]])).item() == (1 + 4) / 2
    assert squared_error(logits, torch.tensor([1])).item() == (1 + 4) / 2
