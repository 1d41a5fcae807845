"""Fair scores by hand, and one test for each thing that the public implementation gets wrong."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import blob_images

from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.errors import ConfigError
from decoct.evaluation.fair_scores import (
    augmentation_robust_score,
    fair_scores,
    fair_scores_of,
    hard_label_recovery,
    improvement_over_random,
    label_robust_score,
    table_of_scores,
)
from decoct.evaluation.judge import evaluate
from decoct.evaluation.matrix import Matrix, evaluate_matrix
from decoct.evaluation.protocol import Protocol
from decoct.evaluation.scorecard import Entry, Scorecard
from decoct.selection.driver import select
from decoct.training.config import FitConfig

FRACTION = st.floats(0, 1)


def entry(name: str, *last: float, kind: str = "baseline", labels: str = "hard", seeds: tuple[int, ...] = ()) -> Entry:
    return Entry(
        name=name, label=name, kind=kind, network="mlp", image_bytes=640, label_bytes=10, decoder_bytes=0, rows=10,
        distinct=10, samples_seen=100, label_kind=labels, seeds=seeds or tuple(range(len(last))), last=last,
        selected=tuple(min(1.0, x + 0.05) for x in last), val=last, seconds=1.0, peak_memory=1,
    )  # type: ignore[arg-type] # fmt: skip


def card(*entries: Entry, augment: str = "", mix: str = "") -> Scorecard:
    return Scorecard(entries, {"name": "test", "hash": "0", "fit": {"augment": augment, "mix": mix}}, {}, {})


def test_numbers_worked_out_by_hand() -> None:
    assert improvement_over_random(0.65, 0.30) == pytest.approx(0.35)
    assert hard_label_recovery(0.85, 0.45) == pytest.approx(0.40)
    # a = 0.5 * 0.35 - 0.5 * 0.40 = -0.025; (0.975310 - 0.367879) / 2.350402
    assert label_robust_score(0.35, 0.40) == pytest.approx(0.258437, abs=1e-6)
    # a = 0.8 * 0.35 - 0.2 * 0.40 = 0.2; (1.221403 - 0.367879) / 2.350402
    assert label_robust_score(0.35, 0.40, weight=0.8) == pytest.approx(0.363139, abs=1e-6)
    # b = 0.25 * 0.1 + 0.75 * 0.3 = 0.25; (1.284025 - 0.367879) / 2.350402
    assert augmentation_robust_score(0.1, 0.3, gamma=0.25) == pytest.approx(0.389783, abs=1e-6)
    assert label_robust_score(0.0, 0.0) == augmentation_robust_score(0.0, 0.0) == pytest.approx(0.268941, abs=1e-6)
    assert label_robust_score(1.0, -1.0) == pytest.approx(1)
    assert label_robust_score(-1.0, 1.0) == pytest.approx(0)


@given(FRACTION, FRACTION, FRACTION, FRACTION, FRACTION)
def test_scores_of_fractions_are_fractions_and_grow_with_the_set(
    synthetic: float, random: float, real: float, hard: float, weight: float
) -> None:
    ior, hlr = improvement_over_random(synthetic, random), hard_label_recovery(real, hard)
    score = label_robust_score(ior, hlr, weight)
    assert -1e-9 <= score <= 1 + 1e-9
    assert label_robust_score(min(1.0, ior + 0.1), hlr, weight) >= score
    assert label_robust_score(ior, min(1.0, hlr + 0.1), weight) <= score


@pytest.mark.parametrize(("synthetic", "random"), [(65.0, 30.0), (0.65, 30.0), (-0.1, 0.5), (math.nan, 0.5)])
def test_per_cent_never_reaches_an_exponential(synthetic: float, random: float) -> None:
    """Fed with per cent the published formula gives -0.156 for a = -10 and 9371 for a = 10."""
    published = [(math.exp(a) - math.exp(-1)) / (math.e - math.exp(-1)) for a in (-10, 10)]
    assert published == pytest.approx([-0.1565, 9371.2], abs=0.1)
    with pytest.raises(ConfigError, match="divide per cent by 100"):
        improvement_over_random(synthetic, random)
    for bad in ((35.0, 0.4), (0.3, 40.0)):
        with pytest.raises(ConfigError, match="a fraction from -1 to 1"):
            label_robust_score(*bad)
    with pytest.raises(ConfigError, match="weight 50.0"):
        label_robust_score(0.3, 0.4, 50.0)


def test_a_hard_set_is_scored_seed_by_seed() -> None:
    judged = entry("dm", 0.6, 0.7, kind="judged")
    [score] = fair_scores(card(judged, entry("random", 0.5, 0.4), entry("full", 0.9, 0.95)))
    assert score.ior == pytest.approx((0.1, 0.3))
    assert score.hlr == pytest.approx((0.3, 0.25))
    assert score.lrs == pytest.approx((label_robust_score(0.1, 0.3), label_robust_score(0.3, 0.25)))
    assert (score.random, score.missing, score.ars) == ("random", (), ())


def test_every_column_has_one_value_a_run() -> None:
    """The public hard-label class appends its score twice a run, so that saving the table raises after all the work."""
    judged = entry("dm", 0.6, 0.7, 0.8, kind="judged")
    [score] = fair_scores(card(judged, entry("random", 0.5, 0.4, 0.3), entry("full", 0.9, 0.95, 0.9)))
    assert {len(score.accuracy), len(score.ior), len(score.hlr), len(score.lrs)} == {3}
    text = json.loads(json.dumps(score.to_json(), allow_nan=False))
    assert text["mean_lrs"] == pytest.approx(sum(score.lrs) / 3)


def test_without_the_full_data_the_rest_is_still_told() -> None:
    """The public demo raises where its cache has no accuracy of the full data, which is nearly everywhere."""
    [score] = fair_scores(card(entry("dm", 0.6, kind="judged"), entry("random", 0.5)))
    assert score.ior == pytest.approx((0.1,))
    assert score.hlr == score.lrs == ()
    assert score.missing == ("dm: without the baseline full there is no LRS",)
    assert "note: dm: without the baseline full" in table_of_scores([score])


def test_nothing_chosen_on_test_data_enters() -> None:
    """The public code takes the best epoch and the best step size on test data; here `selected` changes nothing."""
    entries = (entry("dm", 0.6, kind="judged"), entry("random", 0.5), entry("full", 0.9))
    better = tuple(replace(one, selected=(0.99,), val=(0.99,)) for one in entries)
    assert fair_scores(card(*entries)) == fair_scores(card(*better))


def test_random_rows_get_the_recipe_of_the_set() -> None:
    """Soft labels are compared with random rows under soft labels, and recovered with the set's own hard labels."""
    judged = entry("ridge", 0.8, kind="judged", labels="scores")
    others = (entry("random", 0.5), entry("random+teacher", 0.7), entry("ridge/hard-labels", 0.6), entry("full", 0.9))
    [score] = fair_scores(card(judged, *others))
    assert score.random == "random+teacher"
    assert score.ior == pytest.approx((0.1,))
    assert score.hlr == pytest.approx((0.3,))
    [less] = fair_scores(card(judged, *others[:2], others[3]))
    assert less.lrs == ()
    assert less.missing == ("ridge: without the baseline hard-labels there is no LRS",)


