"""What a network's name stands for: told by its files and its first weights, not by the name alone."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

from decoct.networks import identity as identified
from decoct.networks.identity import foreign_identities, module_identity, network_identity

FACTORY = """
import torch
from own_layers import Layer

def build(shape, classes):
    return torch.nn.Sequential(torch.nn.Flatten(), Layer(shape, classes))
"""
LAYERS = """
import torch

class Layer(torch.nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.linear = torch.nn.Linear(shape[0], classes)

    def forward(self, x):
        return self.linear(x)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_networks.py").write_text(FACTORY)
    (tmp_path / "own_layers.py").write_text(LAYERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("own_networks", "own_layers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def identity(name: str = "own_networks:build") -> str:
    """As a new process would tell it."""
    for module in ("own_networks", "own_layers"):
        sys.modules.pop(module, None)
    importlib.invalidate_caches()
    return network_identity(name, (4,), 2)


def test_networks_of_decoct_are_their_names() -> None:
    assert network_identity("mlp-w8", (4,), 2) == "mlp-w8"
    assert network_identity("decoct.networks.mlp:MLP", (4,), 2) == "decoct.networks.mlp:MLP"


@pytest.mark.parametrize("file", ["own_networks.py", "own_layers.py"])
def test_an_edit_of_the_factory_or_of_its_layers_makes_another_network(folder: Path, file: str) -> None:
    before = identity()
    assert identity() == before
    text = (folder / file).read_text()
    (folder / file).write_text(text.replace("self.linear(x)", "2 * self.linear(x)") + "# an edit\n")
    after = identity()
    assert after != before
    assert after.startswith("own_networks:build@")


def test_frozen_weights_make_another_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, build = identity(), identified.network

    def frozen(*asked: object) -> torch.nn.Module:
        module = build(*asked)
        next(module.parameters()).requires_grad_(False)
        return module

    monkeypatch.setattr(identified, "network", frozen)
    assert identity() != before


def test_a_factory_that_another_module_hands_on_is_read_where_it_was_written(folder: Path) -> None:
    (folder / "shop.py").write_text("from own_networks import build\n")
    before = identity("shop:build")
    (folder / "own_networks.py").write_text(FACTORY + "# an edit\n")
    assert identity("shop:build") != before
    sys.modules.pop("shop")


class Remembering(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.setting = object()

    def extra_repr(self) -> str:
        return repr(self.setting)


def test_where_a_setting_lies_in_memory_is_no_part_of_a_module() -> None:
    one, other = Remembering(), Remembering()
    assert repr(one) != repr(other)
    target = f"{__name__}:Remembering"
    assert module_identity(target, one) == module_identity(target, other)


def test_only_networks_from_outside_decoct_are_told(folder: Path) -> None:
    assert foreign_identities(["mlp-w8", "own_networks:build"], (4,), 2) == {"own_networks:build": identity()}


def test_other_first_weights_make_another_network(folder: Path) -> None:
    text = FACTORY.replace("import torch\n", "import torch\nfrom pathlib import Path\n").replace(
        "    return ", f"    values = torch.load(Path({str(folder)!r}) / 'w.pt')\n    layer = Layer(shape, classes)\n"
        "    layer.load_state_dict(values)\n    return "
    ).replace("Layer(shape, classes))", "layer)")  # fmt: skip
    (folder / "own_networks.py").write_text(text)
    values = {"linear.weight": torch.ones(2, 4), "linear.bias": torch.zeros(2)}
    torch.save(values, folder / "w.pt")
    before = identity()
    torch.save({**values, "linear.weight": 2 * values["linear.weight"]}, folder / "w.pt")
    assert identity() != before
