from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from compact_examples import coreset_of, distilled_of, examples, inputs_of
from toys import blob_features, blob_images

from decoct.compact.compact_set import CompactSet
from decoct.compact.table import arrow_table
from decoct.errors import ConfigError, MissingExtraError, UnknownNameError

SETS = examples()


@pytest.mark.parametrize("name", SETS)
def test_materialise_gives_what_the_contract_says(name):
    small = SETS[name]
    inputs, targets, weights = small.materialize()
    count = len(small)
    assert inputs.shape == (count, *small.spec.shape)
    assert inputs.dtype == torch.float32
    assert weights.shape == (count,)
    if small.label_kind == "hard":
        assert targets.dtype == torch.int64
        assert torch.equal(targets, small.classes)
    else:
        assert targets.shape == (count, small.spec.classes)
        assert targets.dtype == torch.float32
    if small.label_kind == "probabilities":
        torch.testing.assert_close(targets.sum(1), torch.ones(count))
    rows = small.to_torch()
    assert len(rows) == count
    assert torch.equal(rows[1][0], inputs[1])


def test_a_coreset_materialises_the_transform_of_its_rows():
    data = blob_images(3, 4, (1, 8, 6))
    small = coreset_of(data)
    torch.testing.assert_close(small.materialize()[0], data.inputs(data.train, small.indices))
    assert small.ids.tolist() == data.train.ids[small.indices.numpy()].tolist()
    part = small.take(torch.tensor([2, 0]))
    assert part.ids.tolist() == small.ids[[2, 0]].tolist()
    assert torch.equal(part.raw, small.raw[[2, 0]])


def test_bytes_of_a_coreset():
    assert vars(SETS["coreset-colour"].nbytes) == {"images": 6 * 3 * 5 * 7, "labels": 6, "decoder": 0}
    assert vars(SETS["coreset-300"].nbytes) == {"images": 400 * 16, "labels": 2 * 400, "decoder": 0}
    assert SETS["coreset-features"].nbytes.images == 6 * 12 * 4


def test_bytes_of_a_distilled_set():
    assert vars(SETS["pixels-8"].nbytes) == {"images": 6 * 48, "labels": 6, "decoder": 8}
    assert vars(SETS["pixels-16-soft"].nbytes) == {"images": 6 * 105 * 2, "labels": 6 * 2 * 2, "decoder": 0}
    assert vars(SETS["multiformation"].nbytes) == {"images": 6 * 48, "labels": 24, "decoder": 8}
    assert SETS["pixels-300"].nbytes.labels == 600
    assert SETS["multiformation"].nbytes.total == 6 * 48 + 24 + 8


def test_scores_are_kept_as_stored_and_probabilities_are_renormalised():
    scores = SETS["pixels-32-scores"]
    assert torch.equal(scores.materialize()[1], scores.labels.float())
    assert scores.labels.dtype == torch.float16
    soft = SETS["pixels-300-soft"]
    assert float((soft.labels.float().sum(1) - 1).abs().max()) > 1e-6
    torch.testing.assert_close(soft.materialize()[1].sum(1), torch.ones(len(soft)), atol=1e-6, rtol=0)


def test_decode_of_rows_is_the_rows_of_decode():
    small = SETS["multiformation"]
    rows = torch.tensor([7, 2])
    torch.testing.assert_close(small.decode(rows), small.decode()[rows])


def test_pictures_are_the_raw_rows_or_their_decoded_likeness():
    coreset = SETS["coreset-colour"]
    assert torch.equal(coreset.pictures().permute(0, 3, 1, 2), coreset.raw)
    data = blob_images(3, 4, (1, 8, 6))
    pictures = distilled_of(data, bits=32).pictures()
    assert pictures.shape == (6, 8, 6, 1)
    assert torch.equal(pictures.permute(0, 3, 1, 2), data.train.raw(slice(0, 6)))
    wild = replace(distilled_of(data, bits=32), tensors={"pixels": 50 * inputs_of(data, 6)})
    assert set(wild.pictures().unique().tolist()) >= {0, 255}


def test_features_have_no_pictures():
    with pytest.raises(ConfigError, match=r"rows of shape \(12,\)"):
        SETS["coreset-features"].pictures()


def test_content_hash_changes_with_what_is_trained_on_and_with_nothing_else():
    data = blob_images(3, 4, (1, 8, 6))
    small = distilled_of(data)
    assert small.content_hash == distilled_of(data).content_hash
    assert small.content_hash == replace(small, provenance={"seconds": 3}).content_hash
    other_pixels = {**small.tensors, "pixels": small.tensors["pixels"] ^ 1}
    changed = [
        replace(small, tensors=other_pixels),
        replace(small, labels=small.labels.flip(0)),
        replace(small, learned={}),
        replace(small, spec=replace(data.spec, fingerprint="other")),
        replace(small, spec=SETS["coreset-grey"].spec, classes=small.classes.flip(0)),
        coreset_of(data),
        coreset_of(data).take(torch.arange(5)),
        coreset_of(data).take(torch.arange(6).flip(0)),
    ]
    assert len({small.content_hash, *(other.content_hash for other in changed)}) == len(changed) + 1