def test_features_that_no_protocol_augments_have_no_augmentation_robust_score() -> None:
    """The protocol names an augmentation of images, which a table of features is trained without."""
    judged, random = entry("dm", 0.6, kind="judged"), entry("random", 0.5)
    told = {"protocol": card(judged, random, augment="flip"), "none": card(judged, random)}
    assert fair_scores_of(Matrix(told))[0].ars == pytest.approx((augmentation_robust_score(0.1, 0.1),))
    table = {name: replace(one, data={"shape": [12]}) for name, one in told.items()}
    [score] = fair_scores_of(Matrix(table))
    assert score.ars == ()
    assert "there is no ARS without --augment none and mixup, as rows are features" in score.missing[-1]
    mixed = replace(card(judged, random, augment="flip", mix="mixup"), data={"shape": [12]})
    assert fair_scores_of(Matrix({**table, "mixup": mixed}))[0].ars


def test_different_seeds_are_compared_by_their_means() -> None:
    judged = entry("dm", 0.6, 0.7, kind="judged")
    [score] = fair_scores(card(judged, entry("random", 0.5, 0.4), entry("full", 0.9, seeds=(7,))))
    assert len(score.ior) == 2
    assert score.hlr == pytest.approx((0.25,))
    assert score.lrs == pytest.approx((label_robust_score(0.2, 0.25),))


