"""Selecting from bad input through the command line: one typed screen, exit code 2, nothing lost, nothing left."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import blob_images

import decoct
from decoct.cli.main import main
from decoct.compact.load import load
from decoct.errors import OutputError

Refuse = Callable[..., dict[str, str]]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three classes of twenty rows, in a folder of its own that is the present one."""
    data = blob_images(classes=3, per_class=20, shape=(1, 6, 6))
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "blobs.npz", x=data.train.x, y=data.train.y)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return f"npz:{tmp_path / 'in' / 'blobs.npz'}"


@pytest.fixture
def refuse(capfd: pytest.CaptureFixture[str]) -> Refuse:
    """The error that a command ends with; nothing is left in the present folder but what was there."""

    def run(*arguments: str | Path) -> dict[str, str]:
        before = sorted(map(str, Path().rglob("*")))
        assert main([*map(str, arguments), "--json"]) == 2
        assert sorted(map(str, Path().rglob("*"))) == before
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return json.loads(said.out)["error"]

    return run


def train_rows(source: str) -> list[str]:
    return decoct.open(source).train.ids.tolist()


@pytest.mark.parametrize(
    ("spoil", "kind", "word"),
    [
        (lambda x: x * np.nan, "DataError", "NaN or infinity in 48 rows"),
        (lambda x: np.where(np.arange(48)[:, None] == 7, np.inf, x), "DataError", "first in row 7"),
        (np.ones_like, "DataError", "all the same"),
        (lambda x: x[:-1], "MismatchError", "one row for each of the 48 training rows"),
        (lambda x: x[:, 0], "DataError", "an array of shape [48]"),
        (lambda x: x[:, :0], "DataError", "an array of shape [48, 0]"),
    ],
    ids=["nan", "infinite", "constant", "short", "flat", "empty"],
)
def test_features_that_cannot_be_used(
    spoil: Callable[[Any], Any], kind: str, word: str, source: str, tmp_path: Path, refuse: Refuse
) -> None:
    good = np.random.default_rng(0).normal(size=(48, 4)).astype(np.float32)
    np.save(tmp_path / "in" / "f.npy", spoil(good))
    error = refuse("select", source, "--ipc", "2", "--features", f"npy:{tmp_path / 'in' / 'f.npy'}", "--out", "o")
    assert error["kind"].endswith(kind)
    assert word in error["received"] + error["expected"]


@pytest.mark.parametrize("method", ["herding", "k-means", "k-median", "semdedup", "hardest"])
def test_more_picks_or_clusters_than_rows(method: str, source: str, refuse: Refuse) -> None:
    error = refuse("select", source, "--method", method, "--ipc", "17", "--out", "o")
    assert error["kind"] == "BudgetError"
    assert "16" in error["received"] + error["expected"]
    assert refuse("select", source, "--method", method, "--count", "49", "--out", "o")["kind"] == "BudgetError"


@pytest.mark.parametrize("budget", ["--ipc 0", "--ipc -1", "--fraction 0", "--fraction 1.5", "--fraction nan",
                                    "--count 0", "", "--ipc 1 --count 3"])  # fmt: skip
def test_budgets_that_cannot_be(budget: str, source: str, refuse: Refuse) -> None:
    assert refuse("select", source, *budget.split(), "--out", "o")["kind"] in ("BudgetError", "ConfigError")


def test_as_many_clusters_as_rows_and_equal_rows_are_no_error(tmp_path: Path, source: str) -> None:
    assert main(["select", source, "--method", "k-means", "--ipc", "16", "--out", "all"]) == 0
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(2, 3)), 12, axis=0).astype(np.float32)
    np.savez(tmp_path / "in" / "twins.npz", x=x, y=np.arange(24) % 2)
    twins = f"npz:{tmp_path / 'in' / 'twins.npz'}"
    for method in ("k-means", "k-median", "herding", "k-center", "facility-location", "log-det", "semdedup"):
        out = f"twins-{method}"
        assert main(["select", twins, "--method", method, "--ipc", "4", "--out", out]) == 0
        assert len(set(decoct.load(out).indices.tolist())) == 8  # type: ignore[union-attr]


def scores_file(path: Path, ids: list[str], values: Any) -> Path:
    pq.write_table(pa.table({"id": ids, "mine": values}), path)
    return path


