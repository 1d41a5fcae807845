from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from compact_examples import coreset_of, distilled_of, examples
from PIL import Image
from toys import blob_images

import decoct.compact.decoders
from decoct.compact.coreset import Coreset
from decoct.compact.distilled import DistilledSet
from decoct.compact.load import load
from decoct.compact.spec_json import spec_from, spec_tensors, spec_to_json
from decoct.errors import ConfigError, IntegrityError
from decoct.registry import Registry

SETS = examples()


@pytest.mark.parametrize("name", SETS)
def test_a_set_comes_back_bit_for_bit(name, tmp_path):
    small = SETS[name]
    small.save(tmp_path / "set")
    back = load(str(tmp_path / "set"))
    assert type(back) is type(small)
    assert back.content_hash == small.content_hash
    for ours, theirs in zip(small.materialize(), back.materialize(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert back.provenance == small.provenance
    assert back.nbytes == small.nbytes
    assert back.spec.class_names == small.spec.class_names
    assert back.spec.shape == small.spec.shape
    assert back.spec.fingerprint == small.spec.fingerprint
    if isinstance(small, Coreset):
        assert isinstance(back, Coreset)
        assert back.ids.tolist() == small.ids.tolist()
        for part in ("indices", "scores", "classes", "weights", "raw"):
            assert torch.equal(getattr(back, part), getattr(small, part))
    else:
        assert isinstance(small, DistilledSet)
        assert isinstance(back, DistilledSet)
        assert (back.storage, back.config, back.learned) == (small.storage, small.config, small.learned)
        assert (back.label_kind, back.labels.dtype) == (small.label_kind, small.labels.dtype)


READ_ALONE = """
import re, sys
card = open("README.md", encoding="utf-8").read()
exec(re.search(r"```python\\n(.*?)```", card, re.S).group(1))
assert not {"decoct", "torch"} & set(sys.modules)
np.savez(sys.argv[1], inputs=inputs, labels=labels, weights=weights)
"""


@pytest.mark.parametrize("name", SETS)
def test_the_snippet_of_the_card_reads_the_set_without_decoct(name, tmp_path):
    small, folder = SETS[name], tmp_path / "set"
    small.save(folder)
    command = [sys.executable, "-c", READ_ALONE, str(tmp_path / "alone.npz")]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    alone = np.load(tmp_path / "alone.npz", allow_pickle=False)
    inputs, targets, weights = small.materialize()
    np.testing.assert_allclose(alone["inputs"], inputs.numpy(), atol=2e-5, rtol=2e-5)
    assert alone["inputs"].dtype == np.float32
    np.testing.assert_allclose(alone["labels"], targets.numpy(), atol=1e-6)
    assert np.array_equal(alone["weights"], weights.numpy())


def test_the_manifest_says_what_the_set_is(tmp_path):
    small = SETS["pixels-16-soft"]
    path = small.save(tmp_path)
    manifest = json.loads(path.read_text())
    assert manifest["kind"] == "distilled"
    assert manifest["content"] == small.content_hash
    assert manifest["rows"] == 6
    assert manifest["provenance"] == small.provenance
    assert "run" not in manifest
    assert manifest["bytes"] == {"images": 1260, "labels": 24, "decoder": 0, "total": 1284}
    assert manifest["spec"]["class_names"] == ["class 0", "class 1"]
    assert manifest["tensors"]["pixels"] == {"dtype": "F16", "shape": [6, 3, 5, 7]}
    assert set(manifest["files"]) == {"set.safetensors", "preview.png", "README.md"}


def test_the_manifest_hashes_itself_with_zeros_in_place_of_the_hash(tmp_path):
    content = SETS["coreset-grey"].save(tmp_path).read_bytes()
    digest = json.loads(content)["manifest_sha256"].encode()
    head, _, tail = content.rpartition(digest)
    assert hashlib.sha256(head + b"0" * 64 + tail).hexdigest().encode() == digest


def test_the_selection_is_a_plain_table(tmp_path):
    small = SETS["coreset-grey"]
    small.save(tmp_path)
    table = pq.read_table(tmp_path / "selection.parquet").to_pydict()
    assert table["rank"] == list(range(6))
    assert table["index"] == small.indices.tolist()
    assert table["id"] == small.ids.tolist()
    assert table["score"] == small.scores.tolist()


def test_scores_without_an_opinion_survive(tmp_path):
    scores = torch.tensor([float("inf"), float("nan"), -float("inf"), 0.0, 1.0, 2.0])
    replace(SETS["coreset-grey"], scores=scores).save(tmp_path)
    assert torch.equal(load(tmp_path).scores.nan_to_num(7), scores.nan_to_num(7))


def test_the_preview_has_a_row_of_images_for_each_class(tmp_path):
    small = SETS["pixels-8"]
    small.save(tmp_path)
    with Image.open(tmp_path / "preview.png") as preview:
        pixels = np.array(preview)
    height, width, gap = 48, 36, 2
    assert pixels.shape == (3 * (height + gap) + gap, 2 * (width + gap) + gap)
    second_of_class_1 = torch.nonzero(small.classes == 1).flatten()[1]
    top, left = gap + (height + gap), gap + (width + gap)
    tile = pixels[top : top + height : 6, left : left + width : 6]
    assert np.array_equal(tile, small.pictures()[second_of_class_1, :, :, 0].numpy())


def test_large_images_make_a_small_preview(tmp_path):
    distilled_of(blob_images(2, 4, (3, 8, 200)), stored=2).save(tmp_path)
    with Image.open(tmp_path / "preview.png") as preview:
        assert max(preview.size) < 120


def test_names_from_outside_stay_inside_their_cell_of_the_card(tmp_path):
    data = blob_images(2, 4, (1, 4, 4))
    spec = replace(data.spec, class_names=("a|`b`\n# x", "\udcff"), source='evil: "\n---\nlicense: mit')
    small = coreset_of(data, spec=spec)
    small.save(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\n# x" not in card
    assert card.count("\n---\n") == 1
    assert load(tmp_path).spec.class_names == spec.class_names
    assert load(tmp_path).spec.source == spec.source


def test_ids_that_are_no_unicode_are_escaped(tmp_path):
    small = replace(SETS["coreset-grey"], ids=np.array(["\udcff.png", *"abcde"]))
    small.save(tmp_path)
    assert load(tmp_path).ids.tolist() == ["\\udcff.png", *"abcde"]


def test_provenance_that_is_no_json_is_refused_and_nothing_is_left(tmp_path):
    small = replace(SETS["pixels-8"], provenance={"loss": float("nan")})
    with pytest.raises(ConfigError, match="plain JSON"):
        small.save(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_storage_of_a_missing_package_says_so(tmp_path, monkeypatch):
    table = Registry("decoder", {"shelf": "decoct.compact.decoders:pixels"})
    with monkeypatch.context() as patch:
        patch.setattr("decoct.compact.distilled.DECODERS", table)
        replace(SETS["pixels-8"], storage="shelf").save(tmp_path)
        assert len(load(tmp_path)) == 6
    with pytest.raises(IntegrityError, match="or install that package"):
        load(tmp_path)
    assert "shelf" not in decoct.compact.decoders.DECODERS


def test_what_was_decided_on_opening_travels_along(tmp_path) -> None:
    data = blob_images()
    spec = replace(data.spec, notices=("2 of 9 images could not be read: a|b.png", "cut from its 9"))
    coreset_of(data, spec=spec).save(tmp_path / "set")
    assert load(tmp_path / "set").spec.notices == spec.notices
    assert (
        "- `2 of 9 images could not be read: a b.png`\n- `cut from its 9`"
        in (tmp_path / "set" / "README.md").read_text()
    )


def test_a_manifest_without_notices_is_read_and_one_with_other_things_there_is_not() -> None:
    spec = blob_images().spec
    value = spec_to_json(spec)
    assert spec_from({name: own for name, own in value.items() if name != "notices"}, spec_tensors(spec)).notices == ()
    with pytest.raises(IntegrityError, match=r"spec\.notices that are no list of texts"):
        spec_from({**value, "notices": [1]}, spec_tensors(spec))
