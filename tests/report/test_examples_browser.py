"""The page of rows to look at in a real browser."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_browser import SCHEMES, browse, chromium  # noqa: F401
from toys import blob_images

from decoct.report.examples import write_examples
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
    text = rows.read_text(encoding="utf-8")
    open_copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    measure = "const d = this.contentDocument; document.title = d.documentElement.scrollWidth + '/' + d.images.length"
    frame = (
        f'<iframe width="{width}" height="900" onload="{measure}" style="border:0" srcdoc="{html.escape(open_copy)}">'
    )
    outer = tmp_path / "outer.html"
    outer.write_text(f"<!doctype html><title>0</title>{frame}</iframe>", encoding="utf-8")
    dom = browse(chromium, tmp_path / "profile", "--window-size=1300,1000", "--dump-dom", outer.as_uri())
    title = re.search(r"<title>(\d+)/(\d+)</title>", dom)
    assert title is not None
    assert int(title.group(2)) == 4 * 24 + 2 * 24
    assert int(title.group(1)) <= width
