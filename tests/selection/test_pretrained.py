"""Pretrained backbones, made on the spot with random weights: loading, preprocessing, features, errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import blob_features, blob_images

import decoct
from decoct.compact.budget import Budget
from decoct.errors import ConfigError, DataError, MissingExtraError, SourceError
from decoct.selection import pretrained
from decoct.selection.cost import estimate
from decoct.selection.features import feature_kind, features
from decoct.selection.pretrained import Backbone, backbone, backbone_identity, pretrained_features
from decoct.selection.sources import Sources

transformers = pytest.importorskip("transformers")
DATA = blob_images(classes=3, per_class=6, shape=(3, 12, 10))
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "vit"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.ViTModel(transformers.ViTConfig(**SMALL, image_size=16, patch_size=8))
    model.save_pretrained(folder)
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16},
                "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "clip"
    vision = {**SMALL, "image_size": 16, "patch_size": 8}
    text = {**SMALL, "vocab_size": 20, "max_position_embeddings": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=5)
        ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "resnet"
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.ResNetModel(config).save_pretrained(folder)
    return folder


def test_the_first_token_of_a_transformer_under_its_own_preprocessing(vit: Path) -> None:
    found = features(DATA, f"transformers:{vit}")
    assert found.shape == (18, 8)
    model = transformers.ViTModel.from_pretrained(vit).eval()
    unit = DATA.train.raw().float() / 255
    large = torch.nn.functional.interpolate(unit, (16, 16), mode="bicubic").clamp(0, 1)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))
    with torch.no_grad():
        expected = model(pixel_values=(large - mean) / std).last_hidden_state[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_its_passes_are_counted_before_they_are_made(vit: Path) -> None:
    told = estimate(DATA, "herding", budget=Budget(ipc=2), features=f"transformers:{vit}", measure=False)
    # Four patches of 8x8x3 pixels and the first token through one block of width 8, and the pooled token.
    patches, tokens = 2 * 4 * 8 * 192, 5
    block = 2 * tokens * 8 * (4 * 8 + 2 * 16)
    assert told.preparing == pytest.approx(18 * (patches + block), rel=0.1)
    assert told.passes == 0
    assert told.comparisons == 3 * (2 * 6 * 2 * 8)


def test_a_model_of_images_and_texts_gives_its_image_embedding(clip: Path) -> None:
    found = pretrained_features(DATA, str(clip))
    assert found.shape == (18, 5)
    loaded = backbone(str(clip))
    assert loaded.size == (16, 16)
    assert loaded.mean == (0.5, 0.5, 0.5)


def test_a_convolutional_network_gives_the_mean_over_places(resnet: Path) -> None:
    found = pretrained_features(DATA, str(resnet))
    assert found.shape == (18, 6)
    assert backbone(str(resnet)).size == (224, 224), "a network without a size of its own takes the field's"


def test_blocks_do_not_change_the_features(vit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pretrained_features(DATA, str(vit))
    monkeypatch.setattr(pretrained, "BLOCK", 5)
    torch.testing.assert_close(pretrained_features(DATA, str(vit)), whole)


def test_gray_images_are_shown_in_three_equal_channels(vit: Path) -> None:
    loaded = backbone(str(vit))
    gray = torch.rand(2, 1, 16, 16)
    shown = loaded.prepare(gray) * torch.tensor(loaded.std).reshape(1, 3, 1, 1)
    shown = shown + torch.tensor(loaded.mean).reshape(1, 3, 1, 1)
    torch.testing.assert_close(shown, gray.expand(-1, 3, -1, -1))


def test_rows_are_selected_by_them_and_computed_once(vit: Path, tmp_path: Path, monkeypatch) -> None:
    kind = f"transformers:{vit}"
    assert feature_kind(DATA, kind) == kind
    core = decoct.select(DATA, "k-center", ipc=2, features=kind, cache=tmp_path)
    assert core.provenance["features"] == kind
    monkeypatch.setattr("decoct.selection.features.pretrained_features", lambda *_: pytest.fail("computed again"))
    again = decoct.select(DATA, "herding", ipc=2, features=kind, cache=tmp_path)
    assert len(again) == 6
    # Other rows are other features; a damaged file counts as none.
    other = DATA.with_train(np.arange(9))
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        _ = Sources(other, kind, 0, "cpu", tmp_path).table
    for file in tmp_path.glob("features-*.safetensors"):
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        decoct.select(DATA, "herding", ipc=2, features=kind, cache=tmp_path)


def test_a_folder_is_known_by_what_it_holds(vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("one", "two"):
        shutil.copytree(vit, tmp_path / place / "model")
    monkeypatch.chdir(tmp_path / "one")
    first = Sources(DATA, "transformers:model", 0, "cpu", tmp_path / "cache").table
    assert backbone_identity("model") == backbone_identity(str(vit))
    weights = tmp_path / "two" / "model" / "model.safetensors"
    save_file({name: 2 * values for name, values in load_file(weights).items()}, weights, {"format": "pt"})
    monkeypatch.chdir(tmp_path / "two")
    assert not torch.equal(Sources(DATA, "transformers:model", 0, "cpu", tmp_path / "cache").table, first)
    settings = tmp_path / "two" / "model" / "preprocessor_config.json"
    before = backbone_identity("model")
    settings.write_text(settings.read_text().replace("0.4", "0.9"))
    assert backbone_identity("model") != before
    assert backbone_identity("google/vit-base-patch16-224") == "google/vit-base-patch16-224"


def test_what_is_no_backbone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"config\.json"):
        backbone(str(tmp_path / "empty"))
    config = transformers.BertConfig(**SMALL, vocab_size=20, max_position_embeddings=8)
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(SourceError, match="a BertModel that takes no images"):
        backbone(str(tmp_path / "bert"))
    with pytest.raises(ConfigError, match="images of shape"):
        features(blob_features(), "transformers:any")


def test_a_backbone_that_gives_no_numbers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(torch.nn.Module):
        def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return torch.full((len(pixel_values), 2), torch.nan)

    model = Backbone(Broken(), (8, 8), (0.5,) * 3, (0.5,) * 3)
    monkeypatch.setattr(pretrained, "backbone", lambda *_: model)
    with pytest.raises(DataError, match="in 18 of 18 rows"):
        pretrained_features(DATA, "broken")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"decoct\[transformers\]"):
        backbone("any")
