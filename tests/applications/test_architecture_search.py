"""Ranking networks by small sets: the numbers by hand, resuming, the command, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from toys import blob_features, blob_images

import decoct
from decoct.applications.architecture_search import PROTOCOL, Space, architecture_search
from decoct.errors import ConfigError, DivergenceError, MismatchError
from decoct.evaluation.bench import Bench
from decoct.evaluation.contender import Judged
from decoct.evaluation.ranking import kendall, regret, spearman
from decoct.evaluation.scorecard import Entry

QUICK = replace(PROTOCOL, fit=replace(PROTOCOL.fit, epochs=2, batch_size=16), full_epochs=2, full_batch=16, checks=1)
NETWORKS = ("convnet1-w2", "convnet2-w2", "convnet1-w2-none", "convnet1-w2-sigmoid")


def search(data, out=None, small=None, **changes):
    small = small or decoct.select(data, "k-center", ipc=2)
    settings = {"seeds": 2, "protocol": QUICK, **changes}
    return architecture_search(data, {"centres": small}, NETWORKS, out=out, **settings)


def test_the_default_space_has_48_different_networks():
    names = Space().names()
    assert len(names) == len(set(names)) == 48
    assert len(Space(norms=("in", "bn", "none")).names()) == 72


def test_every_number_follows_from_the_accuracies(tmp_path):
    found = search(blob_images(), tmp_path)
    assert [proxy.name for proxy in found.proxies] == ["centres", "random", "herding", "early stopping"]
    truth = np.array(found.truth)
    for proxy in found.proxies:
        scores = np.array(proxy.accuracies)
        assert proxy.agreement.spearman.value == pytest.approx(spearman(scores, truth))
        assert proxy.agreement.kendall.value == pytest.approx(kendall(scores, truth))
        assert proxy.agreement.regret.value == pytest.approx(regret(scores, truth))
        assert proxy.chosen == NETWORKS[int(scores.argmax())]
        assert proxy.agreement.spearman.interval is None, "four networks are too few"
        assert proxy.times_faster == pytest.approx(found.full_seconds / proxy.seconds)
    made = {proxy.name: proxy.made_seconds for proxy in found.proxies}
    assert made == {"centres": made["centres"], "random": 0.0, "herding": None, "early stopping": 0.0}
    assert made["centres"] is not None
    assert made["centres"] > 0, "the set says how long it took to make"
    for proxy in found.proxies:
        both = None if proxy.made_seconds is None else found.full_seconds / (proxy.seconds + proxy.made_seconds)
        assert proxy.times_faster_made == (None if both is None else pytest.approx(both))
    assert {proxy.rows for proxy in found.proxies[:3]} == {6}
    assert found.proxies[3].rows == 60
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["networks"] == list(NETWORKS)
    assert "early stopping" in found.table()


def test_no_early_passes_are_refused_and_not_the_default():
    with pytest.raises(ConfigError, match="early_epochs=0"):
        architecture_search(blob_images(), {}, NETWORKS[:3], seeds=1, protocol=QUICK, early_epochs=0)


def test_time_that_was_not_saved_is_not_claimed():
    data = blob_images()
    small = decoct.select(data, "k-center", ipc=2)
    slow = replace(small, provenance={**small.provenance, "seconds": 1e6})
    found = architecture_search(data, {"slow": slow}, NETWORKS[:3], seeds=1, protocol=QUICK, baselines=())
    proxy = found.proxies[0]
    assert proxy.times_faster_made == pytest.approx(found.full_seconds / (1e6 + proxy.seconds))
    told = {
        made: replace(found, proxies=(replace(proxy, made_seconds=made, times_faster_made=ratio),)).finding()
        for made, ratio in ((1e6, proxy.times_faster_made), (0.5, 1.5), (0.0, proxy.times_faster), (None, None))
    }
    assert "with the 1000000.0 s of making the set the whole took" in told[1e6].sentence
    assert "times longer than full training." in told[1e6].sentence
    assert "with the 0.5 s of making the set the whole took 1.5 times less." in told[0.5].sentence
    assert "there was nothing to make." in told[0.0].sentence
    assert "how long its set took to make is not known." in told[None].sentence
    assert (told[1e6].rows[0]["made in, s"], told[None].rows[0]["times faster, set included"]) == (1e6, None)


def test_a_second_call_trains_nothing_again(tmp_path, monkeypatch):
    data = blob_images()
    small = decoct.select(data, "k-center", ipc=2)
    first = search(data, tmp_path, small)

    def refuse(*_, **__):
        raise AssertionError("a finished run was done again")

    monkeypatch.setattr(Bench, "_run", refuse)
    assert search(data, tmp_path, small) == first


def entry(network: str, *last: float, label: str = "full") -> Entry:
    zero = {"image_bytes": 0, "label_bytes": 0, "decoder_bytes": 0, "rows": 6, "distinct": 6, "samples_seen": 6}
    return Entry(
        name=label, label=label, kind="baseline", network=network, **zero, label_kind="hard",
        seeds=tuple(range(len(last))), last=last, selected=last, val=last, seconds=1.0, peak_memory=0,
    )  # fmt: skip


def diverging(monkeypatch, lost: dict[str, int], names=NETWORKS):
    """Runs of made-up accuracies; with random rows, `lost` networks have so many of two."""

    def entries(self, contenders):
        assert self.goes_on
        random = contenders[0].label == "random"
        runs = {name: 2 - (lost.get(name, 0) if random else 0) for name in names}
        places = {name: 0.1 + 0.8 * place / len(names) for place, name in enumerate(names)}
        return [entry(name, *[places[name]] * count) for name, count in runs.items() if count]

    monkeypatch.setattr(Bench, "entries", entries)
    monkeypatch.setattr("decoct.applications.architecture_search.ranked_networks", lambda *_: tuple(names))


@pytest.mark.parametrize("runs", [1, 2], ids=["a run", "every run"])
def test_a_network_that_diverges_is_left_out_of_all_numbers_and_named(monkeypatch, runs):
    """One that does ended the ranking of all."""
    gone = NETWORKS[1]
    diverging(monkeypatch, {gone: runs})
    found = search(blob_images())
    rest = tuple(name for name in NETWORKS if name != gone)
    assert found.networks == rest
    assert len(found.truth) == 3
    assert all(len(proxy.accuracies) == 3 for proxy in found.proxies)
    assert found.full_seconds == 3, "times are those of the same networks"
    assert found.to_json()["left_out"] == {gone: "random"}
    assert f"Left out of every number, because runs of them diverged: {gone} (random)." in found.finding().notes
    assert "3 networks reach" in found.finding().sentence


def test_a_search_in_which_nothing_diverges_says_nothing_of_it(monkeypatch):
    diverging(monkeypatch, {})
    found = search(blob_images())
    assert found.left_out == {}
    assert not any("Left out" in note for note in found.finding().notes)


@pytest.mark.parametrize(("count", "lost", "least"), [(4, 2, 3), (9, 2, 8), (8, 1, 8)])
def test_too_few_networks_that_come_to_an_end_are_an_error(monkeypatch, count, lost, least):
    names = [f"convnet1-w{place + 1}" for place in range(count)]
    diverging(monkeypatch, dict.fromkeys(names[:lost], 1), names)
    with pytest.raises(DivergenceError) as caught:
        search(blob_images())
    assert f"{lost} of {count} networks with runs that diverged: convnet1-w1 (random)" in str(caught.value)
    assert f"at least {least} networks all of whose runs come to an end" in str(caught.value)
    assert "smaller step size" in str(caught.value)


def test_networks_that_are_left_are_ranked_though_one_really_diverges(monkeypatch):
    real = Judged.train

    def train(self, seed, training, tick):
        if training.build(0).blocks[0].out_channels == 3:
            raise DivergenceError("training", received="a loss of nan", expected="finite", remedy="a smaller lr")
        return real(self, seed, training, tick)

    monkeypatch.setattr(Judged, "train", train)
    names = ("convnet1-w2", "convnet1-w3", "convnet1-w4", "convnet1-w5")
    small = decoct.select(blob_images(), "k-center", ipc=1)
    found = architecture_search(blob_images(), {"centres": small}, names, seeds=1, protocol=QUICK, baselines=())
    assert found.networks == ("convnet1-w2", "convnet1-w4", "convnet1-w5")
    assert found.left_out == {"convnet1-w3": "centres"}


def test_a_network_that_cannot_take_the_images_is_named():
    with pytest.raises(ConfigError, match=r"'convnet2-w4-gn-.*multiple of 4|'convnet1-w3-gn") as caught:
        architecture_search(blob_images(), {}, ("convnet1-w4", "convnet2-w4", "convnet1-w3-gn"), protocol=QUICK)
    assert "leave that network out" in str(caught.value)
    with pytest.raises(ConfigError, match=r"(?s)a table of features.*inputs of shape \[12\]"):
        architecture_search(blob_features(), {}, protocol=QUICK)
    with pytest.raises(ConfigError, match="maps of at least two values"):
        architecture_search(blob_images(shape=(1, 1, 1)), {}, protocol=QUICK)


def test_too_few_networks_a_foreign_set_and_a_taken_name_are_refused():
    data = blob_images()
    with pytest.raises(ConfigError, match="2 networks"):
        architecture_search(data, {}, NETWORKS[:2], protocol=QUICK)
    other = decoct.select(blob_images(seed=1), "random", ipc=1)
    with pytest.raises(MismatchError, match="ranking networks by a compact set"):
        architecture_search(data, {"other": other}, NETWORKS, protocol=QUICK)
    mine = decoct.select(data, "random", ipc=1)
    for name in ("random", "all rows"):
        with pytest.raises(ConfigError, match=f"a set called '{name}'"):
            architecture_search(data, {name: mine}, NETWORKS, protocol=QUICK)
    with pytest.raises(ConfigError, match="full training is the truth"):
        architecture_search(data, {}, NETWORKS, protocol=QUICK, baselines=("full",))


def test_the_finding_names_the_seeds_that_were_run():
    found = search(blob_images(), seeds=[4, 7], baselines=())
    assert found.finding().facts["seeds"] == [4, 7]
    assert (found.seeds, found.to_json()["run_seeds"]) == (2, (4, 7))


def test_baselines_alone_have_the_rows_that_were_asked_for() -> None:
    data = blob_images()
    found = architecture_search(data, {}, NETWORKS[:3], seeds=1, protocol=QUICK, ipc=2)
    assert [proxy.rows for proxy in found.proxies[:2]] == [2 * data.spec.classes] * 2
