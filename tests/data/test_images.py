from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from decoct.data.images import UNREADABLE, Look, common_look, decode, look, refit

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def stored(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_lossless_pixels_come_through():
    out = decode(stored(Image.fromarray(COLOUR)), (6, 9), "rgb")
    np.testing.assert_array_equal(out, COLOUR.transpose(2, 0, 1))
    gray = COLOUR[..., 0]
    np.testing.assert_array_equal(decode(stored(Image.fromarray(gray)), (6, 9), "gray")[0], gray)
    np.testing.assert_array_equal(decode(stored(Image.fromarray(gray)), (6, 9), "rgb"), np.stack([gray] * 3))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I"])
@pytest.mark.parametrize("asked", ["gray", "rgb"])
def test_any_mode_becomes_eight_bits(mode, asked):
    image = Image.new("I;16", (9, 6), 32896) if mode == "I;16" else Image.new("L", (9, 6), 128)
    image = image if mode == "I;16" else Image.new("I", (9, 6), 32896) if mode == "I" else image.convert(mode)
    kind = "TIFF" if mode in ("CMYK", "I") else "PNG"
    out = decode(stored(image, kind), (6, 9), asked)
    assert out.shape == ({"gray": 1, "rgb": 3}[asked], 6, 9)
    assert out.dtype == np.uint8
    assert set(np.unique(out)) <= {0, 255} if mode == "1" else np.abs(out.astype(int) - 128).max() <= 2


def test_transparency_is_laid_over_white():
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert decode(stored(clear), (4, 4), "rgb").min() == 255
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    assert decode(stored(palette, transparency=1), (4, 4), "gray").min() == 255


def test_photographs_are_turned_upright():
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 4:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    file = stored(Image.fromarray(wide), exif=exif)
    assert look(file) == Look(8, 4, gray=True)
    np.testing.assert_array_equal(decode(file, (8, 4), "gray")[0], np.rot90(wide, -1))


def test_a_tiff_is_measured_as_it_is_decoded():
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 4:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    file = stored(Image.fromarray(wide), "TIFF", exif=exif)
    assert look(file) == Look(8, 4, gray=True)
    np.testing.assert_array_equal(decode(file, (8, 4), "gray")[0], np.rot90(wide, -1))


def test_other_proportions_are_cropped_at_the_centre():
    strip = np.zeros((10, 30), np.uint8)
    strip[:, 10:20] = 200
    out = decode(stored(Image.fromarray(strip)), (10, 10), "gray")
    np.testing.assert_array_equal(out, np.full((1, 10, 10), 200))


def test_large_jpegs_are_decoded_at_the_right_size():
    gradient = np.tile(np.linspace(0, 255, 640, dtype=np.uint8), (480, 1))
    out = decode(stored(Image.fromarray(gradient), "JPEG"), (32, 32), "gray")[0].astype(float)
    expected = np.asarray(Image.fromarray(gradient).crop((80, 0, 560, 480)).resize((32, 32), Image.Resampling.BOX))
    assert np.abs(out - expected).max() < 6


def test_refit_changes_size_and_mode():
    rows = RNG.integers(0, 256, (3, 3, 6, 9), dtype=np.uint8)
    assert refit(rows, (4, 4), "gray").shape == (3, 1, 4, 4)
    np.testing.assert_array_equal(refit(rows, (6, 9), "rgb"), rows)
    np.testing.assert_array_equal(refit(rows[:, :1], (6, 9), "rgb")[:, 2], rows[:, 0])


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]),
    place=st.floats(0, 1),
    value=st.integers(0, 255),
    cut=st.booleans(),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_never_raise_anything_else(kind, place, value, cut):
    file = bytearray(stored(Image.fromarray(COLOUR), kind))
    at = int(place * (len(file) - 1))
    file[at] = value
    try:
        out = decode(bytes(file[:at] if cut else file), (6, 6), "rgb")
    except UNREADABLE:
        return
    assert out.shape == (3, 6, 6)


def test_equal_images_are_kept_as_they_are():
    assert common_look([Look(20, 30, gray=True)] * 3, None, None) == ((20, 30), "gray", [])


def test_different_sizes_become_a_square_with_a_notice():
    size, mode, notices = common_look([Look(500, 300, gray=False), Look(200, 300, gray=True)], None, None)
    assert (size, mode) == ((64, 64), "rgb")
    assert "1 of 2 images are gray" in notices[0]
    assert "2 different sizes (most often 500x300)" in notices[1]
    assert "64x64; choose another with size" in notices[1]
    assert common_look([Look(20, 30, gray=True), Look(33, 40, gray=True)], None, None)[0] == (32, 32)
    assert common_look([Look(1000, 2000, gray=True)] * 2, None, None)[0] == (64, 64)
    assert common_look([Look(1000, 2000, gray=True)], (7, 8), "rgb") == ((7, 8), "rgb", [])
