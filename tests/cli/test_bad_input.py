"""Bad input from end to end: a typed error on one screen, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import blob_features, blob_images, saved_npz

from decoct.cli.main import main
from decoct.distillation.run import Distillation

SMALL = ("--network", "convnet2-w4", "--steps", "2")
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DECOCT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images(tmp_path: Path) -> str:
    return _saved(tmp_path / "images.npz")


@pytest.fixture
def features(tmp_path: Path) -> str:
    data = blob_features()
    np.savez(tmp_path / "features.npz", x=data.train.x, y=data.train.y)
    return f"npz:{tmp_path / 'features.npz'}"


def _saved(path: Path, classes: int = 3, shape: tuple[int, int, int] = (1, 8, 8)) -> str:
    return saved_npz(blob_images(classes=classes, shape=shape), path)


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Run a command that must fail with 2 and leave the folder as it was; returns what it said."""

    def run(*arguments: str | Path) -> str:
        capfd.readouterr()
        before = _listing(tmp_path)
        assert main([*map(str, arguments)]) == 2
        said = capfd.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert "what to do: " in said.err
        assert len(said.err.splitlines()) <= 22
        assert _listing(tmp_path) == before
        return said.err

    return run


def _listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if "cache" not in path.parts)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta"])
@pytest.mark.parametrize(
    "command", [("distill", *SMALL, "--ipc", "1"), ("select", "--ipc", "1"), ("compare", "--seeds", "1")]
)
def test_a_device_that_is_not_there(command: tuple[str, ...], device: str, images: str, refused: Refused) -> None:
    said = refused(command[0], images, *command[1:], "--device", device, "--out", "o")
    assert "choosing a device" in said
    assert "torch sees here: cpu" in said


def test_a_refused_distillation_leaves_the_folder_free(features: str, refused: Refused) -> None:
    assert "multiformation" in refused("distill", features, "--ipc", "1", "--storage", "multiformation", "--out", "o")
    assert "'mlp' for features" in refused("distill", features, "--ipc", "1", "--network", "convnet3", "--out", "o")
    assert "leave size and mode out" in refused("data", features, "--size", "8")
    assert main(["distill", features, "--ipc", "1", "--steps", "2", "--out", "o"]) == 0


def test_a_run_that_fails_at_once_leaves_nothing(
    images: str, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Distillation, "advance", lambda *_: float("nan"))
    assert "a finite loss" in refused("distill", images, "--ipc", "1", *SMALL, "--out", "a/b")


@pytest.mark.parametrize("command", [("distill", *SMALL), ("select",)])
def test_files_in_the_way_are_told_before_the_work(
    command: tuple[str, ...], images: str, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "README.md").write_text("mine")
    monkeypatch.setattr("decoct.distillation.driver.Distillation", None)
    monkeypatch.setattr("decoct.selection.driver.picked", None)
    assert "README.md" in refused(command[0], images, "--ipc", "1", *command[1:], "--out", "o")
    assert "images.npz is a file" in refused(command[0], images, "--ipc", "1", *command[1:], "--out", "images.npz/o")


def test_features_of_an_unknown_network_even_where_none_are_needed(images: str, refused: Refused) -> None:
    said = refused("select", images, "--ipc", "1", "--features", "network:convet3", "--out", "o")
    assert "did you mean 'convnet3'" in said


def test_comparing_into_the_folder_of_a_set(images: str, refused: Refused) -> None:
    assert main(["select", images, "--ipc", "1", "--out", "s"]) == 0
    line = ("compare", images, "--methods", "random", "--ipc", "1", "--seeds", "1")
    assert "one set or one run" in refused(*line, "--out", "s")
    assert "1 or more" in refused(*line, "--steps", "0", "--out", "q")


