"""Private distribution matching: clip, noise and coins are as said, and no number is given where none holds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import blob_features, blob_images

import decoct
from decoct.analysis.finding import Finding
from decoct.applications.privacy import release
from decoct.applications.privacy.dp import PrivateConfig, noisy_tables, private_matching, public_view
from decoct.applications.privacy.noise import clipped, noisy_sums, poisson_rows
from decoct.applications.privacy.release import release_network, require_separate_rows
from decoct.errors import ConfigError
from decoct.networks.embedding import embed
from decoct.streams import Streams

pytest.importorskip("opacus")
NETWORK = "convnet2-w4"
QUICK = PrivateConfig(releases=6, rate=0.5, noise=2.0, size_noise=2.0, steps=12, delta=1e-3, accountant="rdp")


def toy():
    return public_view(blob_images(classes=3, per_class=40))


def test_one_row_changes_the_table_by_at_most_the_clip():
    generator = torch.Generator().manual_seed(0)
    features = 5 * torch.randn(20, 7, generator=generator)
    assert float(clipped(features, 1.5).norm(dim=1).max()) <= 1.5 + 1e-5
    short = 0.01 * features
    assert torch.equal(clipped(short, 1.5), short), "short rows stay"
    labels = torch.arange(20) % 3

    def plain(rows):
        return noisy_sums([(features[rows], labels[rows])], 3, 1.5, 0.0, torch.Generator().manual_seed(1))

    whole = plain(torch.arange(20))
    for left_out in range(20):
        rows = torch.tensor([row for row in range(20) if row != left_out])
        assert float((whole - plain(rows)).norm()) <= 1.5 + 1e-5


def one_unlike_the_others():
    """Pale rows and one of black and white, which alone makes the statistics of a batch."""
    data, rng = toy(), np.random.default_rng(0)
    pale = (128 + rng.integers(-3, 4, data.train.x.shape)).astype(np.uint8)
    pale[0] = 255 * rng.integers(0, 2, pale.shape[1:])
    return replace(data, train=replace(data.train, x=pale))


@pytest.mark.parametrize("name", ["convnet2-w4", "convnet2-w4-bn", "convnet1-w4-none", "resnet10-w4"])
def test_one_row_moves_the_table_of_a_whole_network_by_at_most_the_clip(name):
    data, config = one_unlike_the_others(), replace(QUICK, noise=1e-9, size_noise=1e-9, rate=1.0, releases=1)

    def sums(kept: torch.Tensor) -> torch.Tensor:
        part = data.with_train(kept)
        [table] = noisy_tables(part, name, config, Streams(0))
        return table * torch.bincount(part.train.labels(), minlength=3)[:, None]

    rows = torch.arange(len(data.train))
    whole = sums(rows)
    for left_out in (0, 7, 61, 119):
        assert 1e-4 < float((whole - sums(rows[rows != left_out])).norm()) <= 1.0 + 1e-3


class Mixing(torch.nn.Module):
    """Subtracts the mean row, which no layer tells."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.last = torch.nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last((x - x.mean(0)).flatten(1))


def mixing(shape: tuple[int, ...], classes: int) -> torch.nn.Module:
    return Mixing(classes)


def batch_statistics(shape: tuple[int, ...], classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.BatchNorm1d(64, track_running_stats=False), torch.nn.Linear(64, classes)
    )


@pytest.mark.parametrize("factory", ["mixing", "batch_statistics"])
def test_a_network_in_which_rows_see_each_other_gets_no_number(factory):
    name = f"{__name__}:{factory}"
    with pytest.raises(ConfigError, match=r"depends on the rows beside it(.|\n)*at most clip(.|\n)*convnet3-bn"):
        private_matching(toy(), ipc=1, config=QUICK, name=name, seed=0)


def test_dropout_is_off_and_a_network_that_answers_by_chance_is_refused():
    def factory(kind):
        return torch.nn.Sequential(torch.nn.Flatten(), kind, torch.nn.Linear(64, 3)).eval()

    require_separate_rows(factory(torch.nn.Dropout(0.5)), "dropout", (1, 8, 8))
    with pytest.raises(ConfigError, match=r"with the network 'chance'(.|\n)*or on chance"):
        require_separate_rows(factory(torch.nn.RReLU(0.1, 0.9).train()).train(), "chance", (1, 8, 8))


