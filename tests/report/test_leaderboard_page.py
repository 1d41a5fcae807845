"""The page of a leaderboard: found in folders, escaped, sortable, and closed to the network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_toys import entry
from toys import blob_images

from decoct.cli.main import main
from decoct.errors import SourceError
from decoct.evaluation.leaderboard import leaderboard
from decoct.evaluation.matrix import Matrix
from decoct.evaluation.scorecard import Scorecard
from decoct.report.leaderboard import leaderboard_page, scorecards_in


def card(name: str, mean: float, protocol: str = "p") -> Scorecard:
    facts = {"source": "<b>toy</b>", "fingerprint": "f" * 64, "train": 9, "test": 3}
    return Scorecard((entry(name, mean, 100, 6),), {"name": "quick", "hash": protocol}, facts, {"content_hash": name})


def save(folder: Path, one: Scorecard) -> None:
    folder.mkdir(parents=True)
    one.save(folder / "scorecard.json")


def test_folders_and_folders_of_folders(tmp_path: Path) -> None:
    save(tmp_path / "runs" / "one", card("dm", 0.7))
    save(tmp_path / "runs" / "two", card("ridge", 0.8))
    (tmp_path / "runs" / "other").mkdir()
    Matrix({"protocol": card("ridge", 0.8), "none": card("ridge", 0.6, "q")}).save(tmp_path / "runs/two/matrix.json")
    found = scorecards_in([tmp_path / "runs"])
    assert [name for name, _ in found] == ["one", "two", "two"]
    assert scorecards_in([tmp_path / "runs" / "one"])[0][0] == "one"
    for empty in (tmp_path / "runs" / "other", tmp_path / "nowhere"):
        with pytest.raises(SourceError, match="looking for results"):
            scorecards_in([empty])


def test_the_page_is_closed_and_escaped() -> None:
    html = leaderboard_page(leaderboard([("<i>run</i>", card("<u>dm</u>", 0.7))]))
    assert "<b>toy" not in html
    assert "<u>dm" not in html
    assert "<i>run" not in html
    assert not re.search(r"https?://|src=", html)
    [script] = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert html.count("<button") == html.count('<th scope="col">') == 8
    assert re.search(r'data-key="0\.(7|69999)', html)


def test_the_page_names_what_a_gain_is_over() -> None:
    mine = replace(entry("ridge", 0.9, 100, 6), label_kind="scores")
    rivals = [entry(name, mean, 100, 6, kind="baseline") for name, mean in (("random", 0.5), ("random+teacher", 0.8))]
    one = replace(card("ridge", 0.9), entries=(mine, *rivals))
    html = leaderboard_page(leaderboard([("run", one)]))
    assert '+10.0 <span class="pm">± 0.0</span> <span class="pm">over random+teacher</span>' in html


def test_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = blob_images(classes=3, per_class=20)
    np.savez(tmp_path / "blobs.npz", x=data.train.x, y=data.train.y)
    source = f"npz:{tmp_path / 'blobs.npz'}"
    for method in ("random", "k-means"):
        out = str(tmp_path / "runs" / method)
        assert main(["select", source, "--method", method, "--ipc", "2", "--out", out, "--features", "pixels"]) == 0
        line = ["evaluate", out, "--data", source, "--networks", "mlp", "--seeds", "2", "--baselines", "random"]
        assert main(line) == 0
    capfd.readouterr()
    page = tmp_path / "page.html"
    assert main(["leaderboard", str(tmp_path / "runs"), "--out", str(page), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    [table] = told["tables"]
    assert {place["label"] for place in table["places"]} == {"random", "k-means"}
    assert len(table["places"]) == 3
    assert [place["mean"] for place in table["places"]] == sorted((p["mean"] for p in table["places"]), reverse=True)
    assert page.read_text().startswith("<!doctype html>")
    assert main(["leaderboard"]) == 2
    assert "decoct leaderboard runs/*" in capfd.readouterr().err