@pytest.mark.parametrize(
    ("other", "words"),
    [({"classes": 2}, "a set of 3 classes and data of 2"), ({"shape": (1, 16, 16)}, "[1, 8, 8] and data of shape")],
)
def test_data_and_set_that_do_not_match(
    other: dict, words: str, images: str, tmp_path: Path, refused: Refused, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", images, "--ipc", "1", "--out", "s"]) == 0
    source = _saved(tmp_path / "other.npz", **other)
    assert words in refused("evaluate", "s", "--data", source)
    assert words in refused("report", "s", "--data", source)


@pytest.mark.parametrize("damage", ["{", "[]", "\udcff"])
def test_a_damaged_run_file(damage: str, images: str, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "run.json").write_bytes(damage.encode("utf-8", "surrogateescape"))
    assert "remove o to start anew" in refused("distill", images, "--ipc", "1", *SMALL, "--out", "o")


def test_a_set_of_pickle_bytes(images: str, tmp_path: Path, refused: Refused) -> None:
    assert main(["select", images, "--ipc", "1", "--out", "s"]) == 0
    (tmp_path / "s" / "set.safetensors").write_bytes(b"\x80\x04K\x01.")
    for arguments in (("evaluate", "s", "--data", images), ("export", "s", "x.npz", "--to", "npz"), ("report", "s")):
        assert "set.safetensors of 5 bytes" in refused(*arguments)


def _folder(path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (path / name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(path / name / f"{number}.png")
    return path


def _png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_an_image_that_claims_to_be_huge(tmp_path: Path, refused: Refused, capfd: pytest.CaptureFixture[str]) -> None:
    folder = _folder(tmp_path / "pictures")
    bomb = folder / "a" / "bomb.png"
    bomb.write_bytes(_png(60_000, 60_000, b""))
    assert "a/bomb.png" in refused("data", folder)
    assert main(["data", str(folder), "--skip-bad"]) == 0
    assert "1 of 21 images could not be read" in capfd.readouterr().out
    # Half of Pillow's limit: only a header here, so it is listed as truncated, without Pillow's own warning.
    bomb.write_bytes(_png(12_000, 10_000, b""))
    said = refused("data", folder)
    assert "1 of 21 images that cannot be read" in said
    assert "Warning" not in said


def test_a_size_that_does_not_fit_into_memory(images: str, tmp_path: Path, refused: Refused) -> None:
    assert "an estimate of" in refused("data", images, "--size", "1000000")
    assert "an estimate of" in refused("data", _folder(tmp_path / "pictures"), "--size", "1000000")


INTERRUPTED = """
import os, signal, sys
from decoct.cli.main import main
from decoct.distillation.run import Distillation
whole, at, where = Distillation.advance, int(sys.argv[1]), sys.argv[2]
def advance(run, share):
    if run.step == at:
        draw = run._step_rows.draw
        def pressed(streams):
            # In the middle of a step, and twice where it shall stop at once.
            drawn = draw(streams)
            for _ in range(2 if where == "twice" else 1):
                os.kill(os.getpid(), signal.SIGINT)
            return drawn
        run._step_rows.draw = pressed
    return whole(run, share)
Distillation.advance = advance
# Where tests run in the background of a shell, children begin with Ctrl-C switched off.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[3:]))
"""


SHORT = ("--ipc", "1", "--network", "convnet2-w4", "--steps", "12", "--device", "cpu")
LINE = ("distill", "images.npz", "--recipe", "dm", *SHORT)


def _stopped(folder: Path, where: str) -> subprocess.CompletedProcess[str]:
    _saved(folder / "images.npz")
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "5", where, *LINE, "--out", "run"],
        capture_output=True, text=True, check=False, timeout=120, cwd=folder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that Ctrl-C stopped in the middle of its sixth step."""
    folder = tmp_path_factory.mktemp("stopped")
    done = _stopped(folder, "once")
    assert (done.returncode, done.stdout) == (130, "")
    assert "Traceback" not in done.stderr
    assert "give the same command again: the state is saved in run" in done.stderr
    return folder


def test_ctrl_c_in_the_middle_of_a_step_saves_a_state_that_resumes_exactly(stopped: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\n[]\n{"step"')
    assert main([*LINE, "--out", "whole"]) == 0
    assert main([*LINE, "--out", "run"]) == 0
    names = [tmp_path / name / "set.safetensors" for name in ("whole", "run")]
    assert names[0].read_bytes() == names[1].read_bytes()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert all("step" in json.loads(text) for text in lines), "damaged lines are dropped"
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_twice_stops_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    done = _stopped(tmp_path, "twice")
    assert (done.returncode, done.stdout) == (130, "")
    assert "Traceback" not in done.stderr
    assert "from its beginning" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_flipped_bit_in_a_checkpoint(stopped: Path, tmp_path: Path, refused: Refused) -> None:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "run" / "checkpoint" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "does not match its sha256" in refused(*LINE, "--out", "run")
