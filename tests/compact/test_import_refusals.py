"""Foreign files that hold no usable images, or more than they say: each is refused in words, nothing crashes."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import blob_images

from decoct.compact.imports import weights_only
from decoct.compact.imports.importing import import_set
from decoct.compact.imports.numpy_numbers import NumberType, scalar
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


def altered(whole: bytes, places: int) -> Iterator[bytes]:
    """The file cut short, and with one byte changed, at so many places."""
    for place in range(0, len(whole), len(whole) // places):
        yield whole[:place]
        for byte in (0x00, 0x21, whole[place] ^ 0x01, 0xFF):
            yield whole[:place] + bytes([byte]) + whole[place + 1 :]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["old", "new", "packed", "plain"])
def test_a_damaged_file_is_a_typed_error_wherever_it_breaks(form: str, tmp_path: Path) -> None:
    path, refused = tmp_path / ("x.pt" if form in ("old", "new") else "x.npz"), 0
    content = {"data": [[UNIT[:1, :1, :2, :2].clone(), CLASSES[:1].clone()]], "acc": [np.float64(0.5)], "name": "x"}
    if form in ("old", "new"):
        torch.save(content, path, _use_new_zipfile_serialization=form == "new")
    else:
        (np.savez_compressed if form == "packed" else np.savez)(path, x=UNIT[:2].numpy(), y=CLASSES[:2].numpy())
    for damaged in altered(path.read_bytes(), 60):
        path.write_bytes(damaged)
        try:
            read_tensors(path)
        except IntegrityError:
            refused += 1
    assert refused > 60


@pytest.mark.parametrize(
    ("found", "put", "told"),
    [
        (b"latin1", b"la!in1", "LookupError: unknown encoding: la!in1"),
        (b"NNNJ", b"M\x4e\x4eJ", "numpy.dtype with parts"),
        (b"f8", b"O8", "numpy.dtype 'O8', which is no plain number"),
    ],
)
def test_pickles_of_numpy_numbers_that_were_altered(tmp_path: Path, found: bytes, put: bytes, told: str) -> None:
    """Of those with other parts numpy would follow what stands there, and the process would end."""
    torch.save({"x": UNIT, "acc": np.float64(0.5)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    raw = (tmp_path / "x.pt").read_bytes()
    assert found in raw
    (tmp_path / "x.pt").write_bytes(raw.replace(found, put))
    with pytest.raises(IntegrityError, match=told):
        read_tensors(tmp_path / "x.pt")


def test_numbers_of_numpy_become_plain_ones(tmp_path: Path) -> None:
    numbers = [np.float64(0.5), np.float32(0.25), np.int8(-3), np.uint64(2**63), np.bool_(True)]
    torch.save(numbers, tmp_path / "x.pt")
    found = read_tensors(tmp_path / "x.pt")
    assert found == [0.5, 0.25, -3, 2**63, True]
    assert [type(one) for one in found] == [float, float, int, int, bool]
    kind = NumberType("i4")
    assert scalar(kind, "\x07\0\0\0") == 7, "as Python 2 wrote it"
    kind.__setstate__((3, ">", None, None, None, -1, -1, 0))
    assert scalar(kind, b"\0\0\0\x07") == 7, "as another machine wrote it"


def test_a_damaged_file_of_the_old_form_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"x": UNIT}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"little_endian") - 3])
    with pytest.raises(IntegrityError, match=r"(?s)received: error: unpack.*a whole file.*take a fresh copy"):
        read_tensors(path)
    last = whole.rindex(re.findall(rb"X....(\d{4,})", whole, re.DOTALL)[-1])
    path.write_bytes(whole[:last] + b"x" + whole[last + 1 :])
    with pytest.raises(IntegrityError, match=r"(?s)AssertionError: storage key .*take a fresh copy"):
        read_tensors(path)


def test_what_is_refused_stands_in_the_words(tmp_path: Path) -> None:
    torch.save({"x": UNIT, "acc": np.complex64(1j)}, tmp_path / "x.pt")
    with pytest.raises(IntegrityError, match=r"more than tensors and numbers: numpy.dtype 'c8', which is no plain"):
        read_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.uint64, np.int16, np.float16])
def test_class_numbers_of_every_type(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, images=UNIT.numpy(), labels=CLASSES.numpy().astype(kind))
    assert torch.equal(import_set(path, SPEC, scale="unit").labels, CLASSES)
    np.savez(path, images=UNIT.numpy(), labels=CLASSES.numpy().astype(kind) + kind(1))
    with pytest.raises(MismatchError, match="from 1 to 3 for 6 images"):
        import_set(path, SPEC, scale="unit")


@pytest.mark.parametrize("meaning", ["scores", "probabilities", "logits"])
def test_one_number_a_row_is_no_soft_label(tmp_path: Path, meaning: str) -> None:
    for labels in (CLASSES, CLASSES[:, None], CLASSES.float()):
        with pytest.raises(ConfigError, match=rf"(?s)labels='{meaning}' for .* \[6\].*soft labels, 3 numbers a row"):
            import_set(saved(tmp_path / "x.pt", UNIT, labels), SPEC, scale="unit", labels=meaning)
    assert import_set(saved(tmp_path / "x.pt", UNIT), SPEC, scale="unit", labels="hard").label_kind == "hard"


def test_rows_with_labels_are_not_ordered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)labels='ordered' and labels of shape \[6\].*images without labels"):
        import_set(saved(tmp_path / "x.pt", UNIT), SPEC, scale="unit", labels="ordered")


def test_an_experiment_of_a_layout_that_holds_one(tmp_path: Path) -> None:
    saved(tmp_path / "named.pt", UNIT)
    torch.save(UNIT, tmp_path / "images_best.pt")
    torch.save([UNIT, CLASSES], tmp_path / "two.pt")
    for name in SPEC.class_names:
        (tmp_path / "folders" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(tmp_path / "folders" / name / "a.png")
    for name in ("named.pt", "images_best.pt", "two.pt", ".", "folders"):
        for experiment in (3, -1):
            with pytest.raises(ConfigError, match=rf"(?s)experiment {experiment} of a layout that holds one set.*DC"):
                import_set(tmp_path / name, SPEC, scale="unit", experiment=experiment)
