"""Generators: two passes through a decoder, who may name one, what is stored, decoders of the user's own."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from toys import blob_features, blob_images

import decoct
from decoct.compact.decoders import DECODERS, belongs_to_decoder, row_count
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.generator import glad
from decoct.distillation.recipes.task import Task
from decoct.distillation.run import Distillation
from decoct.distillation.storage import generator
from decoct.distillation.storage.generator import Generator
from decoct.errors import BudgetError, ConfigError, IntegrityError, OutputError, UnknownNameError
from decoct.networks.decoder_networks import decoder_network, require_known, structure
from decoct.networks.small_decoder import SmallDecoder
from decoct.streams import Streams

SMALL = "small-decoder-z4-w2"


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)


class Plain(nn.Module):
    """A decoder of a user: one linear layer without classes, BatchNorm with its counter after it."""

    latent_size = 3

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(nn.Linear(3, torch.Size(shape).numel()), nn.BatchNorm1d(torch.Size(shape).numel()))

    def forward(self, latents):
        return self.layers(latents).reshape(-1, *self.shape)


def odd(shape, classes):
    """A factory whose module does not say how many latents it takes."""
    return nn.Linear(3, 4)


def _problem(shape: tuple[int, int, int] = (1, 8, 8), ipc: int = 1, cache=None) -> Problem:
    return Problem(blob_images(shape=shape), ipc, "convnet2-w4", "cpu", "", 0.0, cache)


def _run(storage: Generator, problem: Problem, **settings: object) -> Distillation:
    return Distillation(problem, Recipe(storage, Distribution(real_per_class=8), Hard(), **settings), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("learn_decoder", [False, True])
def test_two_pass_gradients_equal_direct_ones(learn_decoder, monkeypatch):
    """Images first, then the decoder in chunks: the gradient of one graph, for latents and weights."""
    monkeypatch.setattr("decoct.distillation.run.DECODE_ROWS", 5)
    storage = Generator(SMALL, train_steps=2, learn_decoder=learn_decoder)
    run = _run(storage, _problem((3, 9, 7)))
    weights = torch.randn(storage.decode(run.tensors).shape, generator=torch.Generator().manual_seed(0))
    leaf = storage.decode(run.tensors).detach().requires_grad_(True)
    (leaf * weights).sin().sum().backward()
    run._storage_backward(torch.arange(len(run.classes)), leaf)
    module = SmallDecoder((3, 9, 7), 3, latent=4, width=2)
    own = {name.removeprefix("decoder."): part for name, part in run.tensors.items() if name.startswith("decoder.")}
    module.load_state_dict({name: part.detach() for name, part in own.items()})
    latents = run.tensors["latents"].detach().clone().requires_grad_(True)
    (module(latents, F.one_hot(run.classes, 3).float()) * weights).sin().sum().backward()
    assert run.tensors["latents"].grad is not None
    assert latents.grad is not None
    torch.testing.assert_close(run.tensors["latents"].grad, latents.grad, atol=1e-4, rtol=1e-4)
    for name, part in module.named_parameters():
        found = own[name].grad
        assert (found is not None) == learn_decoder
        if found is not None and part.grad is not None:
            torch.testing.assert_close(found, part.grad, atol=1e-4, rtol=1e-4)


def test_a_row_belongs_to_its_class_whatever_rows_are_asked_for():
    storage, problem = Generator(SMALL, train_steps=0), _problem()
    tensors = storage.init(problem, Streams(0))
    rows = torch.tensor([23, 0, 8, 23])
    torch.testing.assert_close(storage.decode(tensors, rows), storage.decode(tensors)[rows])
    assert storage.classes(problem).tolist() == [row // 8 for row in range(24)]


@pytest.mark.parametrize(("ipc", "latent", "rows"), [(1, 4, 8), (1, 32, 1), (2, 8, 8), (3, 1, 64)])
def test_latents_fill_the_bytes_and_the_decoder_is_counted_apart(ipc, latent, rows):
    problem, storage = _problem(ipc=ipc), Generator(f"small-decoder-z{latent}-w2", train_steps=0)
    _, stored, _ = storage.pack(storage.init(problem, Streams(0)), problem)
    assert tuple(stored["latents"].shape) == (3 * rows, latent)
    assert stored["latents"].numel() * 2 <= 3 * ipc * 64
    assert [name for name in stored if not belongs_to_decoder(name)] == ["latents"]
    small = decoct.distill(problem.data, Recipe(storage, Distribution(real_per_class=4), Hard(), steps=1), ipc=ipc,
                           network="convnet2-w4")  # fmt: skip
    weights = sum(part.numel() for part in SmallDecoder((1, 8, 8), 3, latent=latent, width=2).parameters())
    assert (small.nbytes.images, small.nbytes.decoder) == (2 * 3 * rows * latent, 2 * weights)


def test_latents_larger_than_the_budget_say_what_to_take():
    with pytest.raises(BudgetError, match="64 latents of two bytes(.|\n)*small-decoder-z8"):
        Generator("small-decoder-z64-w2").init(_problem(), Streams(0))
    with pytest.raises(ConfigError, match="0 or more"):
        Generator(SMALL, train_steps=-1).init(_problem(), Streams(0))


def test_only_what_shall_move_moves():
    for learn in (False, True):
        run = _run(Generator(SMALL, train_steps=2, learn_decoder=learn), _problem(), lr=0.1)
        before = {name: part.detach().clone() for name, part in run.tensors.items()}
        run.advance(0.0)
        moved = {name for name, part in run.tensors.items() if not torch.equal(part, before[name])}
        assert "latents" in moved
        assert any(name.startswith("decoder.") for name in moved) == learn
        steps = {
            name: float((part - before[name]).detach().abs().max()) for name, part in run.tensors.items() if len(part)
        }
        assert steps["latents"] == pytest.approx(0.1, rel=0.01), "the first step of adam is its step size"
        assert not learn or steps["decoder.start.bias"] == pytest.approx(0.01, rel=0.01), "a tenth for the weights"


def test_auto_encoding_undoes_the_encoder_and_latents_are_standard():
    """Starts are encoded real rows: after some steps they look like rows, as random latents do not."""
    problem = _problem(ipc=2)
    rows = problem.data.inputs(problem.data.train)
    errors, spreads = [], []
    for steps in (0, 80):
        storage = Generator("small-decoder-z8-w4", train_steps=steps)
        tensors = storage.init(problem, Streams(0))
        near = [
            ((rows[torch.from_numpy(problem.data.train.y == int(c))] - image) ** 2).flatten(1).mean(1).min()
            for image, c in zip(storage.decode(tensors), storage.classes(problem), strict=True)
        ]
        errors.append(float(torch.stack(near).mean()))
        spreads.append(float(tensors["latents"].std()))
    assert errors[1] < 0.85 * errors[0], "what is left is the noise that rows do not share"
    assert all(0.3 < spread < 3 for spread in spreads)


def test_a_trained_decoder_is_found_again_in_the_cache(tmp_path, monkeypatch):
    storage = Generator(SMALL, train_steps=3)
    first = storage.init(_problem(cache=tmp_path), Streams(4))
    assert len(list(tmp_path.glob("decoder-*.safetensors"))) == 1
    assert not any(torch.equal(first["decoder.start.weight"], other) for other in [
        storage.init(_problem(), Streams(5))["decoder.start.weight"]])  # fmt: skip
    again = storage.init(_problem(), Streams(4))
    monkeypatch.setattr("decoct.distillation.storage.generator.train_autoencoder", None)
    cached = storage.init(_problem(cache=tmp_path), Streams(4))
    for name, part in first.items():
        assert torch.equal(part, again[name]), "the same seed trains the same decoder"
        assert torch.equal(part, cached[name])


def test_a_decoder_is_kept_for_its_rows_and_for_its_own_contents(tmp_path, monkeypatch):
    """A part of the data, and the same rows with weights, have the fingerprint of the whole."""
    trained, plain = [], generator.train_autoencoder
    monkeypatch.setattr(generator, "train_autoencoder", lambda *given: trained.append(1) or plain(*given))
    storage, problem = Generator(SMALL, train_steps=1), _problem(cache=tmp_path)
    half = replace(problem.data, train=problem.data.train.take(np.arange(30)))
    heavy = problem.data.with_weights(1.0 + np.arange(len(problem.data.train)))
    for count, data in enumerate((problem.data, half, heavy), 1):
        for _ in range(2):
            storage.init(replace(problem, data=data), Streams(4))
        assert len(trained) == len(list(tmp_path.glob("decoder-*"))) == count
    own = Generator(f"{__name__}:Plain", train_steps=1)
    own.init(problem, Streams(4))
    own.init(problem, Streams(4))
    assert len(trained) == 4
    monkeypatch.setattr(Plain, "extra_repr", lambda self: "another decoder of this name")
    own.init(problem, Streams(4))
    assert len(trained) == 5


def test_a_decoder_is_kept_for_its_factory_and_for_what_is_frozen(tmp_path, monkeypatch):
    """The factory may hand on one of another module, and freeze parts of what that makes."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    trained, plain = [], generator.train_autoencoder
    monkeypatch.setattr(generator, "train_autoencoder", lambda *given: trained.append(1) or plain(*given))
    (tmp_path / "shop.py").write_text("from written import build\n")
    text = "from decoct.networks.small_decoder import SmallDecoder\n\ndef build(shape, classes):\n"
    text += "    made = SmallDecoder(shape, classes, latent=4, width=2)\n    MORE\n    return made\n"
    problem = _problem(cache=tmp_path / "cache")
    frozen = "made.start.bias.requires_grad_(False)"
    for count, (more, comment) in enumerate((("", ""), ("", "# an edit\n"), (frozen, "")), 1):
        (tmp_path / "written.py").write_text(text.replace("MORE", more or "pass") + comment)
        for name in ("shop", "written"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        for _ in range(2):
            Generator("shop:build", train_steps=1).init(problem, Streams(4))
        assert len(trained) == len(list((tmp_path / "cache").iterdir())) == count


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        Generator(SMALL, train_steps=1).init(_problem(cache=tmp_path / "file" / "cache"), Streams(4))


def test_a_damaged_decoder_is_trained_again(tmp_path):
    storage = Generator(SMALL, train_steps=1)
    first = storage.init(_problem(cache=tmp_path), Streams(4))
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-50])
    again = storage.init(_problem(cache=tmp_path), Streams(4))
    assert all(torch.equal(part, again[name]) for name, part in first.items())


