"""Splits by group: nothing of a person, a video or a source on both sides."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import blob_images

import decoct
from decoct.cli.main import main
from decoct.cli.opening import Opening
from decoct.compact.coreset import Coreset
from decoct.data.dataset import Dataset
from decoct.data.groups import groups_by_pattern, groups_from, split_by_group
from decoct.data.sources.tables import column_of
from decoct.errors import ConfigError, DataError, SourceError

DATA = blob_images(classes=2, per_class=40, shape=(1, 4, 4))
ALL = [*DATA.train.ids.tolist(), *DATA.val.ids.tolist(), *DATA.test.ids.tolist()]
PEOPLE = {name: f"person {place // 2 % 12}" for place, name in enumerate(ALL)}


def parts_of(data: Dataset, groups: dict[str, str]) -> list[set[str]]:
    return [{groups[name] for name in split.ids.tolist()} for split in (data.train, data.val, data.test)]


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(3, 30), seed=st.integers(0, 9), val=st.sampled_from([0.1, 0.3]), test=st.sampled_from([0.1, 0.4])
)
def test_no_group_stands_on_two_sides_and_no_row_is_lost(count: int, seed: int, val: float, test: float) -> None:
    rng = np.random.default_rng(seed)
    # Both classes in every group, which may be of very unlike sizes.
    sizes = rng.integers(1, 20, count)
    member = rng.permutation(np.repeat(np.arange(count), sizes))[: len(ALL)]
    groups = {name: f"g{member[place % len(member)]}" for place, name in enumerate(ALL)}
    if len(set(groups.values())) < 3:
        return
    try:
        data = split_by_group(DATA, groups, val_fraction=val, test_fraction=test, seed=seed)
    except DataError as error:
        lost = "no training row of the class" in str(error)
        if not lost:
            raise
        return
    train, validation, testing = parts_of(data, groups)
    assert all((train, validation, testing))
    assert not train & validation
    assert not (train | validation) & testing
    ids = [*data.train.ids.tolist(), *data.val.ids.tolist(), *data.test.ids.tolist()]
    assert sorted(ids) == sorted(ALL)


def test_splits_are_as_large_as_asked_and_hold_the_classes_alike() -> None:
    data = split_by_group(DATA, PEOPLE, val_fraction=0.25, test_fraction=0.25, seed=1)
    assert [len(part) for part in parts_of(data, PEOPLE)] == [6, 3, 3]
    for split in (data.train, data.val, data.test):
        assert abs(float(split.y.mean()) - 0.5) < 0.1
    again = split_by_group(DATA, PEOPLE, val_fraction=0.25, test_fraction=0.25, seed=1)
    assert again.train.ids.tolist() == data.train.ids.tolist()
    assert again.spec.fingerprint == data.spec.fingerprint != DATA.spec.fingerprint
    other = split_by_group(DATA, PEOPLE, val_fraction=0.25, test_fraction=0.25, seed=2)
    assert parts_of(other, PEOPLE) != parts_of(data, PEOPLE)


def test_the_rows_keep_their_labels_and_the_transform_is_that_of_the_new_training_rows() -> None:
    data = split_by_group(DATA, PEOPLE, seed=3)
    known = {
        name: (x, y)
        for split in (DATA.train, DATA.val, DATA.test)
        for x, y, name in zip(split.x, split.y, split.ids.tolist(), strict=True)
    }
    for split in (data.train, data.val, data.test):
        for x, y, name in zip(split.x, split.y, split.ids.tolist(), strict=True):
            assert np.array_equal(x, known[name][0])
            assert y == known[name][1]
    inputs = data.inputs(data.train)
    torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(1), atol=1e-4, rtol=0)
    assert "no group in two splits: train 10 groups, val 1 groups, test 1 groups, seed 3" in data.spec.notices[-1]


def test_a_generator_can_be_held_out() -> None:
    data = split_by_group(DATA, PEOPLE, held_out=("person 3", "person 7"), seed=0)
    assert parts_of(data, PEOPLE)[2] == {"person 3", "person 7"}
    assert parts_of(data, PEOPLE)[1]


def test_what_cannot_be_split_is_refused() -> None:
    two = {name: f"{place % 2}" for place, name in enumerate(ALL)}
    with pytest.raises(DataError, match=r"2 groups: 0, 1[\s\S]*at least 3"):
        split_by_group(DATA, two)
    with pytest.raises(DataError, match="1 of 120 rows without a group, such as 'train-0'"):
        split_by_group(DATA, {name: group for name, group in PEOPLE.items() if name != "train-0"})
    with pytest.raises(ConfigError, match="person 99"):
        split_by_group(DATA, PEOPLE, held_out=("person 99",))
    by_class = {name: f"class {y}" for split in (DATA.train, DATA.val, DATA.test)
                for name, y in zip(split.ids.tolist(), split.y, strict=True)}  # fmt: skip
    by_class["train-2"], by_class["train-4"] = "other", "another"
    with pytest.raises(DataError, match="no training row of the class class 1"):
        split_by_group(DATA, by_class, held_out=("class 1",))


def test_weights_and_whitening_go_along() -> None:
    weighted = replace(DATA, train=replace(DATA.train, weights=np.linspace(0.5, 1.5, len(DATA.train))))
    data = split_by_group(weighted, PEOPLE)
    assert data.train.weights is not None
    own = dict(zip(DATA.train.ids.tolist(), np.linspace(0.5, 1.5, len(DATA.train)).tolist(), strict=True))
    assert data.train.weights.tolist() == [own.get(name, 1.0) for name in data.train.ids.tolist()]


def test_groups_from_names() -> None:
    ids = ["fake/ann_01.png", "fake/ann_02.png", "real/bob_01.png"]
    assert list(groups_by_pattern(ids, r"/([a-z]+)_").values()) == ["ann", "ann", "bob"]
    assert list(groups_by_pattern(ids, r"[a-z]+_").values()) == ["ann_", "ann_", "bob_"]
    with pytest.raises(DataError, match=r"1 of 3 ids in which[\s\S]*columns are read of parquet:, csv: and hub: data"):
        groups_by_pattern(ids, "ann")
    with pytest.raises(ConfigError, match="a regular expression"):
        groups_by_pattern(ids, "(")


def test_groups_by_a_column_and_by_names(tmp_path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    people = [f"p{row % 5}" for row in range(40)]
    table = pa.table({"a": np.arange(40.0), "b": np.arange(40.0) % 7, "label": np.arange(40) % 2, "person": people})
    pq.write_table(table, tmp_path / "rows.parquet")
    data = decoct.open(tmp_path / "rows.parquet", cache=tmp_path / "cache")
    groups = groups_from(data, "person")
    assert groups["all/7"] == "p2"
    cut = split_by_group(data, groups)
    assert [len(part) for part in parts_of(cut, groups)] == [3, 1, 1]
    assert groups_from(DATA, r"-(\d)") == {name: name.partition("-")[2][0] for name in ALL}


@pytest.mark.parametrize(("group", "groups"), [("category", range(12)), ("person", [f"p{n}" for n in range(12)])])
def test_a_column_of_groups_is_no_label(tmp_path, group: str, groups) -> None:
    body = [f"{groups[row % 12]},{('ant', 'bee')[row // 12 % 2]},{row},{row * row % 7}" for row in range(96)]
    (tmp_path / "rows.csv").write_text("\n".join([f"{group},species,a,b", *body]) + "\n")
    data = Opening(group=group, cache=tmp_path / "cache").open(f"csv:{tmp_path / 'rows.csv'}", tell=False)
    assert data.spec.class_names == ("ant", "bee")
    assert data.spec.shape == (2,)


def test_groups_of_a_hub_data_set_are_a_column(tmp_path, monkeypatch) -> None:
    datasets = pytest.importorskip("datasets")
    people = [f"p{row % 9}" for row in range(72)]
    labels = [row // 9 % 2 for row in range(72)]
    table = {"a": np.arange(72.0), "b": np.arange(72.0) % 5, "person": people, "label": labels}
    parts = {"train": datasets.Dataset.from_dict(table), "test": datasets.Dataset.from_dict(table)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    opening = Opening(group="person", held_out=("p3",), cache=tmp_path / "cache")
    for source in (f"hub:{tmp_path / 'saved'}", str(tmp_path / "saved")):
        data = opening.open(source, tell=False)
        assert data.spec.shape == (2,)
        assert set(data.test.ids.tolist()) == {f"{part}/{row}" for part in parts for row in range(3, 72, 9)}
    groups = groups_from(data, "person")
    assert groups == {f"{part}/{row}": person for part in parts for row, person in enumerate(people)}
    with pytest.raises(SourceError, match=r"no column 'persons'; the columns are a, b, person, label"):
        groups_from(data, "persons")


def test_cifake_by_subject(real_data, tmp_path) -> None:
    folder = real_data / "cifake"
    if not folder.exists():
        pytest.skip(f"no real data: {folder} is missing")
    subjects = column_of(str(folder), "source")
    data = decoct.open(folder, cache=tmp_path)
    cut = split_by_group(data, subjects, val_fraction=0.2, test_fraction=0.2)
    assert [len(part) for part in parts_of(cut, subjects)] == [6, 2, 2]
    assert np.bincount(cut.test.y).tolist() == [1200, 1200]
    with pytest.raises(SourceError, match="the name of the column"):
        column_of(str(folder), "sauce")


def test_every_command_opens_by_groups_and_says_so_again(tmp_path) -> None:
    opening = Opening(group=r"/(\d)")
    data = opening.open(_with_digits(tmp_path), tell=False)
    firsts = [{name.partition("/")[2][0] for name in split.ids.tolist()} for split in (data.train, data.val, data.test)]
    assert not firsts[0] & firsts[1]
    assert not (firsts[0] | firsts[1]) & firsts[2]
    assert opening.words() == ["--group", r"/(\d)"]


def test_every_command_can_hold_whole_groups_out_for_the_test(tmp_path) -> None:
    source = _with_digits(tmp_path)
    opening = Opening(group=r"/(\d)", held_out=("2", "5"))
    data = opening.open(source, tell=False)
    firsts = [{name.partition("/")[2][0] for name in split.ids.tolist()} for split in (data.train, data.val, data.test)]
    assert firsts[2] == {"2", "5"}
    assert not firsts[0] & firsts[1]
    assert firsts[0]
    assert firsts[1]
    assert opening.words() == ["--group", r"/(\d)", "--held-out", "2", "5"]
    with pytest.raises(ConfigError, match=r"held_out=\['b'\]"):
        Opening(group=r"/(\d)", held_out=("b",)).open(source, tell=False)
    with pytest.raises(ConfigError, match=r"--held-out 2 without --group[\s\S]*add --group COLUMN"):
        Opening(held_out=("2",)).open(source, tell=False)


def test_every_command_can_cut_other_shares_by_another_seed(tmp_path) -> None:
    source = _with_digits(tmp_path)
    opening = Opening(val_fraction=0.25, test_fraction=0.2, split_seed=3)
    data = opening.open(source, tell=False)
    assert opening.words() == ["--val-fraction", "0.25", "--test-fraction", "0.2", "--split-seed", "3"]
    grouped = replace(opening, group=r"/(\d)").open(source, tell=False)
    plain = decoct.open(source, val_fraction=0.25, test_fraction=0.2, seed=3)
    assert data.spec.fingerprint == plain.spec.fingerprint
    cut = split_by_group(plain, groups_from(plain, r"/(\d)"), val_fraction=0.25, test_fraction=0.2, seed=3)
    assert grouped.spec.fingerprint == cut.spec.fingerprint
    with pytest.raises(ConfigError, match=r"val_fraction=1\.5"):
        Opening(val_fraction=1.5).open(source, tell=False)


def test_a_set_chosen_without_a_group_says_how_it_is_judged_on_it(tmp_path, capsys) -> None:
    source = _with_digits(tmp_path)
    group = ["--group", r"/(\d)", "--held-out", "2"]
    out = str(tmp_path / "out")
    assert main(["select", source, "--method", "random", "--count", "8", "--out", out, *group, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert shlex.split(told["next"])[-4:] == group
    kept = decoct.load(out)
    assert isinstance(kept, Coreset)
    assert not any(name.startswith("all/2") for name in kept.ids.tolist())


@pytest.mark.parametrize("source", ["features:rows.npy", "coco:rows.json"])
def test_groups_of_what_has_none_are_not_passed_over(tmp_path, capsys, source: str) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((9, 2), np.float32))
    source = source.replace("rows.", f"{tmp_path}/rows.")
    line = ["select", source, "--count", "2", "--out", str(tmp_path / "o"), "--group", "a", "--held-out", "b", "--json"]
    assert main(line) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], error["received"]) == ("ConfigError", "--group and --held-out")


def _with_digits(folder) -> str:
    x = np.concatenate([DATA.train.x, DATA.val.x])
    y = np.concatenate([DATA.train.y, DATA.val.y])
    np.savez(folder / "rows.npz", x=x, y=y)
    return f"npz:{folder / 'rows.npz'}"
