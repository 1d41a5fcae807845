"""The page in a real browser: not blank, no sideways scrolling, light and dark, wide and narrow."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_toys import toy_contents

from decoct.report.page import page

pytestmark = pytest.mark.browser

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
SCHEMES = {"dark": 0, "light": 1}


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no browser: Debian's chromium is not installed (apt-get install chromium)")
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(toy_contents()), encoding="utf-8")
    return path


def browse(chromium: str, profile: Path, *arguments: str) -> str:
    command = [chromium, *QUIET, f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_screenshot_shows_a_page(chromium: str, report: Path, tmp_path: Path, scheme: str) -> None:
    picture = tmp_path / f"{scheme}.png"
    preference = f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"
    browse(
        chromium,
        tmp_path / "profile",
        preference,
        "--window-size=1200,1500",
        f"--screenshot={picture}",
        report.as_uri(),
    )
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(float)
    assert pixels.shape == (1500, 1200, 3)
    paper = pixels[5, 5]
    assert paper.mean() > 240 if scheme == "light" else paper.mean() < 40
    # Text, lines and marks cover some of the paper in every third of the page, and colours are among them.
    inked = np.abs(pixels - paper).max(2) > 60
    for third in np.array_split(inked, 3):
        assert 0.002 < third.mean() < 0.4
    spread = pixels.max(2) - pixels.min(2)
    assert (spread > 80).mean() > 0.0005


def width_and_pictures(chromium: str, page: Path, folder: Path, width: int) -> tuple[int, int]:
    """How wide the page is laid out in a frame of that width, and how many pictures it has."""
    text = page.read_text(encoding="utf-8")
    # The page itself forbids scripts, so a copy without that line is measured, in a frame of the wanted width.
    open_copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    measure = "const d = this.contentDocument; document.title = d.documentElement.scrollWidth + '/' + d.images.length"
    frame = (
        f'<iframe width="{width}" height="900" onload="{measure}" style="border:0" srcdoc="{html.escape(open_copy)}">'
    )
    outer = folder / "outer.html"
    outer.write_text(f"<!doctype html><title>0</title>{frame}</iframe>", encoding="utf-8")
    dom = browse(chromium, folder / "profile", "--window-size=1300,1000", "--dump-dom", outer.as_uri())
    title = re.search(r"<title>(\d+)/(\d+)</title>", dom)
    assert title is not None
    return int(title.group(1)), int(title.group(2))


@pytest.mark.parametrize("width", [320, 400, 800, 1200])
def test_nothing_sticks_out_sideways(chromium: str, report: Path, tmp_path: Path, width: int) -> None:
    laid_out, pictures = width_and_pictures(chromium, report, tmp_path, width)
    assert pictures > 100
    assert laid_out <= width