@pytest.mark.parametrize("shape", [(3, 9, 14), (1, 8, 8), (12,)])
def test_what_is_stored_decodes_to_what_was_learned(shape, tmp_path):
    data = blob_images(shape=shape) if len(shape) == 3 else blob_features(width=12)
    point = Recipe(Generator(SMALL, train_steps=5), Distribution(real_per_class=8), Hard(), steps=2)
    small = decoct.distill(data, point, ipc=2, network="convnet2-w4" if len(shape) == 3 else "mlp-w8", out=tmp_path)
    assert small.decode().shape == (len(small), *shape)
    back = decoct.load(tmp_path)
    assert torch.equal(back.materialize()[0], small.materialize()[0])
    run = Distillation(Problem(data, 2, "convnet2-w4" if len(shape) == 3 else "mlp-w8", "cpu", "", 0.0), point, 0)
    name, stored, config = point.storage.pack(run.tensors, run.problem)
    live = point.storage.decode(run.tensors).detach()
    assert (DECODERS.load(name)(stored, config) - live).abs().max() < 0.02 * live.abs().max()


def test_a_decoder_of_the_user_keeps_its_weights_and_needs_no_classes():
    storage = Generator(f"{__name__}:Plain")
    run = _run(storage, _problem())
    assert "decoder.layers.1.running_var" in run.tensors
    assert "decoder.layers.1.num_batches_tracked" not in run.tensors
    module = decoder_network(f"{__name__}:Plain", (1, 8, 8), 3, 0)
    assert module.latent_size == 3
    weights = {name.removeprefix("decoder."): part for name, part in run.tensors.items() if "decoder" in name}
    module.load_state_dict(weights, strict=False)
    expected = module.eval()(run.tensors["latents"])
    torch.testing.assert_close(storage.decode(run.tensors), expected)
    run.advance(0.0)
    run.look(1)


