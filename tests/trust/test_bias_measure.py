"""Bias of a set against its source: scores by group, amplification, resuming, the commands, bad input."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from toys import blob_images

import decoct
from decoct.analysis.finding import Finding
from decoct.cli.main import main
from decoct.errors import ConfigError, DataError, MismatchError
from decoct.evaluation.protocol import PROTOCOLS
from decoct.trust.bias.groups import Groups
from decoct.trust.bias.make import Bias, make_biased
from decoct.trust.bias.measure import BiasExam, GroupScores, amplification, measure_bias

QUICK = PROTOCOLS["quick"]
SHORT = replace(QUICK, name="short", fit=replace(QUICK.fit, epochs=40, augment=""), full_epochs=3)


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    data = blob_images(classes=3, per_class=60)
    return make_biased(data, Bias(correlation=1.0), tmp_path_factory.mktemp("biased") / "set")


def test_scores_by_group():
    labels, attributes = np.repeat([0, 1], 40), np.tile(np.repeat([0, 1], 20), 2)
    right = np.concatenate([np.ones(20), np.zeros(20), np.r_[np.ones(5), np.zeros(15)], np.ones(20)]).astype(bool)
    scores = GroupScores.of(right, labels, attributes, labels == attributes)
    assert (scores.aligned, scores.conflicting, scores.worst, scores.balanced) == (1.0, 0.125, 0.0, 0.5625)
    assert scores.gap == 0.875
    assert amplification([scores], [replace(scores, conflicting=0.5)]) == [pytest.approx(0.375)]
    few = np.r_[labels, 1], np.r_[attributes, 2]
    found = GroupScores.of(np.r_[right, False], *few, np.r_[labels == attributes, False])
    assert found.worst == 0.0
    assert found.balanced == pytest.approx(0.45)
    with pytest.raises(DataError, match="80 aligned and 0 conflicting test rows"):
        GroupScores.of(right, labels, labels, np.ones(80, bool))


def test_a_fully_biased_source_has_a_gap_that_shows(biased, tmp_path, monkeypatch):
    """Colour tells the class in every training row: networks fail on test rows of other colours."""
    small = decoct.select(biased.data, "random", ipc=5)
    found = measure_bias(
        small, biased.data, biased.groups, anti=biased.anti, protocol=SHORT, network="convnet3-w8", seeds=2,
        out=tmp_path,
    )  # fmt: skip
    own, whole = found.rows
    assert own["trained on"] == "random"
    assert own["gap"]["mean"] > 0.3, own
    assert whole["gap"]["runs"] == 2
    assert own["anti"]["mean"] == pytest.approx(own["conflicting"]["mean"], abs=0.25)
    assert "amplification" in found.facts
    assert Finding.from_json(json.loads(json.dumps(found.to_json()))).sentence == found.sentence
    cells = sorted(path.name for path in tmp_path.iterdir())
    assert len(cells) == 4

    def fails(*_):
        raise AssertionError("a finished network is never trained again")

    exam = BiasExam.of(
        biased.data, biased.groups, anti=biased.anti, protocol=SHORT, network="convnet3-w8", out=tmp_path
    )
    known = exam.scores("full", fails, range(2), lambda done, note="": None)
    assert np.mean([score.gap for score in known]) == pytest.approx(whole["gap"]["mean"])
    monkeypatch.setattr("decoct.trust.bias.measure.network_identity", lambda name, *_: f"{name}@edited")
    with pytest.raises(AssertionError, match="never trained again"):
        exam.scores("full", fails, range(2), lambda done, note="": None)


def test_what_does_not_belong_together_is_refused(biased):
    small = decoct.select(biased.data, "random", ipc=1)
    with pytest.raises(MismatchError, match="measuring the bias of a set on data"):
        measure_bias(small, blob_images(classes=3), biased.groups)
    some = Groups(biased.groups.ids[:9], biased.groups.attributes[:9])
    with pytest.raises(MismatchError, match="groups of the test rows"):
        measure_bias(small, biased.data, some)
    with pytest.raises(ConfigError, match="seeds=0"):
        measure_bias(small, biased.data, biased.groups, seeds=0)
    one_class = decoct.select(biased.data.with_train(np.flatnonzero(biased.data.train.y == 1)), "random", count=1)
    with pytest.raises(DataError, match="2 of 3 classes, such as 'class 0'"):
        measure_bias(one_class, biased.data, biased.groups)


def test_the_commands(tmp_path, capsys):
    source = tmp_path / "toy.npz"
    toy = blob_images(classes=2, per_class=40)
    np.savez(source, x_train=toy.train.x, y_train=toy.train.y, x_test=toy.test.x, y_test=toy.test.y)

    def call(*words: str) -> dict:
        code = main([*words, "--json"])
        said = capsys.readouterr()
        assert code == 0, said.err
        return json.loads(said.out)

    made = call("bias", "make", str(source), "--correlation", "0.9", "--severity", "2", "--out", str(tmp_path / "b"))
    assert made["splits"]["train"]["aligned"] == pytest.approx(0.9, abs=0.02)
    opened, weights, run = made["open"], str(tmp_path / "w.parquet"), str(tmp_path / "run")
    assert call("data", str(tmp_path / "b"))["fingerprint"] == call("data", opened)["fingerprint"]
    weighed = call("bias", "weigh", opened, "--by", "groups", "--groups", str(tmp_path / "b/groups.parquet"),
                   "--out", weights)  # fmt: skip
    assert 0 < weighed["effective_share"] < 1
    small = call("select", opened, "--method", "random", "--ipc", "3", "--weights", weights, "--out", run)
    assert "--weights" in small["next"]
    assert "weights" in small["provenance"]
    found = call("bias", "measure", run, str(tmp_path / "b"), "--seeds", "1", "--network", "convnet3-w8")
    assert found["finding"]["name"] == "bias"
    assert (tmp_path / "run" / "analysis" / "bias.json").is_file()
    assert not [note for note in found["finding"]["notes"] if "anti-biased" in note]
    call("select", opened, "--method", "random", "--ipc", "2", "--size", "6", "--out", str(tmp_path / "few"))
    smaller = ("--size", "6", "--seeds", "1", "--network", "mlp-w8")
    found = call("bias", "measure", str(tmp_path / "few"), str(tmp_path / "b"), *smaller)
    [note] = [note for note in found["finding"]["notes"] if "anti-biased" in note]
    assert "those that were opened [3, 6, 6]" in note
    groups = ["--groups", str(tmp_path / "b/groups.parquet")]
    assert main(["bias", "measure", run, str(tmp_path / "b"), *groups]) == 2
    assert "beside a folder that has groups of its own" in capsys.readouterr().err
    assert main(["bias", "measure", run, opened]) == 2
    assert "data without groups" in capsys.readouterr().err
    assert main(["bias", "make", str(source), "--correlation", "2", "--out", str(tmp_path / "x")]) == 2
    assert "a share from 0 to 1" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert main(["select", opened, "--method", "k-center", "--ipc", "1", "--weights", weights, "--out", "x"]) == 2
    assert "no weighted form" in capsys.readouterr().err


def test_without_a_large_group_no_accuracy_is_called_the_worst(biased, tmp_path):
    labels = np.repeat([0, 1], 8)
    found = GroupScores.of(np.arange(16) > 0, labels, np.tile([0, 1], 8), labels == np.tile([0, 1], 8))
    assert found.worst is None
    assert found.balanced == pytest.approx((0.75 + 3) / 4)
    data = biased.data  # five test rows of each class in each of three colours
    small = decoct.select(data, "random", ipc=2)
    found = measure_bias(small, data, biased.groups, protocol=SHORT, network="mlp-w8", seeds=1, out=tmp_path)
    assert [row["worst"] for row in found.rows] == [None, None]
    assert found.chart.names == ("aligned", "conflicting")
    assert found.notes[-1] == "worst is left blank: no class with one attribute has 10 test rows"
    assert "–" in Finding.from_json(json.loads(json.dumps(found.to_json()))).table()
    first, other = biased.groups.names[0], biased.groups.attributes
    coarse = replace(biased.groups, attributes=np.where(other == first, "first", "another"))
    marks = [BiasExam.of(data, groups, protocol=SHORT, network="mlp-w8")._key[3:] for groups in (biased.groups, coarse)]
    assert marks == [["no large group"], []], "what was kept before is taken where it says the same, and only there"


def test_a_test_of_aligned_rows_alone_is_told_before_a_training(biased):
    aligned = biased.groups.aligned_in(biased.data, biased.data.test, "test")
    data = replace(biased.data, test=biased.data.test.take(np.flatnonzero(aligned)))
    with pytest.raises(DataError, match=f"{aligned.sum()} aligned and 0 conflicting test rows"):
        BiasExam.of(data, biased.groups, protocol=SHORT, network="mlp-w8")


def test_options_of_the_commands_that_nothing_looks_at_are_refused(tmp_path, capsys):
    def refused(*words: str) -> str:
        assert main(["bias", *words, "--out", str(tmp_path / "x")]) == 2
        return " ".join(capsys.readouterr().err.split())

    weights = ("--weights", str(tmp_path / "w.parquet"))
    told = refused("make", "digits", *weights)
    assert "no --weights: every row counts the same here" in told
    assert "weigh the set that is made" in told
    assert "no --weights" in refused("weigh", "digits", *weights)
    for words, told in (
        (("--share", "0.5"), "--share with --by errors, and only there"),
        (("--by", "errors", "--bandwidth", "0.5"), "--bandwidth with --by density, and only there"),
        (("--groups", "g.parquet"), "--groups with --by groups, and only there"),
        (("--by", "groups"), "received: no --groups"),
    ):
        assert told in refused("weigh", "digits", *words)
    assert not (tmp_path / "x").exists()


def test_the_labels_of_the_anti_biased_test_are_part_of_what_was_measured(biased, tmp_path):
    wrong = replace(biased.anti, y=(biased.anti.y + 1) % 3)
    first, other = (
        BiasExam.of(biased.data, biased.groups, anti=anti, protocol=SHORT, network="mlp-w8", out=tmp_path)
        for anti in (biased.anti, wrong)
    )
    assert first._key[:2] == other._key[:2]
    assert first._key[2] != other._key[2]