@pytest.mark.parametrize(
    ("spoil", "kind", "word"),
    [
        (lambda ids: (ids[:-3], [1.0] * 45), "MismatchError", "without 3 of the 48 training rows"),
        (lambda ids: ([*ids, ids[0]], [1.0] * 49), "DataError", "1 ids that occur twice"),
        (lambda ids: (ids, [1.0] * 47 + [float("nan")]), "DataError", "first in row 47"),
        (lambda ids: (ids, [1.0] * 47 + [float("-inf")]), "DataError", "first in row 47"),
        (lambda ids: (ids, [None] + [1.0] * 47), "DataError", "first in row 0"),
        (lambda ids: (ids, ["high"] * 48), "DataError", "none of numbers"),
    ],
    ids=["missing", "twice", "nan", "infinite", "null", "text"],
)
def test_score_files_that_cannot_be_used(
    spoil: Callable[[Any], Any], kind: str, word: str, source: str, tmp_path: Path, refuse: Refuse
) -> None:
    file = scores_file(tmp_path / "in" / "s.parquet", *spoil(train_rows(source)))
    line = ("select", source, "--method", "hardest", "--ipc", "1", "--out", "o")
    error = refuse(*line, "--score", "mine", "--scores", file)
    assert error["kind"] == kind
    assert word in error["received"]


def test_score_files_that_are_none(source: str, tmp_path: Path, refuse: Refuse) -> None:
    line = ("select", source, "--method", "hardest", "--ipc", "1", "--out", "o", "--scores")
    assert refuse(*line, tmp_path / "nowhere.parquet")["kind"] == "SourceError"
    (tmp_path / "in" / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    assert refuse(*line, tmp_path / "in" / "torn.parquet")["kind"] == "SourceError"
    good = scores_file(tmp_path / "in" / "s.parquet", train_rows(source), [1.0] * 48)
    assert refuse(*line, good, "--score", "yours")["kind"] == "UnknownNameError"


def test_a_class_without_training_rows(tmp_path: Path, source: str, refuse: Refuse) -> None:
    data = blob_images(classes=2, per_class=10, shape=(1, 4, 4))
    names = np.array(["a", "b", "nothing"])
    place = tmp_path / "in" / "gap.npz"
    np.savez(place, x=data.train.x, y=data.train.y, class_names=names)
    error = refuse("select", f"npz:{place}", "--ipc", "1", "--out", "o")
    assert error["kind"] == "DataError"
    assert "'nothing'" in error["received"]


def test_an_unknown_id_to_explain_comes_with_near_ones(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["select", source, "--ipc", "1", "--out", "o", "--explain", "all/9999", "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["kind"] == "UnknownNameError"
    # Told before anything is selected.
    assert not Path("o").exists()


def test_a_full_disk_loses_nothing(
    source: str, monkeypatch: pytest.MonkeyPatch, refuse: Refuse, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", source, "--ipc", "1", "--out", "good"]) == 0
    capfd.readouterr()
    before = {path.name: path.read_bytes() for path in Path("good").iterdir()}
    write = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if "selection" in self.name:
            write(self, content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    error = refuse("select", source, "--ipc", "1", "--out", "new")
    assert error["kind"] == "OutputError"
    assert "the disk is full" in error["received"]
    with pytest.raises(OutputError, match="the disk is full"):
        load("good").save(Path("good"))
    assert {path.name: path.read_bytes() for path in Path("good").iterdir()} == before
    # Over the finished result the same command has nothing to write.
    assert main(["select", source, "--ipc", "1", "--out", "good"]) == 0
    assert {path.name: path.read_bytes() for path in Path("good").iterdir()} == before


def test_killed_in_the_middle_the_same_command_starts_anew(source: str, tmp_path: Path) -> None:
    held = (
        "import sys, time; from decoct.selection import picking; pick = picking.pick_groups\n"
        "def slow(*a):\n    print('picking', flush=True); time.sleep(60)\n    return pick(*a)\n"
        "picking.pick_groups = slow; from decoct.cli.main import main; sys.stdout = sys.__stdout__\n"
        f"main(['select', {source!r}, '--ipc', '2', '--out', 'o'])"
    )
    with subprocess.Popen([sys.executable, "-c", held], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        line, until = "", time.monotonic() + 60
        while "picking" not in line and time.monotonic() < until:
            line = child.stderr.readline()
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not Path("o", "manifest.json").exists()
    assert main(["select", source, "--ipc", "2", "--out", "o"]) == 0
    assert len(decoct.load("o")) == 6