def test_a_decoder_that_does_not_fit_says_why():
    for name, words in ((f"{__name__}:odd", "latent_size None"), (f"{__name__}:nothing", "AttributeError")):
        with pytest.raises(ConfigError, match=words):
            Generator(name).init(_problem(), Streams(0))
    with pytest.raises(UnknownNameError, match="one of small-decoder"):
        Generator("smal-decoder").init(_problem(), Streams(0))


def test_no_file_makes_decoct_import_what_it_names(tmp_path):
    """A set whose decoder is the user's own is read by a process that named it, and by no other."""
    point = Recipe(Generator(f"{__name__}:Plain"), Distribution(real_per_class=4), Hard(), steps=1)
    decoct.distill(blob_images(), point, ipc=1, network="convnet2-w4", out=tmp_path / "set")
    assert len(decoct.load(tmp_path / "set")) == 30
    code = f"""
import sys, decoct
from decoct.errors import IntegrityError
from decoct.networks.decoder_networks import admit_decoder
try:
    decoct.load({str(tmp_path / "set")!r})
except IntegrityError as error:
    assert "small-decoder" in str(error) and {__name__!r} not in sys.modules, error
    admit_decoder({__name__ + ":Plain"!r})
    print(len(decoct.load({str(tmp_path / "set")!r})))
"""
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path += {folders}\n{code}"], capture_output=True,
                          text=True, check=False, timeout=120)  # fmt: skip
    assert done.stdout.strip() == "30", done.stderr