def test_weighted_rows_are_refused():
    data = toy()
    heavy = data.with_weights(1 + torch.arange(len(data.train)) % 2)
    with pytest.raises(ConfigError, match=r"weights on the training rows(.|\n)*leave the weights out"):
        private_matching(heavy, ipc=1, config=QUICK, name=NETWORK)


def test_noise_has_the_standard_deviation_of_noise_times_clip_on_every_entry():
    features, labels = torch.zeros(1, 200), torch.zeros(1, dtype=torch.int64)
    drawn = torch.stack(
        [noisy_sums([(features, labels)], 4, 0.5, 3.0, torch.Generator().manual_seed(seed)) for seed in range(60)]
    )
    assert float(drawn.std()) == pytest.approx(1.5, rel=0.02)
    assert float(drawn.std(0).min()) > 1.0, "classes without rows get noise too"
    assert abs(float(drawn.mean())) < 0.03


def test_every_row_has_a_coin_of_its_own():
    generator = torch.Generator().manual_seed(0)
    drawn = [poisson_rows(400, 0.1, generator) for _ in range(500)]
    sizes = torch.tensor([float(len(rows)) for rows in drawn])
    assert float(sizes.mean()) == pytest.approx(40, abs=1.5)
    assert float(sizes.var()) == pytest.approx(400 * 0.1 * 0.9, rel=0.25), "binomial, not fixed"
    counts = torch.bincount(torch.cat(drawn), minlength=400).float()
    assert float((counts - 50).abs().max()) < 5 * 45**0.5
    assert len(poisson_rows(5, 1e-12, generator)) == 0


def test_without_noise_to_speak_of_the_tables_are_the_class_means():
    data, config = toy(), replace(QUICK, noise=1e-9, size_noise=1e-9, rate=1.0, releases=1)
    [table] = noisy_tables(data, NETWORK, config, Streams(0))
    features = clipped(embed(release_network(data, NETWORK, Streams(0), 0), data.inputs(data.train)), 1.0)
    for c in range(3):
        assert torch.allclose(table[c], features[data.train.labels() == c].mean(0), atol=1e-4)


def test_samples_are_embedded_in_blocks_and_the_tables_stay_what_they_were(monkeypatch):
    """Rounding aside: same coins, same noise, same clip. An empty sample has noise alone."""
    data, config = toy(), replace(QUICK, releases=2)
    before, sizes = noisy_tables(data, NETWORK, config, Streams(0)), []
    embedded = release.embed

    def watched(module, inputs):
        sizes.append(len(inputs))
        return embedded(module, inputs)

    monkeypatch.setattr(release, "embed", watched)
    for module in ("dp", "release"):
        monkeypatch.setattr(f"decoct.applications.privacy.{module}.BLOCK", 7)
    after = noisy_tables(data, NETWORK, config, Streams(0))
    assert max(sizes) == 7
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    [table] = noisy_tables(data, NETWORK, replace(QUICK, releases=1, rate=1e-12), Streams(0))
    assert torch.isfinite(table).all()


def test_a_set_comes_with_its_number_and_gives_nothing_else_away(tmp_path):
    data = toy()
    found = private_matching(data, ipc=2, config=QUICK, name=NETWORK, seed=0)
    from decoct.applications.privacy.accounting import Release, epsilon

    expected = epsilon([Release(2.0, 0.5, 6), Release(2.0, 1.0, 1)], 1e-3, "rdp")
    assert found.epsilon == pytest.approx(expected)
    assert f"({expected:.3g}, 0.001)-differentially private" in found.claim()
    assert "do not know the seed" in found.claim()
    found.compact_set.save(tmp_path / "set")
    manifest = (tmp_path / "set" / "manifest.json").read_text()
    assert json.loads(manifest)
    for told in ("seed", blob_images(classes=3, per_class=40).spec.fingerprint, '"mean": 0.4'):
        assert told not in manifest.replace("from a given seed", "").replace("know the seed", "")
    assert float(found.compact_set.decode().abs().max()) <= 1.01, "images stay between black and white"
    card = decoct.evaluate(found.compact_set, data, networks=[NETWORK], seeds=1, baselines=())
    assert card.judged[0].rows == 6


