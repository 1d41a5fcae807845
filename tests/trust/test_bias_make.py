"""Biased sets: exact rates, known mutual information, tests told apart, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from toys import blob_features, blob_images

import decoct
from decoct.cli.main import main
from decoct.errors import ConfigError, DataError, MismatchError, SourceError
from decoct.trust.bias.attributes import assign, mutual_information, unbiased_rate
from decoct.trust.bias.coloured import SPREAD, coloured, palette
from decoct.trust.bias.corrupted import CORRUPTIONS, corrupted
from decoct.trust.bias.groups import Groups
from decoct.trust.bias.make import PAINTS, Bias, load_biased, make_biased

DATA = blob_images(classes=4, per_class=20)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("rate", "bits"), [(0.0, 0.152), (0.1, 0.0), (0.5, 0.737), (0.95, 2.877), (1.0, 3.322)])
def test_the_rate_and_what_the_attribute_tells(rate, bits):
    """Closed form for ten classes: log2(10) - H(rate, nine times (1 - rate) / 9)."""
    labels = np.repeat(np.arange(10), 900)
    found = assign(labels, 10, rate, generator())
    assert (found == labels).mean() == pytest.approx(rate, abs=1e-3)
    shares = np.array([rate, *[(1 - rate) / 9] * 9])
    closed = np.log2(10) + (shares[shares > 0] * np.log2(shares[shares > 0])).sum()
    assert mutual_information(labels, found) == pytest.approx(closed, abs=2e-3)
    assert mutual_information(labels, found) == pytest.approx(bits, abs=2e-3)


def test_attributes_are_shuffled_and_seeded():
    labels = np.repeat(np.arange(2), 100)
    first = assign(labels, 2, 0.5, generator())
    assert (first == assign(labels, 2, 0.5, generator())).all()
    assert 30 < (first[:100][:50] == 0).sum() * 2 < 70, "not the first half of each class"
    assert (assign(np.zeros(5, np.int64), 1, 0.0, generator()) == 0).all(), "one attribute is everybody's"
    assert unbiased_rate(10) == 0.1


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_correlation_outside_0_to_1_is_refused(rate):
    with pytest.raises(ConfigError, match=r"correlation of (.|\n)*a share from 0 to 1"):
        Bias(correlation=rate)


def test_other_settings_that_do_not_exist():
    with pytest.raises(ConfigError, match="severity 5"):
        Bias(severity=5)
    with pytest.raises(ConfigError, match="rows=0"):
        Bias(rows=0)


@pytest.mark.parametrize("severity", [1, 2, 3, 4])
def test_colour_is_the_attribute_with_the_published_spread(severity):
    white = np.full((4000, 1, 1, 1), 255, np.uint8)
    attributes = np.full(4000, 7, np.int64)
    found = coloured(white, attributes, 10, severity, generator()).reshape(-1, 3) / 255
    inside = (palette(10)[7] > 0.2) & (palette(10)[7] < 0.8)
    assert found[:, inside].std(0) == pytest.approx(SPREAD[severity - 1], rel=0.15, abs=0.002)
    np.testing.assert_allclose(np.median(found, 0), palette(10)[7], atol=0.01)
    assert (coloured(np.zeros_like(white[:2]), attributes[:2], 10, severity, generator()) == 0).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("attribute", range(len(CORRUPTIONS)))
def test_damage_grows_with_severity_and_stays_an_image(attribute, channels):
    y, x = np.mgrid[0:16, 0:16] / 15
    picture = 120 * (0.5 + 0.5 * np.sin(9 * x) * np.cos(7 * y)) + 40
    images = np.tile(picture.astype(np.uint8), (6, channels, 1, 1))
    attributes = np.full(6, attribute, np.int64)
    change = []
    for severity in (1, 2, 3, 4):
        found = corrupted(images, attributes, 10, severity, generator())
        assert found.shape == images.shape
        change.append(np.abs(found.astype(float) - images).mean())
    assert change[0] > 0
    assert change[3] > change[0], change


def test_a_biased_set_on_disk(tmp_path):
    made = make_biased(DATA, Bias(correlation=0.8, severity=2), tmp_path / "b")
    data, groups = decoct.open(f"npz:{tmp_path / 'b' / 'biased.npz'}"), made.groups
    assert data.spec.fingerprint == made.data.spec.fingerprint
    assert data.spec.class_names == DATA.spec.class_names
    assert data.spec.shape == (3, 8, 8)
    share = {name: groups.aligned_in(data, split, name).mean() for name, split in
             (("train", data.train), ("val", data.val), ("test", data.test), ("anti", made.anti))}  # fmt: skip
    assert share["train"] == pytest.approx(0.8, abs=0.01)
    assert share["test"] == pytest.approx(0.25, abs=0.05), "truly unbiased: four colours alike in every class"
    assert share["anti"] == 0
    assert (made.anti.y == data.test.y).all(), "the same test images"
    assert made.facts["splits"]["train"]["aligned"] == share["train"]
    again = make_biased(DATA, Bias(correlation=0.8, severity=2), tmp_path / "b")
    assert again.data.spec.fingerprint == data.spec.fingerprint
    other = make_biased(DATA, Bias(correlation=0.8, severity=2, seed=1), tmp_path / "c")
    assert other.data.spec.fingerprint != data.spec.fingerprint
    with pytest.raises(MismatchError, match="another biased set: seed"):
        make_biased(DATA, Bias(correlation=0.8, severity=2, seed=1), tmp_path / "b")


def test_the_same_source_by_another_path_is_the_same_set(tmp_path):
    make_biased(DATA, Bias(), tmp_path)
    moved = replace(DATA, spec=replace(DATA.spec, source="imagefolder:toy/"))
    assert make_biased(moved, Bias(), tmp_path).facts["source"] == "imagefolder:toy/"
    other = replace(DATA, spec=replace(DATA.spec, fingerprint="other"))
    with pytest.raises(MismatchError, match="another biased set: fingerprint\n"):
        make_biased(other, Bias(), tmp_path)


def test_a_damaged_set_is_no_biased_set(tmp_path):
    make_biased(DATA, Bias(), tmp_path)
    path = tmp_path / "anti-biased.npz"
    whole = path.read_bytes()
    start = whole.index(b"x.npy") + 40
    for damaged in (b"", whole[:100], whole[:-50], whole[:start] + b"\xff" * 20 + whole[start + 20 :]):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=r"(?s)without a whole bias.json and anti-biased.npz.*make it again"):
            load_biased(tmp_path)
    path.write_bytes(whole)
    assert len(load_biased(tmp_path).anti) == len(DATA.test)


def test_fewer_rows_of_every_class(tmp_path):
    made = make_biased(DATA, Bias(kind="corrupted", rows=40), tmp_path)
    assert np.bincount(made.data.train.y).tolist() == [10] * 4
    assert made.groups.names == sorted(["gaussian-noise", "impulse-noise", "gaussian-blur", "motion-blur"])


def test_fewer_rows_than_classes_are_refused_and_more_are_never_exceeded(tmp_path):
    with pytest.raises(ConfigError, match=r"rows=3(.|\n)*at least 4, one row for each class"):
        make_biased(DATA, Bias(rows=3), tmp_path / "few")
    assert not (tmp_path / "few").exists()
    made = make_biased(DATA, Bias(rows=7), tmp_path / "some")
    assert np.bincount(made.data.train.y).tolist() == [1] * 4, "equal shares of 7 at most"


def test_bad_sources(tmp_path):
    with pytest.raises(DataError, match="images, gray or in colour"):
        make_biased(blob_features(), Bias(), tmp_path)
    with pytest.raises(SourceError, match="decoct bias make"):
        load_biased(tmp_path)


def test_groups_in_files_and_for_rows(tmp_path):
    ids = DATA.train.ids.astype(str)
    red = np.where(DATA.train.y == 0, "red", "blue")
    red[np.flatnonzero(DATA.train.y == 0)[:3]] = "blue"
    Groups(ids, red).save(tmp_path / "g.parquet")
    groups = Groups.load(tmp_path / "g.parquet")
    assert groups.names == ["blue", "red"]
    aligned = groups.aligned_in(DATA, DATA.train, "training")
    assert (~aligned).sum() == 3, "the attribute of a class is what most of its rows carry"
    with pytest.raises(MismatchError, match=r"groups of the test rows(.|\n)*without 20 of the 20 test rows"):
        groups.of(DATA.test, "test")
    (tmp_path / "bad.parquet").write_bytes(b"")
    with pytest.raises(SourceError, match="columns id and attribute"):
        Groups.load(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match="every id once"):
        Groups(np.array(["a", "a"]), np.array(["x", "y"]))


def test_empty_cells_are_no_groups(tmp_path):
    """A missing aligned would be read as False, a missing attribute as a group of its own."""
    whole = {"id": ["a", "b", "c"], "attribute": ["red", "blue", "red"], "aligned": [True, False, True]}
    holes = {
        "aligned": ([True, None, None], "2 of 3 cells of aligned"), "attribute": (["red", None, "red"], "1 of 3"),
        "id": (["a", "b", None], "1 of 3 cells of id"),
    }  # fmt: skip
    path = tmp_path / "g.parquet"
    for name, (values, told) in holes.items():
        pq.write_table(pa.table({**whole, name: values}), path)
        with pytest.raises(DataError, match=told):
            Groups.load(path)
    pq.write_table(pa.table({**whole, "attribute": [0.5, float("nan"), 0.5]}), path)
    with pytest.raises(DataError, match="1 of 3 cells of attribute"):
        Groups.load(path)
    pq.write_table(pa.table({**whole, "note": [None, "x", None]}), path)
    assert Groups.load(path).aligned.tolist() == [True, False, True], "other columns may be empty"


def test_the_help_says_what_no_bias_is_above_ten_classes(capsys):
    assert {most for _, most in PAINTS.values()} == {10}
    for command in ("make", "weigh"):
        assert main(["bias", command, "--help"]) == 0
        assert "1 / min(classes, 10)" in " ".join(capsys.readouterr().out.replace("│", " ").split())
