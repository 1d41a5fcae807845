"""From sets and scorecards to a page: nothing twice, gains by seed, pictures of the right classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from report_toys import entry
from toys import blob_features, blob_images

from decoct.compact.coreset import Coreset
from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.errors import IntegrityError, OutputError, SourceError
from decoct.evaluation.scorecard import Entry, Scorecard
from decoct.files import write_json
from decoct.report.collect import HEAT_ROWS, contents_of, galleries_of, heat_of, rows_of
from decoct.report.find import results_in, runs_in
from decoct.report.html import write_report
from decoct.report.judged import Judged


def coreset(data: Dataset, per_class: int = 2) -> Coreset:
    rows = np.concatenate([rows[:per_class] for rows in data.train.class_rows(data.spec.classes)])
    count = len(rows)
    index = torch.from_numpy(rows)
    return Coreset(
        data.spec, data.train.raw(index), data.train.labels(index), index, data.train.ids[rows], torch.ones(count),
        torch.zeros(count), {"method": "herding", "seconds": 1.5},
    )  # fmt: skip


def soft(data: Dataset, rows: int = 6) -> DistilledSet:
    nominal = torch.arange(rows) % data.spec.classes
    scores = torch.nn.functional.one_hot(nominal, data.spec.classes).float() - 0.25
    inputs = data.inputs(data.train, slice(0, rows))
    return DistilledSet(
        data.spec, "pixels", {}, quantise(inputs, 8), scores, "scores", nominal, {}, {"recipe": "ridge", "seconds": 2.0}
    )


def card(data: Dataset, *entries: Entry) -> Scorecard:
    facts = {
        "source": data.spec.source, "fingerprint": data.spec.fingerprint, "shape": list(data.spec.shape),
        "class_names": list(data.spec.class_names), "train": len(data.train),
    }  # fmt: skip
    return Scorecard(entries, {"name": "quick", "hash": "abc"}, facts, {"hardware": {"cores": 2, "memory": 10**9}})


def test_a_gain_is_paired_by_seed() -> None:
    data = blob_images()
    mine = replace(entry("dm", 0.8, 100, 6), seeds=(0, 1), last=(0.80, 0.90), selected=(0.8, 0.9), val=(0.8, 0.9))
    random = replace(mine, name="random", kind="baseline", last=(0.70, 0.79))
    (row, _) = rows_of([Judged("dm", None, card(data, mine, random), 2.0)])
    assert row.gain is not None
    assert row.gain.mean == pytest.approx(0.105)
    # t(0.975, 1) = 12.706, s = 0.00707, n = 2: the spread of the differences, not of the accuracies.
    assert row.gain.half == pytest.approx(12.706 * 0.0070711 / 2**0.5, rel=1e-3)
    other = replace(random, seeds=(2, 3))
    (row, _) = rows_of([Judged("dm", None, card(data, mine, other), 2.0)])
    assert row.gain is not None
    assert row.gain.half is None


def test_soft_labels_are_compared_with_random_rows_that_have_a_teacher(tmp_path: Path) -> None:
    data = blob_images()
    mine = replace(entry("ridge", 0.9, 100, 6), label_kind="scores")
    random = entry("random", 0.5, 100, 6, kind="baseline")
    taught = replace(entry("random+teacher", 0.8, 100, 6, kind="baseline"), label="random + teacher")
    (row, *_) = rows_of([Judged("ridge", None, card(data, mine, random, taught), 2.0)])
    assert row.gain is not None
    assert (row.rival, row.gain.mean) == ("random + teacher", pytest.approx(0.1))
    text = write_report(
        tmp_path / "r.html", [Judged("ridge", None, card(data, mine, random, taught))], data
    ).read_text()
    assert '<span class="pm">over random + teacher</span>' in text
    assert "Random picks with the labels of a teacher of the same bytes reach 10.0 points less." in text
    (row, *_) = rows_of([Judged("dm", None, card(data, entry("dm", 0.9, 100, 6), random, taught), 2.0)])
    assert row.gain is not None
    assert (row.rival, row.gain.mean) == ("random", pytest.approx(0.4))


def test_shared_baselines_stand_there_once_and_a_method_is_not_its_own_baseline() -> None:
    data = blob_images()
    random, full = entry("random", 0.5, 100, 6, kind="baseline"), entry("full", 0.9, 9999, 60, kind="baseline")
    asked = replace(random, kind="judged")
    more = entry("random", 0.55, 130, 8, kind="baseline")
    judged = [
        Judged("dm", None, card(data, entry("dm", 0.7, 100, 6), random, full), 2.0),
        Judged("random", None, card(data, asked, full), 2.0),
        Judged("ridge", None, card(data, entry("ridge", 0.8, 130, 6), more, full), 2.0),
    ]
    names = [(row.entry.name, row.entry.rows, row.entry.kind) for row in rows_of(judged)]
    assert names == [
        ("dm", 6, "judged"), ("random", 6, "judged"), ("ridge", 6, "judged"), ("full", 60, "baseline"),
        ("random", 8, "baseline"),
    ]  # fmt: skip


def test_a_gallery_shows_each_class_of_the_real_data_and_of_the_sets() -> None:
    data = blob_images(classes=3, shape=(3, 6, 8))
    picked = coreset(data)
    (gallery,) = galleries_of([Judged("herding", picked)], data)
    assert [column.title for column in gallery.columns] == ["real", "herding"]
    assert gallery.class_names == data.spec.class_names
    for k in range(3):
        rows = data.train.class_rows(3)[k]
        expected = data.train.x[rows[:2]].transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(gallery.columns[1].pictures[k], expected)
        np.testing.assert_array_equal(gallery.columns[0].pictures[k][:2], expected)
    assert gallery.columns[0].counts == (20, 20, 20)
    assert gallery.columns[1].counts == (2, 2, 2)


def test_many_classes_are_shown_from_end_to_end_and_sizes_apart() -> None:
    data = blob_images(classes=37, per_class=4, shape=(1, 4, 4))
    one, two = Judged("a", coreset(data, 1)), Judged("b", coreset(data, 2))
    galleries = galleries_of([two, one], data)
    assert [gallery.title for gallery in galleries] == ["1 per class", "2 per class"]
    assert len(galleries[0].class_names) == 10
    assert galleries[0].class_names[0] == "class 0"
    assert galleries[0].class_names[-1] == "class 36"
    assert galleries[0].left_out == 27


def test_features_have_no_gallery_but_a_page(tmp_path: Path) -> None:
    data = blob_features()
    picked = Judged("herding", coreset(data), card(data, entry("herding", 0.7, 100, 6)))
    assert contents_of([picked], data).galleries == ()
    text = write_report(tmp_path / "r.html", [picked], data).read_text()
    assert "Real beside compact" not in text
    assert "trains a network to" in text


def test_heat_rows_are_sorted_by_class_and_limited_evenly() -> None:
    data = blob_images(classes=3, per_class=150)
    heat = heat_of("ridge", soft(data, 300), 100.0)
    assert heat.names == tuple(f"class {k}" for k in range(3) for _ in range(HEAT_ROWS // 3))
    assert heat.left_out == 300 - 3 * (HEAT_ROWS // 3)
    assert heat.values.argmax(1).tolist() == [k for k in range(3) for _ in range(HEAT_ROWS // 3)]
    assert heat.values.min() == -0.25


def test_facts_tell_where_it_comes_from() -> None:
    data = blob_images()
    facts = dict(contents_of([Judged("dm", soft(data), card(data, entry("dm", 0.7, 100, 6)))], data).facts)
    assert facts["data: fingerprint"] == data.spec.fingerprint
    assert facts["protocol: name"] == "quick"
    assert facts["provenance: hardware"] == "cores 2, memory 1.0 GB"


def test_folders_are_read_back(tmp_path: Path) -> None:
    data = blob_images()
    sets, cards = tmp_path / "sets", card(data, entry("herding", 0.7, 100, 6))
    picked, made = coreset(data), soft(data)
    picked.save(sets / "herding")
    made.save(sets / "ridge")
    cards.save(sets / "herding" / "evaluation" / "scorecard.json")
    (found,) = results_in(sets / "herding")
    assert (found.name, found.seconds, found.scorecard) == ("herding", 1.5, cards)
    assert found.compact_set is not None
    assert found.compact_set.content_hash == picked.content_hash
    (unjudged,) = results_in(sets / "ridge")
    assert (unjudged.name, unjudged.scorecard) == ("ridge", None)
    assert runs_in(sets) == [sets / "herding", sets / "ridge"]
    assert runs_in(sets / "ridge") == [sets / "ridge"]
    contest = {"method": "herding", "ipc": 2, "seconds": 1, "scorecard": cards.to_json()}
    contests = [{**contest, "path": "sets/herding"}, {**contest, "path": "../elsewhere"}, {**contest, "path": None}]
    write_json(tmp_path / "comparison.json", {"kind": "comparison", "contests": contests})
    compared = results_in(tmp_path)
    assert [one.compact_set is not None for one in compared] == [True, False, False]
    assert compared[0].size == 2


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither comparison\.json"):
        results_in(tmp_path)
    with pytest.raises(SourceError, match="is not a folder"):
        results_in(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="or a folder of these"):
        runs_in(tmp_path)
    (tmp_path / "comparison.json").write_text('{"kind": "comparison", "contests": [{"method": 3}]}')
    with pytest.raises(IntegrityError, match="a contest with"):
        results_in(tmp_path)


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="what to do"):
        write_report(tmp_path / "file" / "r.html", [Judged("a", coreset(blob_images()))])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_was_decided_on_opening_is_told_once() -> None:
    data = blob_images()
    data = replace(data, spec=replace(data.spec, notices=("77 <images> are gray",)))
    told = card(data, entry("dm", 0.8, 100, 6))
    told = replace(told, data={**told.data, "notices": list(data.spec.notices)})
    for found in (contents_of([Judged("dm", None, told)]), contents_of([Judged("herding", coreset(data))])):
        assert found.notes[0] == "Data: 77 <images> are gray"
        assert not [name for name, _ in found.facts if "notices" in name]


def test_results_that_cannot_be_compared_are_called_so() -> None:
    one, other = blob_images(), blob_images(seed=1, shape=(1, 4, 4))
    cards = [card(data, entry("dm", 0.8, 100, 6)) for data in (one, other)]
    cards[1] = replace(cards[1], protocol={"name": "dc-300", "hash": "def"})
    warnings = contents_of([Judged("dm", None, told) for told in cards]).warnings
    assert warnings[0] == "These results are of different data (toy as 1x8x8; toy as 1x4x4): compare none across them."
    assert warnings[1] == "These results are of different protocols (quick, dc-300): compare none across."
    assert contents_of([Judged("dm", None, cards[0])] * 2).warnings == ()
    weighted = replace(cards[0], data={**cards[0].data, "weights": "abc"})
    [warning] = contents_of([Judged("dm", None, told) for told in (cards[0], weighted)]).warnings
    assert warning == "These results are of training rows that are weighted differently: compare none across them."


def told(data: Dataset, *entries: Entry, **facts: object) -> Scorecard:
    found = card(data, *entries)
    return replace(found, data={**found.data, "row_bytes": 64, **facts})


def test_whitened_and_plain_runs_are_told_apart(tmp_path: Path) -> None:
    """The same source, shape and fingerprint: numbers of one are not those of the other, and all are shown."""
    data = blob_images()
    cards = [
        told(data, entry("dm", mean, 100, 6), entry("random", mean - 0.2, 100, 6, kind="baseline"),
             entry("full", mean + 0.05, 9999, 60, kind="baseline"), normalisation=kind)
        for mean, kind in ((0.6, "standardise"), (0.8, "zca"))
    ]  # fmt: skip
    judged = [Judged("dm", None, one, 2.0) for one in cards]
    contents = contents_of(judged)
    assert contents.warnings == (
        "These results are of different data (toy as 1x8x8, normalisation standardise; toy as 1x8x8, normalisation "
        "zca): compare none across them.",
    )
    found = [(row.entry.name, row.entry.mean, row.place) for row in contents.rows if row.entry.kind == "baseline"]
    assert found == [
        (name, pytest.approx(mean), f"normalisation {kind}")
        for mean, kind in ((0.6, "standardise"), (0.8, "zca"))
        for name, mean in (("random", mean - 0.2), ("full", mean + 0.05))
    ]
    text = write_report(tmp_path / "r.html", judged).read_text()
    assert "trains a network to <em>80.0 %</em>" in text
    assert "All 60 real rows reach 85.0 %." in text, "those of the same data"
    assert '<span class="pm">normalisation zca</span>' in text
    assert 'class="full"' not in text, "one line for marks of both"
    assert 'class="full"' in write_report(tmp_path / "r.html", judged[:1]).read_text()
    alike = contents_of([judged[0], judged[0]])
    assert (alike.warnings, alike.places) == ((), ("",))


@pytest.mark.parametrize("key", ["train", "val", "test"])
def test_other_rows_of_the_same_source_are_other_data(key: str) -> None:
    data = blob_images()
    cards = [told(data, entry("dm", 0.6, 100, 6), **{key: rows}) for rows in (40, 50)]
    [warning] = contents_of([Judged("dm", None, one) for one in cards]).warnings
    assert f"(toy as 1x8x8, 40 {key} rows; toy as 1x8x8, 50 {key} rows)" in warning
    marked = [told(data, entry("dm", 0.6, 100, 6), fingerprint=mark * 20) for mark in "ab"]
    [warning] = contents_of([Judged("dm", None, one) for one in marked]).warnings
    assert "(toy as 1x8x8, fingerprint aaaaaaaaaaaa; toy as 1x8x8, fingerprint bbbbbbbbbbbb)" in warning


def test_two_sets_of_a_name_have_hard_labels_of_their_own_and_baselines_a_protocol() -> None:
    data = blob_images()
    hard = [entry("datm/hard-labels", mean, 100, 6, kind="baseline") for mean in (0.5, 0.6)]
    random = entry("random", 0.4, 100, 6, kind="baseline")
    judged = [
        Judged("datm", None, replace(card(data, entry("datm", 0.7, 120, 6), one, random),
                                     provenance={"content_hash": mark}))
        for one, mark in zip(hard, "ab", strict=True)
    ]  # fmt: skip
    assert [row.entry.mean for row in rows_of(judged)][2:] == pytest.approx([0.5, 0.4, 0.6])
    assert judged[0].scorecard is not None
    longer = replace(judged[0].scorecard, protocol={"name": "dc-300", "hash": "def"})
    rows = rows_of([judged[0], Judged("datm", None, longer)])
    assert [row.place for row in rows if row.entry.name == "random"] == ["protocol quick abc", "protocol dc-300 def"]


def test_times_smaller_counts_bytes_where_the_full_data_were_not_judged(tmp_path: Path) -> None:
    """60 rows of 64 bytes with a byte of label each, over 200 bytes: not 60 rows over 6."""
    data = blob_images()
    judged = [Judged("dm", None, told(data, entry("dm", 0.8, 194, 6)))]
    assert judged[0].scorecard is not None
    assert judged[0].scorecard.judged[0].nbytes == 200
    text = write_report(tmp_path / "r.html", judged).read_text()
    assert f"<em>{60 * 65 / 200:,.0f} times smaller</em>" in text
    unsaid = [Judged("dm", None, card(data, entry("dm", 0.8, 194, 6)))]
    text = write_report(tmp_path / "r.html", unsaid).read_text()
    assert "times smaller" not in text
    assert "toy in <em>200 B</em> trains a network to" in text


def test_label_bytes_of_another_set_are_not_shown(tmp_path: Path) -> None:
    """They stay behind where the set is made or judged anew without --labels."""
    data = blob_images()
    kept = replace(told(data, entry("hard", 0.7, 100, 6)), provenance={"content_hash": "a"})
    own = {
        "same": kept, "set": replace(kept, provenance={"content_hash": "b"}),
        "data": replace(kept, data={**kept.data, "normalisation": "zca"}),
        "protocol": replace(kept, protocol={"name": "dc-300", "hash": "def"}),
    }  # fmt: skip
    found = {}
    for name, scorecard in own.items():
        scorecard.save(tmp_path / name / "scorecard.json")
        kept.save(tmp_path / name / "label_bytes.json")
        [one] = results_in(tmp_path / name)
        found[name] = contents_of([one])
    assert [title for title, _ in found["same"].label_cards] == ["hard, 2 per class"]
    assert [title for title, _ in found["protocol"].label_cards] == ["hard, 2 per class, under quick"]
    for name in ("set", "data"):
        assert found[name].label_cards == ()
        assert "label_bytes.json is of another set or other data than hard and is not shown" in found[name].notes
