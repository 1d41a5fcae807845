"""The page of rows to look at in a real browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_browser import SCHEMES, browse, chromium, width_and_pictures  # noqa: F401
from toys import blob_images

from decoct.report.examples import write_examples
from decoct.report.find import results_in
from decoct.report.html import write_report
from decoct.selection.features import features

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = blob_images(classes=3, per_class=20, shape=(3, 16, 16))
    scores = {name: torch.randn(60, generator=torch.Generator().manual_seed(seed)) for seed, name in
              enumerate(("el2n", "variability", "aum"))}  # fmt: skip
    return write_examples(tmp_path_factory.mktemp("rows") / "rows.html", data, scores, features(data, "pixels"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_screenshot_shows_the_rows(chromium: str, rows: Path, tmp_path: Path, scheme: str) -> None:  # noqa: F811
    picture = tmp_path / f"{scheme}.png"
    preference = f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"
    shot = f"--screenshot={picture}"
    browse(chromium, tmp_path / "profile", preference, "--window-size=1200,1600", shot, rows.as_uri())
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(float)
    paper = pixels[5, 5]
    assert paper.mean() > 240 if scheme == "light" else paper.mean() < 40
    inked = np.abs(pixels - paper).max(2) > 60
    assert all(0.005 < third.mean() < 0.7 for third in np.array_split(inked, 3))


@pytest.mark.parametrize("width", [320, 1200])
def test_the_rows_fit_the_width(chromium: str, rows: Path, tmp_path: Path, width: int) -> None:  # noqa: F811
    laid_out, pictures = width_and_pictures(chromium, rows, tmp_path, width)
    assert pictures == 4 * 24 + 2 * 24
    assert laid_out <= width


def test_the_galleries_of_a_report_fit_a_narrow_page(chromium: str, rows: Path, tmp_path: Path) -> None:  # noqa: F811
    report = write_report(tmp_path / "report.html", results_in(rows.parent))
    laid_out, pictures = width_and_pictures(chromium, report, tmp_path, 320)
    assert pictures == 4 * 24 + 2 * 24
    assert laid_out <= 320