def test_the_claim_and_its_number_are_told_in_json_and_in_a_finding():
    found = private_matching(toy(), ipc=2, config=QUICK, name=NETWORK, seed=0)
    told = json.loads(json.dumps(found.to_json("out/private")))
    assert (told["folder"], told["epsilon"], told["claim"]) == ("out/private", found.epsilon, found.claim())
    shown = Finding.from_json(found.finding("out/private").to_json())
    assert f"The set in private: ({found.epsilon:.3g}, 0.001)-differentially private." in shown.sentence
    assert (shown.rows[0]["epsilon"], shown.rows[0]["accountant"]) == (found.epsilon, "rdp")
    none = private_matching(toy(), ipc=1, config=replace(QUICK, sampling="fixed"), name=NETWORK, seed=0)
    assert none.finding("p").sentence.startswith("The set in p: no epsilon can be given: samples of a fixed size")
    assert none.finding("p").rows[0]["epsilon"] is None


def test_the_same_seed_is_the_same_set_and_no_seed_is_never_the_same():
    data = toy()
    first, again = (private_matching(data, ipc=1, config=QUICK, name=NETWORK, seed=3).compact_set for _ in range(2))
    assert first.content_hash == again.content_hash
    one, other = (private_matching(data, ipc=1, config=QUICK, name=NETWORK) for _ in range(2))
    assert one.compact_set.content_hash != other.compact_set.content_hash
    assert "seed" not in one.claim()


def test_samples_of_a_fixed_size_get_no_epsilon():
    found = private_matching(toy(), ipc=1, config=replace(QUICK, sampling="fixed"), name=NETWORK, seed=0)
    assert found.epsilon is None
    assert found.claim().startswith("No epsilon can be given: samples of a fixed size")
    assert found.compact_set.provenance["epsilon"] is None


def test_with_little_noise_it_learns_what_the_rows_are_like():
    data = toy()
    config = replace(QUICK, noise=1e-3, size_noise=1e-3, releases=20, rate=1.0, steps=150, sampling="fixed")
    small = private_matching(data, ipc=1, config=config, name="convnet1-w16", seed=0).compact_set
    real = torch.stack([data.inputs(data.train)[data.train.labels() == c].mean(0) for c in range(3)])
    made, like = (rows.flatten(1) - rows.flatten(1).mean(0) for rows in (small.decode(), real))
    likeness = torch.nn.functional.normalize(made) @ torch.nn.functional.normalize(like).T
    assert likeness.argmax(1).tolist() == [0, 1, 2]
    assert float(likeness.diag().min()) > 0.3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"clip": 0.0}, "clip: 0.0"),
        ({"rate": 0.0}, "rate: 0.0"),
        ({"noise": -1.0}, "noise: -1.0"),
        ({"releases": 0}, "releases: 0"),
        ({"delta": 0.5}, "below 1 / 120"),
        ({"size_noise": 0.0}, "size_noise"),
        ({"steps": 0}, "steps: 0"),
    ],
)
def test_bad_requests(changes, text):
    with pytest.raises(ConfigError, match=text):
        private_matching(toy(), ipc=1, config=replace(QUICK, **changes), name=NETWORK)


def test_a_spec_that_was_computed_from_the_rows_is_refused():
    with pytest.raises(ConfigError, match=r"a spec computed from the rows(.|\n)*public_view"):
        private_matching(blob_images(), ipc=1, config=QUICK, name=NETWORK)
    with pytest.raises(ConfigError, match="images, whose values lie"):
        public_view(blob_features())
    with pytest.raises(ConfigError, match="ipc: 0"):
        private_matching(toy(), ipc=0, config=QUICK, name=NETWORK)
