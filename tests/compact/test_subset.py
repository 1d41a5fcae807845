"""The rows of a coreset in the user's own torch data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import decoct
from decoct.errors import MismatchError


def toy_dataset(rows: int = 60) -> TensorDataset:
    labels = torch.arange(rows) % 3
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(rows, 4, generator=generator) + labels[:, None], labels)


def test_a_subset_holds_the_very_rows_in_the_order_picked():
    own = toy_dataset()
    core = decoct.select(decoct.open(own), "k-means", ipc=4)
    subset = core.to_subset(own)
    assert len(subset) == 12
    for row, (x, y) in enumerate(subset):
        assert torch.equal(x, core.raw[row])
        assert int(y) == int(core.classes[row])


def test_the_sampler_draws_rows_as_often_as_they_weigh():
    own = toy_dataset()
    core = decoct.select(decoct.open(own), "random", ipc=2)
    core = replace(core, weights=torch.tensor([0.0, 1, 1, 2, 2, 0]))
    draws = torch.tensor(list(core.sampler(seed=3, num_samples=6000)))
    share = torch.bincount(draws, minlength=6) / 6000
    torch.testing.assert_close(share, core.weights / 6, atol=0.03, rtol=0)
    assert list(core.sampler(seed=3)) == list(core.sampler(seed=3))
    assert len(core.sampler()) == 6
    loader = DataLoader(core.to_subset(own), batch_size=3, sampler=core.sampler(seed=3))
    assert sum(len(y) for _, y in loader) == 6


def test_another_data_set_is_refused():
    core = decoct.select(decoct.open(toy_dataset()), "random", ipc=4)
    with pytest.raises(MismatchError, match="a data set of 5 rows"):
        core.to_subset(toy_dataset(5))
    other = toy_dataset()
    other.targets = (torch.arange(60) + 1) % 3  # type: ignore[attr-defined]
    with pytest.raises(MismatchError, match="which was of class"):
        core.to_subset(other)


def test_ids_stand_in_the_column_that_the_source_took_them_from():
    datasets = pytest.importorskip("datasets")
    rows = {"uid": [11, 10, *range(10)], "id": list(range(12)), "name": [f"row {n}" for n in range(12)]}
    rows |= {"a": [float(n) for n in range(12)], "label": [1, 0] * 6}
    own = datasets.Dataset.from_dict(rows)
    core = decoct.select(decoct.open(own), "random", count=6)
    assert [str(own[place]["uid"]) for place in core.to_subset(own).indices] == core.ids.tolist()
    # A column that was asked for, and row numbers that were.
    core = replace(core, classes=torch.tensor([1, 0] * 3))
    for asked, word in (("name", "row "), ("", "all/")):
        spec = replace(core.spec, source=f"hub:mine?id={asked}")
        named = replace(core, spec=spec, ids=np.array([f"{word}{row}" for row in range(6)]))
        assert named.to_subset(own).indices == list(range(6))


def test_the_classes_of_a_column_are_compared():
    datasets = pytest.importorskip("datasets")
    rows = {"id": list(range(12)), "a": [float(n) for n in range(12)], "label": ["cat", "dog"] * 6}
    core = decoct.select(decoct.open(datasets.Dataset.from_dict(rows)), "random", count=4)
    counted = datasets.ClassLabel(names=["dog", "cat"])
    for labels in (rows["label"], [0, 1] * 6):
        core.to_subset(datasets.Dataset.from_dict(rows | {"label": labels}).with_format("torch"))
    core.to_subset(datasets.Dataset.from_dict(rows | {"label": [1, 0] * 6}).cast_column("label", counted))
    for labels in (["dog", "cat"] * 6, [1, 0] * 6, ["bird"] * 12):
        with pytest.raises(MismatchError, match="which was of class"):
            core.to_subset(datasets.Dataset.from_dict(rows | {"label": labels}))
    twice = datasets.Dataset.from_dict(rows | {"id": [int(core.ids[0])] * 2 + list(range(2, 12))})
    kept = core.take(torch.tensor([0]))
    with pytest.raises(MismatchError, match="1 ids that several rows have in the column 'id', such as"):
        kept.to_subset(twice)


class Folder(torch.utils.data.Dataset):
    """As torchvision's image folders are: `samples` of (file, class)."""

    def __init__(self, samples) -> None:
        self.samples = samples
        self.targets = [label for _, label in samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: int):
        return np.asarray(Image.open(self.samples[place][0])), self.samples[place][1]


def test_files_are_found_by_their_names(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for number in range(12):
            (tmp_path / name).mkdir(exist_ok=True)
            pixels = rng.integers(0, 255, (4, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    files = sorted(tmp_path.rglob("*.png"), reverse=True)
    folder = Folder([(str(path), int(path.parent.name == "dog")) for path in files])
    data = decoct.open(tmp_path, cache=tmp_path.parent / "cache")
    core = decoct.select(data, "random", ipc=3)
    subset = core.to_subset(folder)
    for row, (pixels, label) in enumerate(subset):
        assert np.array_equal(pixels, core.raw[row, 0].numpy())
        assert label == int(core.classes[row])
    with pytest.raises(MismatchError, match="6 of 6 ids that it does not name"):
        core.to_subset(Folder([("elsewhere/x.png", 0)]))


@pytest.fixture
def nested(tmp_path):
    """Pictures of which one path is the end of another, and one that lies deep."""
    names = ["a/1.png", "a/a/1.png", "a/b/c/d/e/2.png", "b/1.png"]
    for number, name in enumerate([*names, *(f"{c}/{n}.png" for c in "ab" for n in range(5, 15))]):
        (tmp_path / "r" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / "r" / name)
    files = sorted((tmp_path / "r").rglob("*.png"))
    return Folder([(str(path), int(path.relative_to(tmp_path / "r").parts[0] == "b")) for path in files])


def of_ids(ids):
    core = decoct.select(decoct.open(toy_dataset()), "random", count=len(ids))
    return replace(core, ids=np.array(ids), classes=torch.tensor([int(name.startswith("b")) for name in ids]))


def test_one_path_may_be_the_end_of_another(nested, tmp_path):
    core = of_ids(["a/a/1.png", "a/1.png", "a/b/c/d/e/2.png", "b/1.png"])
    with pytest.raises(MismatchError, match="1 ids in which several of its paths end, such as 'a/1.png': .*/r/a/1"):
        core.to_subset(nested)
    for root in (str(tmp_path / "r"), tmp_path / "r"):
        nested.root = root
        subset = core.to_subset(nested)
        found = [nested.samples[place][0].removeprefix(f"{tmp_path}/r/") for place in subset.indices]
        assert found == core.ids.tolist()


def test_ids_may_start_above_the_folder_of_the_data_set(nested, tmp_path):
    nested.root = tmp_path / "r"
    core = of_ids(["r/a/1.png", "r/a/b/c/d/e/2.png"])
    places = core.to_subset(nested).indices
    assert [nested.samples[place][0] for place in places] == [f"{tmp_path}/{name}" for name in core.ids]