@pytest.mark.parametrize("name", ["os:system", "small-decoder-z4:x", "", 3, None, ["small-decoder"]])
def test_names_from_a_file_are_not_trusted(name):
    with pytest.raises(UnknownNameError, match="looking up the decoder network"):
        require_known(name)
    storage, problem = Generator(SMALL, train_steps=0), _problem()
    _, stored, config = storage.pack(storage.init(problem, Streams(0)), problem)
    assert row_count("generator", stored, config) == 24
    with pytest.raises(UnknownNameError):
        row_count("generator", stored, {**config, "decoder": name})


def test_hostile_tensors_and_sizes_are_refused_without_memory():
    storage, problem = Generator(SMALL, train_steps=0), _problem()
    _, stored, config = storage.pack(storage.init(problem, Streams(0)), problem)
    weight = stored["decoder.start.weight"]
    broken = [
        (stored, {**config, "decoder": "small-decoder-z99999-w99999"}),
        (stored, {**config, "decoder": "small-decoder-z5-w2"}),
        (stored, {**config, "shape": [1, 1 << 20, 1 << 20]}),
        (stored, {**config, "shape": [1, 8]}),
        (stored, {**config, "shape": [1, 8, True]}),
        (stored, {**config, "classes": 5}),
        (stored, {**config, "classes": 0}),
        ({**stored, "latents": stored["latents"][:0]}, config),
        ({**stored, "latents": stored["latents"].long()}, config),
        ({**stored, "decoder.start.weight": weight[1:]}, config),
        ({**stored, "decoder.more": weight}, config),
        ({name: part for name, part in stored.items() if name != "decoder.start.weight"}, config),
    ]
    for tensors, settings in broken:
        with pytest.raises(ConfigError, match="reading a set stored as 'generator'"):
            row_count("generator", tensors, settings)


def test_an_altered_decoder_name_is_an_altered_set(tmp_path):
    point = Recipe(Generator(SMALL, train_steps=1), Distribution(real_per_class=4), Hard(), steps=1)
    decoct.distill(blob_images(), point, ipc=1, network="convnet2-w4", out=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["config"] == {"decoder": SMALL, "shape": [1, 8, 8], "classes": 3}
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "config": {"decoder": "os:system"}}))
    with pytest.raises(IntegrityError):
        decoct.load(tmp_path)


def test_the_structure_of_a_listed_decoder_takes_no_memory():
    assert all(part.is_meta for part in structure("small-decoder-z9999-w999", (3, 512, 512), 10).parameters())


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("ipc", [1, 10, 50])
def test_the_recipe_is_made_for_any_size(preset, ipc):
    point = glad(Task(blob_images().spec, ipc, preset))
    assert isinstance(point.storage, Generator)
    assert point.network == ("convnet3-w32" if preset == "cpu" else None)
