"""Published sets read back from every layout of the field, and nothing in a file ever run."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from toys import blob_images

from decoct.compact.imports.importing import assumptions, import_set
from decoct.compact.imports.scaling import FIELD, to_inputs
from decoct.compact.imports.weights_only import read_tensors
from decoct.compact.load import load
from decoct.data.transform import Standardise, Zca
from decoct.errors import ConfigError, DataError, IntegrityError, MismatchError, SourceError

DATA = blob_images(classes=3, per_class=4, shape=(3, 6, 6))
SPEC = DATA.spec
GENERATOR = torch.Generator().manual_seed(0)
UNIT = torch.rand(6, 3, 6, 6, generator=GENERATOR)
CLASSES = torch.tensor([0, 0, 1, 1, 2, 2])
MEAN, STD = (torch.tensor(part).reshape(1, 3, 1, 1) for part in FIELD["cifar10"])
PUBLISHED = (UNIT - MEAN) / STD
SOFT = torch.rand(6, 3, generator=GENERATOR).softmax(1)


def check(small: Any, unit: Tensor = UNIT) -> None:
    """The rows are those pictures, in the inputs of these data, within a step of 8 bits."""
    inputs, _, _ = small.materialize()
    expected = SPEC.transform(unit)
    assert inputs.shape == expected.shape
    step = (expected.amax((0, 2, 3)) - expected.amin((0, 2, 3))).max() / 255
    assert float((inputs - expected).abs().max()) <= float(step)


def test_dc_dsa_and_dm(tmp_path: Path) -> None:
    """`{"data": [[images, labels], ...], ...}`, with the numpy numbers that the scripts leave beside it."""
    accuracies = {"ConvNet": [np.float64(0.45), np.float32(0.5), np.int64(3)]}
    entries = [[PUBLISHED * 0, CLASSES.flip(0)], [PUBLISHED, CLASSES]]
    torch.save({"data": entries, "accs_all_exps": accuracies}, tmp_path / "res_DSA.pt")
    small = import_set(tmp_path / "res_DSA.pt", SPEC, scale="cifar10", experiment=1)
    check(small)
    assert torch.equal(small.labels, CLASSES)
    assert small.label_kind == "hard"
    assert small.nbytes.images == 6 * 108
    assert small.provenance["name"] == "res_DSA"
    assert small.provenance["imported"]["layout"] == "experiment 1 of 2"
    assert any("class numbers" in told for told in assumptions(small))
    with pytest.raises(SourceError, match="experiment 2 of 2"):
        import_set(tmp_path / "res_DSA.pt", SPEC, scale="cifar10", experiment=2)


def test_the_old_form_of_torch_files_and_numpy_1(tmp_path: Path) -> None:
    path = tmp_path / "res.pt"
    torch.save({"data": [[PUBLISHED, CLASSES]], "acc": np.float64(0.5)}, path, _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    check(import_set(path, SPEC, scale="cifar10"))


def test_mtt_and_datm(tmp_path: Path) -> None:
    """Images, labels and step size in files named alike; a folder means the best, else the last of them."""
    torch.save(PUBLISHED, tmp_path / "images_500.pt")
    torch.save(CLASSES, tmp_path / "labels_500.pt")
    torch.save(PUBLISHED * 0, tmp_path / "images_90.pt")
    check(import_set(tmp_path, SPEC, scale="cifar10"))
    torch.save(PUBLISHED.flip(0), tmp_path / "images_best.pt")
    torch.save(SOFT.log() + 3, tmp_path / "labels_best.pt")
    torch.save(torch.tensor(0.03), tmp_path / "lr_best.pt")
    with pytest.raises(ConfigError, match="DATM: logits"):
        import_set(tmp_path, SPEC, scale="cifar10")
    small = import_set(tmp_path, SPEC, scale="cifar10", labels="logits")
    check(small, UNIT.flip(0))
    torch.testing.assert_close(small.labels.float(), SOFT, atol=1e-3, rtol=0)
    assert small.learned == {"lr": pytest.approx(0.03)}
    assert small.provenance["name"] == tmp_path.name


def test_idc_grids(tmp_path: Path) -> None:
    torch.save([UNIT, CLASSES], tmp_path / "data_best.pt")
    small = import_set(tmp_path / "data_best.pt", SPEC, scale="unit", factor=2)
    assert len(small) == 24
    assert small.nbytes.images == 6 * 108
    assert torch.equal(small.labels, CLASSES.repeat_interleave(4))
    corner = torch.nn.functional.interpolate(SPEC.transform(UNIT)[:1, :, :3, :3], (6, 6), mode="bilinear")
    torch.testing.assert_close(small.decode(torch.tensor([0])), corner, atol=0.05, rtol=0)


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_dictionaries_of_tensors(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"frepo{suffix}"
    scores = SOFT - 1 / 3
    if suffix == ".npz":
        np.savez(path, x_proto=UNIT.permute(0, 2, 3, 1).numpy(), y_proto=scores.numpy(), step=np.int64(5))
    elif suffix == ".pt":
        torch.save({"images": UNIT, "labels": scores}, path)
    else:
        save_file({"x": UNIT, "y": scores}, path)
    small = import_set(path, SPEC, scale="unit", labels="scores", bits=32)
    check(small)
    assert small.label_kind == "scores"
    torch.testing.assert_close(small.labels.float(), scores, atol=1e-3, rtol=0)
    assert small.nbytes.images == 4 * 6 * 108


def _write_folders(folder: Path, names: list[str]) -> Tensor:
    raw = (UNIT * 255).round().to(torch.uint8)
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            picture = raw[2 * place + number].permute(1, 2, 0).numpy()
            Image.fromarray(picture).save(folder / name / f"id{number:03d}.png")
    return raw.float() / 255


@pytest.mark.parametrize("names", [["class 0", "class 1", "class 2"], ["new000", "new001", "new002"]])
def test_class_folders(tmp_path: Path, names: list[str]) -> None:
    unit = _write_folders(tmp_path, names)
    small = import_set(tmp_path, SPEC)
    check(small, unit)
    assert torch.equal(small.labels, CLASSES)
    np.savez(tmp_path / "labels.npz", labels=SOFT.numpy())
    soft = import_set(tmp_path, SPEC)
    assert soft.label_kind == "probabilities"
    assert torch.equal(soft.classes, CLASSES), "the folder says the class, not the largest entry"
    np.savez(tmp_path / "labels.npz", labels=SOFT[:5].numpy())
    with pytest.raises(MismatchError, match=r"\[6, 3\]"):
        import_set(tmp_path, SPEC)


def test_the_order_of_class_folders_is_never_guessed(tmp_path: Path) -> None:
    _write_folders(tmp_path / "a", ["cat", "class 1", "class 2"])
    with pytest.raises(MismatchError, match="among them cat"):
        import_set(tmp_path / "a", SPEC)
    _write_folders(tmp_path / "b", ["new0", "new1", "new3"])
    with pytest.raises(MismatchError, match="never guessed"):
        import_set(tmp_path / "b", SPEC)
    _write_folders(tmp_path / "c", ["class 0", "class 1"])
    (tmp_path / "c" / "class 2").mkdir()
    with pytest.raises(SourceError, match="no picture of 1 classes"):
        import_set(tmp_path / "c", SPEC)
    _write_folders(tmp_path / "d", ["class 0", "class 1", "class 2"])
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "d" / "class 0" / "id000.png")
    with pytest.raises(MismatchError, match="--size 9x9"):
        import_set(tmp_path / "d", SPEC)
    (tmp_path / "d" / "class 0" / "id000.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match="cannot be read"):
        import_set(tmp_path / "d", SPEC)


class Evil:
    def __reduce__(self) -> Any:
        return (exec, ("import pathlib; pathlib.Path('RAN').touch()",))


@pytest.mark.parametrize("form", ["new", "old", "plain", "numpy"])
def test_pickled_code_is_refused_and_never_run(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ("x.npz" if form == "numpy" else "x.pt")
    if form == "numpy":
        np.savez(path, images=np.array([Evil()], dtype=object))
    elif form == "plain":
        path.write_bytes(pickle.dumps({"images": Evil()}, protocol=2))
    else:
        torch.save({"images": Evil()}, path, _use_new_zipfile_serialization=form == "new")
    with pytest.raises(IntegrityError) as caught:
        import_set(path, SPEC, scale="unit")
    assert "never" in str(caught.value) or "a whole file" in str(caught.value)
    assert not (tmp_path / "RAN").exists()
    if form == "new":
        assert "exec" in caught.value.received
        assert "code in a file is never run" in caught.value.expected


def test_a_few_bytes_never_become_gigabytes(tmp_path: Path) -> None:
    torch.save({"images": torch.zeros(1).expand(10_000, 3, 64, 64)}, tmp_path / "x.pt")
    with pytest.raises(IntegrityError, match="over 4 bytes"):
        read_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_damaged_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"\x80\x02 nothing of the kind" * 3)
    with pytest.raises(IntegrityError):
        read_tensors(path)
    for missing in (tmp_path / "no.pt", tmp_path / "no.gz"):
        with pytest.raises(SourceError, match="no such file"):
            read_tensors(missing)
    (tmp_path / "x.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="ending in .gz"):
        read_tensors(tmp_path / "x.gz")


@pytest.mark.parametrize(
    ("content", "options", "error", "words"),
    [
        ({"images": UNIT, "labels": CLASSES}, {}, ConfigError, "the name of their scale"),
        ({"images": UNIT, "labels": CLASSES}, {"scale": "cifar11"}, ConfigError, "scale 'cifar11'"),
        ({"images": PUBLISHED, "labels": CLASSES}, {"scale": "bytes"}, ConfigError, "0 to 255"),
        ({"images": UNIT, "labels": CLASSES}, {"scale": "zca"}, ConfigError, "--whiten"),
        ({"images": UNIT[:, :, :5], "labels": CLASSES}, {"scale": "unit"}, MismatchError, r"\[6, 3, 5, 6\]"),
        ({"images": UNIT, "labels": CLASSES + 1}, {"scale": "unit"}, MismatchError, "from 1 to 3"),
        ({"images": UNIT, "labels": CLASSES[:5]}, {"scale": "unit"}, MismatchError, r"labels of shape \[5\]"),
        ({"images": UNIT, "labels": SOFT[:, :2]}, {"scale": "unit"}, MismatchError, r"\[6, 2\]"),
        ({"images": UNIT}, {"scale": "unit"}, ConfigError, "6 images without labels"),
        ({"images": UNIT[:5]}, {"scale": "unit", "labels": "ordered"}, ConfigError, "multiple of 3"),
        ({"images": UNIT / 0, "labels": CLASSES}, {"scale": "unit"}, DataError, "NaN or infinite"),
        ({"images": UNIT, "labels": SOFT / 0}, {"scale": "unit", "labels": "logits"}, DataError, "infinite labels"),
        ({"images": UNIT, "labels": SOFT * 2}, {"scale": "unit", "labels": "probabilities"}, ConfigError, "sum to 2"),
        ({"images": UNIT, "labels": SOFT}, {"scale": "unit", "labels": "soft"}, ConfigError, "labels='soft'"),
        ({"pictures": UNIT}, {"scale": "unit"}, SourceError, "a dictionary with pictures"),
        ([UNIT, CLASSES, CLASSES], {"scale": "unit"}, SourceError, "3 parts"),
        ("text", {"scale": "unit"}, SourceError, "a str"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(
    content: Any, options: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(error, match=words):
        import_set(tmp_path / "x.pt", SPEC, **options)


def test_ordered_rows_and_bytes(tmp_path: Path) -> None:
    torch.save((UNIT * 255).round().to(torch.uint8), tmp_path / "x.pt")
    small = import_set(tmp_path / "x.pt", SPEC, labels="ordered", name="theirs")
    check(small, (UNIT * 255).round() / 255)
    assert torch.equal(small.labels, CLASSES)
    assert small.provenance["name"] == "theirs"
    assert "class by class" in assumptions(small)[0]


def test_a_scale_that_makes_no_pictures_is_told(tmp_path: Path) -> None:
    torch.save({"images": PUBLISHED * 3, "labels": CLASSES}, tmp_path / "x.pt")
    told = assumptions(import_set(tmp_path / "x.pt", SPEC, scale="unit"))
    assert any("is it the right one?" in one for one in told)


def test_whitened_images_are_said_to_be_whitened() -> None:
    whitening = Zca(Standardise(torch.zeros(3), torch.ones(3)), torch.zeros(108), torch.eye(108), torch.eye(108))
    inputs, told = to_inputs(PUBLISHED, "zca", replace(SPEC, transform=whitening))
    assert torch.equal(inputs, PUBLISHED)
    assert "authors' matrix, which is not in the file" in told[0]


def test_an_imported_set_is_saved_and_read_like_any_other(tmp_path: Path) -> None:
    torch.save({"images": UNIT, "labels": SOFT}, tmp_path / "x.pt")
    small = import_set(tmp_path / "x.pt", SPEC, scale="unit")
    small.save(tmp_path / "set")
    again = load(tmp_path / "set")
    assert again.content_hash == small.content_hash
    assert again.provenance["imported"]["files"]["x.pt"]
