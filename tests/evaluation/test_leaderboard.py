"""Merging runs: what may stand in one table, what stands there twice, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toys import blob_images

from decoct.errors import SourceError
from decoct.evaluation.data_facts import data_facts
from decoct.evaluation.leaderboard import leaderboard, table_of_groups
from decoct.evaluation.scorecard import Entry, Kind, Scorecard
from decoct.report.places import mixed


def entry(name: str, *last: float, kind: Kind = "judged", nbytes: int = 640, network: str = "mlp") -> Entry:
    return Entry(
        name=name, label=name, kind=kind, network=network, image_bytes=nbytes, label_bytes=0, decoder_bytes=0,
        rows=nbytes // 64, distinct=10, samples_seen=100, label_kind="hard", seeds=tuple(range(len(last))), last=last,
        selected=last, val=last, seconds=1.0, peak_memory=1,
    )  # fmt: skip


def card(*entries: Entry, content: str = "a", protocol: str = "p", data: str = "d", train: int = 100) -> Scorecard:
    facts = {"source": "digits", "fingerprint": data, "shape": [1, 8, 8], "train": train, "test": 10}
    return Scorecard(entries, {"name": f"quick {protocol}", "hash": protocol}, facts, {"content_hash": content})


RANDOM = entry("random", 0.5, 0.6, kind="baseline")


def test_sets_of_several_runs_stand_in_one_table_the_best_first() -> None:
    one = card(entry("dm", 0.7, 0.8), RANDOM)
    two = card(entry("ridge", 0.9, 0.8), RANDOM, content="b")
    [group] = leaderboard([("first", one), ("second", two)])
    assert [(place.entry.label, place.run) for place in group.places] == [
        ("ridge", "second"), ("dm", "first"), ("random", "first"),
    ]  # fmt: skip
    assert group.places[0].gain == pytest.approx((0.4, 0.2))
    assert group.places[2].gain == ()


@pytest.mark.parametrize("change", [{"protocol": "q"}, {"data": "e"}, {"train": 99}])
def test_other_data_or_another_protocol_is_another_table(change: dict[str, str]) -> None:
    one, two = card(entry("dm", 0.7)), card(entry("dm", 0.7), **change)  # type: ignore[arg-type]
    assert [len(group.places) for group in leaderboard([("a", one), ("b", two)])] == [1, 1]


def test_the_same_data_by_another_path_are_one_table() -> None:
    one, two = card(entry("dm", 0.7)), card(entry("ridge", 0.8))
    moved = replace(two, data={**two.data, "source": "elsewhere"})
    [group] = leaderboard([("a", one), ("b", moved)])
    assert len(group.places) == 2
    assert mixed([one, moved]) == ()


def test_another_network_is_another_table() -> None:
    groups = leaderboard([("a", card(entry("dm", 0.7), entry("dm", 0.8, network="convnet3")))])
    assert [group.network for group in groups] == ["mlp", "convnet3"]


def test_the_same_set_stands_there_once_with_more_seeds_and_another_of_its_name_beside_it() -> None:
    few, more = card(entry("dm", 0.7)), card(entry("dm", 0.7, 0.72, 0.74))
    [group] = leaderboard([("few", few), ("more", more), ("few again", few)])
    assert [(place.run, len(place.entry.seeds)) for place in group.places] == [("more", 3)]
    other = replace(few, provenance={"content_hash": "another"})
    [group] = leaderboard([("few", few), ("other", other)])
    assert len(group.places) == 2


def test_the_rows_of_two_sets_under_hard_labels_are_two_lines() -> None:
    hard = entry("ridge/hard-labels", 0.6, kind="baseline")
    runs = [(content, card(entry("ridge", 0.7), hard, content=content)) for content in ("a", "b")]
    [group] = leaderboard([*runs, ("a again", runs[0][1])])
    lines = sorted((place.entry.name, place.run) for place in group.places)
    assert lines == [("ridge", "a"), ("ridge", "b"), ("ridge/hard-labels", "a"), ("ridge/hard-labels", "b")]


def test_weighted_rows_are_another_table_that_says_so() -> None:
    data = blob_images(per_class=4)
    heavy = data.with_weights(np.arange(1.0, 13.0))
    other = data.with_weights(np.arange(12.0, 0.0, -1.0))
    assert "weights" not in data_facts(data)
    told = [{**data_facts(one), "source": "digits"} for one in (data, heavy, other)]
    assert len({one.get("weights") for one in told}) == 3
    runs = [(str(n), replace(card(entry("dm", 0.7), RANDOM), data=facts)) for n, facts in enumerate(told)]
    groups = leaderboard(runs)
    assert [len(group.places) for group in groups] == [2, 2, 2]
    assert [f"rows weighted ({told[n]['weights'][:12]})" in groups[n].title for n in (1, 2)] == [True, True]
    assert "weighted" not in groups[0].title


def test_one_run_has_no_interval_and_says_so() -> None:
    [group] = leaderboard([("a", card(entry("dm", 0.7), RANDOM))])
    assert [place.fewer_runs for place in group.places] == [True, False]
    assert group.places[0].gain == pytest.approx((0.15,)), "other seeds: the means are compared"
    text = table_of_groups([group])
    assert "note: 1 entries of one run have no interval" in text
    assert "+15.0" in text


def test_soft_labels_are_compared_with_random_rows_that_have_a_teacher_and_the_rival_is_named() -> None:
    soft = replace(entry("ridge", 0.8, 0.9), label_kind="scores")
    taught = replace(
        entry("random+teacher", 0.7, 0.7, kind="baseline"), label_kind="probabilities", label="random + teacher"
    )
    [group] = leaderboard([("a", card(soft, entry("dm", 0.7, 0.8), RANDOM, taught))])
    gains = {place.entry.name: (place.rival, place.gain) for place in group.places}
    assert gains["ridge"] == ("random + teacher", pytest.approx((0.1, 0.2)))
    assert gains["dm"] == ("random", pytest.approx((0.2, 0.2)))
    assert gains["random+teacher"] == ("random", pytest.approx((0.2, 0.1)))
    line = next(line for line in table_of_groups([group]).splitlines() if line.startswith("ridge"))
    assert line.endswith("+15.0  random + teacher")
    [without] = leaderboard([("a", card(soft, RANDOM))])
    assert (without.places[0].rival, without.places[0].gain) == ("random", pytest.approx((0.3, 0.3)))


def test_nothing_to_merge() -> None:
    with pytest.raises(SourceError, match="0 runs without a judged set"):
        leaderboard([])
