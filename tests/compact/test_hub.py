"""A folder for the hub: read by `datasets` as it is, and pushed by `huggingface_hub`."""

from __future__ import annotations

from typing import Any, ClassVar

import datasets
import numpy as np
import pytest
from compact_examples import examples

from decoct.compact.export import export
from decoct.compact.hub import push_to_hub
from decoct.errors import MissingExtraError, OutputError

SETS = examples()


@pytest.mark.parametrize("name", SETS)
@pytest.mark.filterwarnings("ignore")
def test_datasets_reads_the_folder_by_its_card(name, tmp_path):
    small = SETS[name]
    folder = export(small, "hub", tmp_path / "set")
    rows = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(rows) == ["train"]
    train = rows["train"]
    assert train.features["label"].names == list(small.spec.class_names)
    assert train["label"][:] == small.classes.tolist()
    if small.spec.is_image:
        shown = np.stack([np.array(image) for image in train["image"]])
        assert np.array_equal(shown.reshape(small.pictures().shape), small.pictures().numpy())
    own = small.table
    assert ("id" in train.features) == (own is not None)
    if own is not None:
        assert train["id"][:] == list(own["id"])
        assert train["rank"][:] == list(range(len(small)))
        assert train["reason"][:] == list(own["reason"])


def test_a_folder_that_is_in_use_is_left_alone(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="a new or an empty folder"):
        export(SETS["pixels-8"], "hub", tmp_path / "set")
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine.txt"]


class Hub:
    """What `huggingface_hub.HfApi` is asked."""

    calls: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    refuse = False

    def __init__(self, token: str | None = None) -> None:
        self.calls.append(("token", {"token": token}))

    def create_repo(self, repo_id: str, **options: Any) -> str:
        if self.refuse:
            raise ConnectionError("no way out")
        self.calls.append(("create", {"repo_id": repo_id, **options}))
        return f"https://hub/{repo_id}"

    def upload_folder(self, **options: Any) -> None:
        self.calls.append(("upload", options))


def test_pushing_makes_a_private_data_set_and_uploads_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "calls", [])
    folder = export(SETS["coreset-features"], "hub", tmp_path / "set")
    assert push_to_hub(folder, "me/small") == "https://hub/me/small"
    (_, token), (_, made), (_, sent) = Hub.calls
    assert token == {"token": None}
    assert made == {"repo_id": "me/small", "repo_type": "dataset", "private": True, "exist_ok": True}
    assert (sent["repo_id"], sent["repo_type"], sent["folder_path"]) == ("me/small", "dataset", str(folder))


def test_a_hub_that_refuses_says_so_and_the_folder_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "refuse", True)
    folder = export(SETS["coreset-features"], "hub", tmp_path / "set")
    with pytest.raises(OutputError, match="ConnectionError: no way out") as e:
        push_to_hub(folder, "me/small")
    assert "can be pushed again" in str(e.value)
    assert (folder / "README.md").exists()


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"decoct\[hf\]"):
        push_to_hub(tmp_path, "me/small")
