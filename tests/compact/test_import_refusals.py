"""Foreign files that hold no usable images, or more than they say: each is refused in words, nothing crashes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import blob_images

from decoct.compact.imports import weights_only
from decoct.compact.imports.importing import import_set
from decoct.compact.imports.scaling import to_inputs
from decoct.compact.imports.weights_only import read_tensors
from decoct.errors import ConfigError, DataError, IntegrityError, MismatchError, SourceError

SPEC = blob_images(classes=3, per_class=4, shape=(3, 6, 6)).spec
GENERATOR = torch.Generator().manual_seed(0)
UNIT = torch.rand(6, 3, 6, 6, generator=GENERATOR)
CLASSES = torch.tensor([0, 0, 1, 1, 2, 2])


def saved(path: Path, images: object, labels: object = CLASSES) -> Path:
    torch.save({"images": images, "labels": labels}, path)
    return path


def deflated(path: Path) -> Path:
    """The same archive with its members packed, which torch reads as it reads others."""
    packed = path.with_name(f"packed-{path.name}")
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in plain.infolist():
            archive.writestr(member.filename, plain.read(member))
    return packed


@pytest.mark.parametrize("scale", ["auto", "unit", "bytes"])
@pytest.mark.parametrize("labels", [torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3)])
def test_no_images_at_all(tmp_path: Path, scale: str, labels: torch.Tensor) -> None:
    path = saved(tmp_path / "none.pt", UNIT[:0], labels)
    with pytest.raises(DataError, match=r"(?s)no images, a tensor of shape \[0, 3, 6, 6\].*at least one image"):
        import_set(path, SPEC, scale=scale)


def test_no_labels_for_some_images(tmp_path: Path) -> None:
    path = saved(tmp_path / "some.pt", UNIT, torch.zeros(0, dtype=torch.int64))
    with pytest.raises(MismatchError, match=r"labels of shape \[0\] for 6 images"):
        import_set(path, SPEC, scale="unit")


@pytest.mark.parametrize(
    ("images", "word"),
    [(UNIT.to_sparse(), "sparse_coo"), (UNIT.to(torch.complex64), "complex"), (UNIT.to("meta"), "meta")],
)
def test_tensors_that_are_no_plain_numbers(tmp_path: Path, images: torch.Tensor, word: str) -> None:
    path = saved(tmp_path / "odd.pt", images)
    with pytest.raises(SourceError, match=rf"(?s){word}.*dense tensors of real numbers.*to_dense"):
        import_set(path, SPEC, scale="unit")


def test_a_small_file_that_unpacks_to_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = torch.zeros(100, 1000)
    packed = deflated(saved(tmp_path / "large.pt", large))
    np.savez_compressed(tmp_path / "large.npz", images=large.numpy())
    for path in (packed, tmp_path / "large.npz"):
        assert path.stat().st_size < 10_000
        assert read_tensors(path)["images"].shape == (100, 1000), "within the limit they are read"
    monkeypatch.setattr(weights_only, "MOST_BYTES", 50_000)
    for path in (packed, tmp_path / "large.npz"):
        with pytest.raises(IntegrityError, match=r"(?s)unpacks to 40\d,\d{3} bytes.*at most 50,000"):
            read_tensors(path)


def test_true_and_false_are_one_and_zero() -> None:
    drawn = UNIT > 0.5
    for scale in ("auto", "unit"):
        assert torch.equal(to_inputs(drawn, scale, SPEC)[0], SPEC.transform(drawn.float()))


@pytest.mark.parametrize("kind", [torch.int16, torch.int64, torch.uint16])
def test_integers_beyond_bytes_are_no_bytes(kind: torch.dtype) -> None:
    picture = (UNIT * 1000).to(kind)
    with pytest.raises(ConfigError, match="(?s)on the scale 'bytes'.*values from 0 to 255"):
        to_inputs(picture, "auto", SPEC)
    fitting = (UNIT * 255).to(kind)
    assert torch.equal(to_inputs(fitting, "auto", SPEC)[0], SPEC.transform(fitting.float() / 255))


@pytest.mark.parametrize("factor", [0, -2, 7])
def test_a_factor_that_no_image_can_be_cut_by(tmp_path: Path, factor: int) -> None:
    path = saved(tmp_path / "grids.pt", UNIT)
    with pytest.raises(ConfigError, match=rf"(?s)factor={factor}.*a whole number from 1 to 6"):
        import_set(path, SPEC, scale="unit", factor=factor)


def test_lists_without_end_and_lists_that_double_are_refused(tmp_path: Path) -> None:
    endless: list[object] = [UNIT]
    endless.append(endless)
    doubling: list[object] = [UNIT]
    for _ in range(200):
        doubling = [doubling, doubling]
    for number, hostile in enumerate((endless, {"data": endless}, doubling)):
        torch.save(hostile, tmp_path / f"{number}.pt")
        with pytest.raises(IntegrityError, match=r"(?s)lists in lists, or one that holds itself.*at most 32 levels"):
            read_tensors(tmp_path / f"{number}.pt")
    few: list[object] = [UNIT]
    for _ in range(25):
        few = [few, few]
    torch.save(few, tmp_path / "few.pt")
    assert isinstance(read_tensors(tmp_path / "few.pt"), list), "2^25 ways to one tensor, which are not all walked"
    torch.save([few, UNIT[:1, :1].expand(600, 300, 6, 6)], tmp_path / "large.pt")
    with pytest.raises(IntegrityError, match="whose values all stand in the file"):
        read_tensors(tmp_path / "large.pt")
