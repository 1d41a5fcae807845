"""Predictions and accuracy."""

from __future__ import annotations

import pytest
import torch
from fit_reference import small_network
from toys import blob_images

from decoct.errors import DataError
from decoct.training import accuracy as room
from decoct.training.accuracy import accuracy, predict


def test_predictions_of_blocks_are_those_of_the_module(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "BLOCK", 7)
    data = blob_images(per_class=20)
    module = small_network(0, "bn").train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = predict(module, data, data.test)
    assert module.training
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    expected = module.eval()(data.inputs(data.test)).detach()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(predict(module, data.inputs(data.test)), expected)
    hits = (expected.argmax(1) == data.test.labels()).float().mean().item()
    assert accuracy(module, data, data.test) == pytest.approx(hits)


def test_no_rows():
    data = blob_images()
    with pytest.raises(DataError, match="at least one row"):
        accuracy(small_network(0), data, data.test.take(slice(0, 0)))