def test_augmentation_robustness_uses_random_rows_under_the_same_augmentation() -> None:
    """By hand: without 0.2; with dsa 0.1, with cutmix 0.3, mean 0.2; b = 0.2."""
    full = entry("full", 0.9)
    cards = {
        "protocol": card(entry("dm", 0.75, kind="judged"), entry("random", 0.65), full, augment="crop"),
        "none": card(entry("dm", 0.6, kind="judged"), entry("random", 0.4), full),
        "cutmix": card(entry("dm", 0.7, kind="judged"), entry("random", 0.4), full, mix="cutmix"),
    }
    [score] = fair_scores_of(Matrix(cards))
    assert score.accuracy == (0.75,)
    assert score.ars == pytest.approx((augmentation_robust_score(0.2, 0.2),))
    [tilted] = fair_scores_of(
        Matrix({**cards, "none": card(entry("dm", 0.9, kind="judged"), entry("random", 0.4))}), gamma=0.0
    )
    assert tilted.ars == pytest.approx((augmentation_robust_score(0.0, 0.5, gamma=0.0),))
    [alone] = fair_scores_of(Matrix({"protocol": cards["protocol"]}))
    assert alone.ars == ()
    assert "there is no ARS without --augment none" in alone.missing[0]


def test_the_judge_measures_what_the_scores_need() -> None:
    """On the CPU, with no process group, without looking at a picture: an evaluation from end to end."""
    data = blob_images(classes=3, per_class=12)
    chosen = select(data, "random", ipc=2, seed=0)
    inputs, targets, _ = chosen.materialize()
    labels = torch.nn.functional.one_hot(targets, 3).float() * 0.7 + 0.1
    soft = DistilledSet(data.spec, "pixels", {}, quantise(inputs, 8), labels, "probabilities", chosen.classes, {}, {})
    fast = Protocol("test", FitConfig(lr=0.01, epochs=3), full_epochs=2, full_samples=10_000, checks=1)
    options: dict[str, Any] = {"networks": ["mlp"], "seeds": 2, "device": "cpu"}
    found = evaluate(soft, data, fast, baselines=("random+teacher", "hard-labels", "full"), **options)
    assert [one.name for one in found.entries] == ["set", "set/hard-labels", "random+teacher", "full"]
    own = found.entries[1]
    assert (own.kind, own.label_kind, own.label_bytes, own.rows) == ("baseline", "hard", 6, 6)
    [score] = fair_scores(found)
    assert len(score.lrs) == 2
    assert all(0 <= value <= 1 for value in score.lrs)
    hard = evaluate(chosen, data, fast, baselines=("random", "hard-labels", "full"), **options)
    assert [one.name for one in hard.entries] == ["random", "random", "full"], "a set with hard labels is its own"
    assert fair_scores(hard)[0].missing == ()


def test_stored_views_have_no_augmentation_robust_score() -> None:
    """They are shown unchanged under every augmentation, while the random rows beside them are augmented."""
    data = blob_images(classes=3, per_class=12)
    inputs, classes = data.inputs(data.train, slice(0, 6)), data.train.labels(slice(0, 6))
    labels = torch.nn.functional.one_hot(classes, 3).float()
    fast = Protocol("test", FitConfig(lr=0.01, epochs=2), full_epochs=1, full_samples=100, checks=1)
    for views in (2, 0):
        learned = {"views": {"count": views, "seed": 1, "strategy": "crop"}} if views else {}
        many = labels.expand(views, -1, -1) if views else labels
        small = DistilledSet(data.spec, "pixels", {}, quantise(inputs, 8), many, "probabilities", classes, learned, {})
        found = evaluate_matrix(
            small, data, fast, ["mlp"], 1, augmentations=("none", "dsa"), baselines=("random+teacher",), device="cpu"
        )
        [score] = fair_scores_of(found)
        assert bool(score.ars) == (not views)
        assert ("set: there is no ARS of stored views, which are the same under every augmentation" in score.missing
                ) == bool(views)  # fmt: skip
    # A card of an earlier version, whose set came from a recipe with views.
    told = {"made": {"settings": {"labels": {"kind": "Teacher", "views": 3}}}}
    cards = {
        name: replace(card(entry("sre2l", 0.6, kind="judged"), entry("random", 0.5), mix=mix), provenance=told)
        for name, mix in (("none", ""), ("mixup", "mixup"))
    }
    assert fair_scores_of(Matrix(cards))[0].ars == ()