def test_sets_are_frozen_and_the_base_is_abstract():
    with pytest.raises(FrozenInstanceError):
        SETS["pixels-8"].storage = "other"
    with pytest.raises(TypeError, match="abstract"):
        CompactSet()  # type: ignore[abstract]


def coreset_with(**changes):
    return replace(coreset_of(blob_images(3, 4, (1, 8, 6))), **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"classes": torch.full((6,), 3)}, "class numbers from 0 to 2"),
        ({"classes": torch.zeros(5, dtype=torch.int64)}, r"classes of shape \(5,\)"),
        ({"ids": np.array(["a"])}, r"ids of shape \(1,\)"),
        ({"weights": torch.full((6,), -1.0)}, "finite weights, none below 0"),
        ({"indices": torch.full((6,), -1)}, "row numbers from 0 up"),
        ({"raw": torch.zeros(6, 1, 8, 7, dtype=torch.uint8)}, r"rows of shape \(1, 8, 6\)"),
        ({"raw": torch.zeros(6, 48)}, r"torch.float32 \(6, 48\)"),
    ],
)
def test_a_coreset_refuses_parts_that_do_not_fit(changes, text):
    with pytest.raises(ConfigError, match=text):
        coreset_with(**changes)


def test_a_coreset_of_nan_features_is_refused():
    small = coreset_of(blob_features(3, 4, 12))
    with pytest.raises(ConfigError, match="NaN or infinite features"):
        replace(small, raw=small.raw * float("nan"))


def distilled_with(**changes):
    return replace(distilled_of(blob_images(3, 4, (1, 8, 6)), label_kind="probabilities"), **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"labels": torch.ones(6, 3)}, "rows that sum to 3"),
        ({"labels": torch.tensor([0.5, 0.75, -0.25]).repeat(6, 1)}, "no entry below 0"),
        ({"labels": torch.ones(6, 2) / 2}, r"labels of shape \(6, 2\)"),
        ({"labels": torch.full((6, 3), 1e6), "label_kind": "scores"}, "at most 65504"),
        ({"label_kind": "hard"}, r"hard labels \(6,\)"),
        ({"classes": torch.arange(6)}, "classes from 0 to 5"),
        ({"tensors": {"pixels": torch.zeros(5, 1, 8, 6)}}, "5 stored rows"),
        ({"tensors": {"pixels": torch.zeros(6, 1, 8, 8)}}, r"finite torch.float32 rows of shape \(2, 1, 8, 6\)"),
        ({"tensors": {"pixels": torch.full((6, 1, 8, 6), float("nan"))}}, "NaN or infinite values"),
        ({"tensors": {"labels": torch.zeros(6, 1, 8, 6)}}, "names other than labels"),
        ({"storage": "multiformation", "config": {}}, "factor None"),
    ],
)
def test_a_distilled_set_refuses_parts_that_do_not_fit(changes, text):
    with pytest.raises(ConfigError, match=text):
        distilled_with(**changes)


def test_an_unknown_storage_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'pixels'"):
        distilled_with(storage="pixles")


@pytest.mark.parametrize("name", ["coreset-colour", "pixels-16-soft", "pixels-features"])
def test_to_hf_restores_images_names_and_soft_labels(name):
    small = SETS[name]
    hub = small.to_hf()
    inputs, targets, _ = small.materialize()
    assert hub.features["label"].names == list(small.spec.class_names)
    assert hub["label"] == small.classes.tolist()
    if small.spec.is_image:
        assert np.array_equal(np.array(hub[1]["image"]), small.pictures()[1].numpy())
    else:
        raw = small.spec.transform.inverse(inputs)
        torch.testing.assert_close(torch.tensor(hub["features"][:]), raw, atol=1e-6, rtol=1e-6)
    if small.label_kind != "hard":
        torch.testing.assert_close(torch.tensor(hub["soft_label"][:]), targets)


def test_a_long_list_column_is_cut_where_its_offsets_would_not_reach(monkeypatch):
    small = SETS["pixels-features"]
    whole = arrow_table(small)
    width = small.spec.shape[0]
    monkeypatch.setattr("decoct.compact.table.PIECE", 3 * width - 1)
    cut = arrow_table(small)
    sizes = [len(chunk) for chunk in cut["features"].chunks]
    assert max(sizes) == 2
    assert sum(sizes) == len(small)
    assert cut.schema.equals(whole.schema)
    assert cut.equals(whole)
    assert small.to_hf()["features"][:] == cut["features"].to_pylist()


def test_to_hf_without_datasets_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'decoct\[hf\]'"):
        SETS["pixels-8"].to_hf()
