"""Montages hold the pictures they say, and heat maps the labels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from report_toys import toy_gallery, toy_heat

from decoct.report.contents import Heat
from decoct.report.gallery import ACROSS, LADDER, Quality, gallery_html, gallery_pngs, heat_html, heat_png, montage

NAMES = tuple("0123456789")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_montage_shows_every_picture_as_it_is(channels: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (7, 6, 9, channels), dtype=np.uint8)
    sheet = pixels(montage(pictures, LADDER[0]))
    assert sheet.shape == (2 * 6 + 1, ACROSS * 9 + ACROSS - 1, 4)
    for place, picture in enumerate(pictures):
        top, left = place // ACROSS * 7, place % ACROSS * 10
        tile = sheet[top : top + 6, left : left + 9]
        np.testing.assert_array_equal(tile[..., :3], np.broadcast_to(picture, (6, 9, 3)))
        assert (tile[..., 3] == 255).all()
    assert (sheet[6, :, 3] == 0).all()


def test_large_pictures_are_made_smaller() -> None:
    sheet = pixels(montage(np.full((1, 100, 50, 3), 200, np.uint8), Quality(20, 0, 10)))
    assert sheet.shape == (20, 10, 4)
    assert (sheet[..., :3] == 200).all()


def test_no_pictures_are_a_clear_pixel() -> None:
    assert (pixels(montage(np.zeros((0, 8, 8, 1), np.uint8), LADDER[0]))[..., 3] == 0).all()


def test_the_budget_is_kept_by_drawing_less_finely() -> None:
    gallery = toy_gallery(NAMES, 10, side=64, channels=3)
    free = sum(map(len, gallery_pngs([gallery], 10**9).values()))
    assert free > 5_000_000
    assert sum(map(len, gallery_pngs([gallery], 200_000).values())) <= 200_000


def test_the_table_has_a_row_for_each_class_and_says_what_it_shows() -> None:
    gallery = toy_gallery(NAMES, 10)
    pngs = {(c, k): png for (_, c, k), png in gallery_pngs([gallery]).items()}
    html = gallery_html(gallery, pngs)
    assert html.count("<img ") == 60
    assert html.count('<th scope="row">') == 10
    assert 'alt="real, class 3: 10 of 143 images"' in html
    assert 'alt="dm, class 3: 10 of 10 images"' in html


def test_heat_is_opacity_and_sign_is_colour() -> None:
    values = np.array([[1.0, -0.5], [0.0, 0.25]], np.float32)
    heat = Heat("t", values, ("a", "b"), ("a", "b"), "scores")
    sheet = pixels(heat_png(heat))
    assert sheet[..., 3].tolist() == [[255, 128], [0, 64]]
    assert tuple(sheet[0, 0, :3]) != tuple(sheet[0, 1, :3])
    assert tuple(sheet[0, 0, :3]) == tuple(sheet[1, 1, :3])


def test_equal_labels_draw_no_warning_and_all_zero_is_clear() -> None:
    heat = Heat("t", np.zeros((3, 2), np.float32), ("a",) * 3, ("a", "b"), "scores")
    assert (pixels(heat_png(heat))[..., 3] == 0).all()


def test_the_heat_map_is_named_by_class() -> None:
    html = heat_html(toy_heat(NAMES, 10))
    assert html.count('style="flex:10"') == 10
    assert 'alt="ridge, 10 per class: 100 images down, 10 classes across"' in html
    many = heat_html(toy_heat(tuple(f"c{k}" for k in range(40)), 2, "probabilities"))
    assert "40 classes" in many
    assert "80 images" in many
