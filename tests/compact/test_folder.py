"""What a run folder survives: altered files, hostile manifests, kills, full disks."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from compact_examples import coreset_of, distilled_of
from safetensors.torch import save_file
from toys import blob_images

from decoct.compact import folder as folders
from decoct.compact import load as loading
from decoct.compact import manifest as manifests
from decoct.compact.folder import content_writer, is_finished, read_manifest, write_run
from decoct.compact.load import load
from decoct.errors import ConfigError, IntegrityError, OutputError, SourceError, UnfinishedRunError

DATA = blob_images(3, 4, (1, 6, 5))
FILES = {"a.bin": content_writer(b"aaa"), "b.txt": content_writer(b"bbb")}
FACTS = {"kind": "toy", "content": "1"}

NAMES = ("manifest.json", "set.safetensors", "selection.parquet", "preview.png", "README.md")


def sealed(manifest: dict) -> bytes:
    """A manifest with a right hash of itself, as a careful forger would make it."""
    text = json.dumps({**manifest, "manifest_sha256": "0" * 64})
    return re.sub('0{64}"}$', hashlib.sha256(text.encode()).hexdigest() + '"}', text).encode()


def forge(folder: Path, change) -> None:
    """Let `change` edit the manifest, with every hash made right again."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("manifest_sha256")
    change(manifest)
    for name, entry in manifest["files"].items() if isinstance(manifest.get("files"), dict) else ():
        path = folder / name
        if name in NAMES[1:]:
            entry.update(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size)
    (folder / "manifest.json").write_bytes(sealed(manifest))


@pytest.fixture
def saved(tmp_path) -> Path:
    coreset_of(DATA).save(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def distilled(tmp_path) -> Path:
    distilled_of(DATA, "multiformation", label_kind="probabilities").save(tmp_path / "made")
    return tmp_path / "made"


def no_reading(monkeypatch) -> None:
    """Fail the test if any file is interpreted."""

    def used(*_, **__):
        raise AssertionError("a damaged file was used")

    monkeypatch.setattr(loading, "read_safetensors", used)
    monkeypatch.setattr(loading.pq, "ParquetFile", used)


@pytest.mark.parametrize("name", NAMES)
def test_any_flipped_bit_is_found_before_use(saved, name, monkeypatch):
    no_reading(monkeypatch)
    path = saved / name
    whole = path.read_bytes()
    for step in range(25):
        place = step * (len(whole) - 1) // 24
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (step % 8)
        path.write_bytes(flipped)
        with pytest.raises(IntegrityError, match="what to do"):
            load(saved)


@pytest.mark.parametrize("name", NAMES)
def test_truncated_and_lengthened_files_are_found_before_use(saved, name, monkeypatch):
    no_reading(monkeypatch)
    path = saved / name
    whole = path.read_bytes()
    for changed in (b"", whole[: len(whole) // 2], whole[:-1], whole + b"\0"):
        path.write_bytes(changed)
        with pytest.raises(IntegrityError, match=name if name != "manifest.json" else "manifest"):
            load(saved)


def test_missing_things_are_named(saved, tmp_path):
    with pytest.raises(SourceError, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="a file"):
        load(saved / "README.md")
    (saved / "set.safetensors").unlink()
    with pytest.raises(IntegrityError, match=r"no file set\.safetensors"):
        load(saved)
    (saved / "manifest.json").unlink()
    with pytest.raises(UnfinishedRunError, match="start the same command again"):
        load(saved)
    assert not is_finished(saved)


def deep(depth: int) -> str:
    return '{"schema": ' + "[" * depth + "]" * depth + "}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no plain JSON"),
        ("\x80", "no plain JSON"),
        ("[1]", "schema None"),
        ("null", "schema None"),
        ('{"schema": true}', "schema True"),
        ('{"schema": 0}', "schema 0"),
        ('{"schema": 1}', "does not match its own"),
        ('{"schema": 1, "manifest_sha256": ""}', "does not match its own"),
        ('{"schema": 1, "schema": 1}', "a name occurs twice"),
        ('{"schema": NaN}', "NaN is no JSON number"),
        ('{"schema": ' + "9" * 5000 + "}", "no plain JSON"),
        (deep(100_000), "no plain JSON"),
    ],
)
def test_manifests_that_are_none(tmp_path, text, message):
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(IntegrityError, match=message):
        read_manifest(tmp_path)


def test_a_newer_schema_asks_for_an_update(saved):
    forge(saved, lambda manifest: manifest.update(schema=2))
    with pytest.raises(IntegrityError, match="update decoct"):
        load(saved)


def test_a_huge_manifest_is_not_read(tmp_path):
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(manifests.MAX_MANIFEST_BYTES + 1)
    with pytest.raises(IntegrityError, match="at most 67108864 bytes"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b", "a\\b", "..", ".hidden", "", "C:x", "x\0y", "a" * 300, "manifest.json"]
)
def test_file_names_that_lead_elsewhere(saved, name):
    (saved.parent / "secret").write_text("x")
    forge(saved, lambda manifest: manifest["files"].update({name: {"sha256": "0" * 64, "bytes": 1}}))
    with pytest.raises(IntegrityError, match="a plain file name inside the folder"):
        load(saved)


def test_links_out_of_the_folder_and_pipes(saved):
    outside = saved.parent / "outside"
    (saved / "README.md").replace(outside)
    (saved / "README.md").symlink_to(outside)
    with pytest.raises(IntegrityError, match="leads out of the folder"):
        load(saved)
    (saved / "README.md").unlink()
    os.mkfifo(saved / "README.md")
    with pytest.raises(IntegrityError, match="or is no file"):
        load(saved)


@pytest.mark.parametrize("files", [None, [], {"a": 1}, {"a": {"bytes": "1", "sha256": "0" * 64}}, {"a": {"bytes": 1}}])
def test_tables_of_files_that_are_none(saved, files):
    forge(saved, lambda manifest: manifest.update(files=files))
    with pytest.raises(IntegrityError, match=r"a JSON object of files|its size in bytes and its sha256"):
        load(saved)


def nested(value, *keys, to):
    """A change that sets one entry deep inside a manifest."""

    def change(manifest):
        place = manifest
        for key in (value, *keys)[:-1]:
            place = place[key]
        place[(value, *keys)[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nested("kind", to="comparison"), "one of coreset, distilled"),
        (nested("spec", to=None), "spec.source None"),
        (nested("spec", "shape", to=[1, 6]), "spec.shape"),
        (nested("spec", "shape", to=[1, 6, -5]), "spec.shape"),
        (nested("spec", "shape", to=[1, 6, 2**40]), "spec.shape"),
        (nested("spec", "shape", to=[1, 2**23, 2**23]), "spec.shape"),
        (nested("spec", "shape", to=[3, 6, 5]), r"transform.mean of shape \(1,\)"),
        (nested("spec", "shape", to=[1, 5, 6]), r"two rows|rows of shape \(1, 5, 6\)"),
        (nested("spec", "class_names", to=[]), "at least one class name"),
        (nested("spec", "class_names", to=["a"]), "class numbers from 0 to 0|probabilities"),
        (nested("spec", "transform", to="zca"), "no tensor transform.centre"),
        (nested("spec", "transform", to="os.system"), "'standardise' or 'zca'"),
        (nested("tensors", "classes", "shape", to=[7]), r"tensor 'classes': \w+ \[\d+\]"),
        (nested("tensors", "classes", "dtype", to="F32"), "tensor 'classes'"),
        (nested("tensors", "classes", to=3), "tensor 'classes'"),
        (nested("tensors", to={}), "tensors named"),
        (nested("provenance", to=[]), "provenance as a JSON object"),
    ],
)
@pytest.mark.parametrize("kind", ["saved", "distilled"])
def test_manifests_that_lie_about_the_set(kind, change, message, request):
    folder = request.getfixturevalue(kind)
    forge(folder, change)
    with pytest.raises(IntegrityError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nested("config", to={"factor": 10**9}), "factor 1000000000"),
        (nested("config", to={"factor": 3}), "54 stored rows"),
        (nested("config", to=None), "config as a JSON object"),
        (nested("storage", to="os:system"), "one of .*multiformation, pixels"),
        (nested("storage", to=[]), "the name of a storage"),
        (nested("label_kind", to="scored"), "'hard', 'probabilities' or 'scores'"),
        (nested("label_kind", to="hard"), "hard labels"),
        (nested("learned", to=1), "learned as a JSON object"),
    ],
)
def test_manifests_that_lie_about_a_distilled_set(distilled, change, message):
    forge(distilled, change)
    with pytest.raises(IntegrityError, match=message):
        load(distilled)


def test_a_tensor_file_that_is_none_although_its_hash_is_right(saved):
    for content in (b"", b"\xff" * 64, (10**15).to_bytes(8, "little") + b"{}"):
        (saved / "set.safetensors").write_bytes(content)
        forge(saved, lambda manifest: None)
        with pytest.raises(IntegrityError, match="no safetensors file"):
            load(saved)


def test_tensors_that_contradict_each_other(saved):
    small = load(saved)
    own, _ = small.stored()
    others = {f"transform.{name}": tensor for name, tensor in small.spec.transform.tensors().items()}
    save_file({**own, **others, "classes": own["classes"].flip(0)}, saved / "set.safetensors")
    forge(saved, lambda manifest: None)
    with pytest.raises(IntegrityError, match=r"other classes or weights in selection\.parquet"):
        load(saved)
    half = {**own, **others, "raw": own["raw"].half()}
    save_file(half, saved / "set.safetensors")
    forge(saved, nested("tensors", "raw", "dtype", to="F16"))
    with pytest.raises(IntegrityError, match=r"torch.float16 \(6, 1, 6, 5\)"):
        load(saved)


def test_a_selection_that_is_none_although_its_hash_is_right(saved):
    (saved / "selection.parquet").write_bytes(b"PAR1" + b"\0" * 60 + b"PAR1")
    forge(saved, lambda manifest: None)
    with pytest.raises(IntegrityError, match="no parquet file"):
        load(saved)


def test_loading_runs_no_pickle(saved, tmp_path):
    torch.save({"raw": torch.zeros(1)}, tmp_path / "evil.pt")
    (saved / "set.safetensors").write_bytes((tmp_path / "evil.pt").read_bytes())
    forge(saved, lambda manifest: None)
    with pytest.raises(IntegrityError, match="no safetensors file"):
        load(saved)


# Writing


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_written_is_hashed_and_other_files_are_left_alone(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    (tmp_path / "notes.txt").write_text("mine")
    write_run(tmp_path, FILES, FACTS)
    assert set(read_manifest(tmp_path)["files"]) == {"a.bin", "b.txt"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.bin", "b.txt", "metrics.jsonl", "notes.txt", "manifest.json",
    }  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("{}\n{}\n")
    read_manifest(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_another_result_is_not_overwritten_the_same_one_is(tmp_path):
    write_run(tmp_path, FILES, FACTS)
    before = contents(tmp_path)
    for other in ({**FACTS, "content": "2"}, {**FACTS, "kind": "other"}):
        with pytest.raises(OutputError, match="choose another folder"):
            write_run(tmp_path, FILES, other)
    assert contents(tmp_path) == before
    write_run(tmp_path, {**FILES, "b.txt": content_writer(b"new")}, FACTS)
    assert (tmp_path / "b.txt").read_bytes() == b"new"
    read_manifest(tmp_path)


def test_a_file_of_the_user_is_not_overwritten(tmp_path):
    (tmp_path / "b.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"a folder with b\.txt that no run of decoct finished"):
        write_run(tmp_path, FILES, FACTS)
    assert contents(tmp_path) == {"b.txt": b"mine"}


def test_a_manifest_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(OutputError, match="a manifest that cannot be read"):
        write_run(tmp_path, FILES, FACTS)


def test_hidden_or_foreign_file_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="not beginning with"):
        write_run(tmp_path, {"../x": content_writer(b"")}, FACTS)


class Killed(BaseException):
    """Stands for a kill: nothing after it runs, not even clean-up of ours that would not run then."""


def kill_at(monkeypatch, moment: int) -> None:
    """Stop at the `moment`-th change of the file system; `finally` clauses must not change anything any more."""
    seen = 0

    def counted(change):
        def step(*arguments, **options):
            nonlocal seen
            seen += 1
            if seen >= moment:
                raise Killed
            return change(*arguments, **options)

        return step

    for owner, names in ((Path, ("write_bytes", "replace", "mkdir", "unlink", "rmdir", "chmod")), (os, ("fsync",))):
        for name in names:
            monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    monkeypatch.setattr(folders.shutil, "rmtree", counted(folders.shutil.rmtree))


@pytest.mark.parametrize("start", ["fresh", "finished"])
def test_a_kill_at_any_moment_leaves_the_old_whole_or_an_unfinished_run(tmp_path, monkeypatch, start):
    outcomes = []
    for moment in range(1, 60):
        folder = tmp_path / f"run-{moment}"
        if start == "finished":
            write_run(folder, {**FILES, "b.txt": content_writer(b"old")}, FACTS)
        with monkeypatch.context() as patch:
            kill_at(patch, moment)
            try:
                write_run(folder, FILES, FACTS)
                outcomes.append("done")
            except Killed:
                outcomes.append("killed")
        if is_finished(folder):
            assert set(read_manifest(folder)["files"]) == {"a.bin", "b.txt"}
        elif folder.is_dir():
            with pytest.raises(UnfinishedRunError, match="the run has not finished"):
                read_manifest(folder)
        write_run(folder, FILES, FACTS)
        assert contents(folder).keys() == {"a.bin", "b.txt", "manifest.json"}
        assert (folder / "b.txt").read_bytes() == b"bbb"
        if outcomes[-1] == "done":
            break
    assert outcomes[0] == "killed"
    assert outcomes[-1] == "done"
    assert outcomes.count("killed") > 15


REAL_KILL = """
import os, signal, sys
from pathlib import Path
from decoct.compact.folder import content_writer, write_run
left = int(sys.argv[2])
replace = Path.replace
def step(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = step
files = {"a.bin": content_writer(b"aaa"), "b.txt": content_writer(b"bbb")}
write_run(Path(sys.argv[1]), files, {"kind": "toy", "content": "1"})
"""


@pytest.mark.parametrize("renames", [0, 2, 3, 4, 5])
def test_a_real_kill_between_renames(tmp_path, renames):
    command = [sys.executable, "-c", REAL_KILL, str(tmp_path / "run"), str(renames)]
    done = subprocess.run(command, timeout=60, check=False)
    assert done.returncode == -9
    with pytest.raises(UnfinishedRunError):
        read_manifest(tmp_path / "run")
    write_run(tmp_path / "run", FILES, FACTS)
    read_manifest(tmp_path / "run")


@pytest.mark.parametrize("start", ["missing", "empty", "finished", "marked"])
def test_a_full_disk_at_any_write_changes_nothing(tmp_path, monkeypatch, start):
    small, other = coreset_of(DATA), replace(coreset_of(DATA), provenance={"again": True})
    for moment in range(5):
        folder = tmp_path / f"run-{moment}"
        if start == "finished":
            small.save(folder)
        elif start != "missing":
            (folder / (folders.STAGING if start == "marked" else "")).mkdir(parents=True)
        before = contents(folder)
        seen, fsync = 0, os.fsync

        def full(handle, moment=moment, fsync=fsync):
            nonlocal seen
            seen += 1
            if seen > moment:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OutputError, match="the disk is full"):
                other.save(folder)
        assert contents(folder) == before
        assert folder.exists() == (start != "missing")
        assert (folder / folders.STAGING).exists() == (start == "marked")
        assert is_finished(folder) == (start == "finished")


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder(tmp_path, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match="choose a folder that you can write to"):
        coreset_of(DATA).save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_two_that_write_into_one_folder_take_turns(tmp_path):
    second = threading.Thread(target=write_run, args=(tmp_path / "run", FILES, FACTS))

    def slow(path: Path) -> None:
        second.start()
        second.join(0.3)
        assert second.is_alive(), "the second waits until the first is out"
        path.write_bytes(b"first")

    write_run(tmp_path / "run", {**FILES, "b.txt": slow}, FACTS)
    second.join(30)
    assert not second.is_alive()
    assert set(read_manifest(tmp_path / "run")["files"]) == set(FILES)
    assert not (tmp_path / "run" / ".decoct-unfinished").exists()


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputError, match="writing"):
        coreset_of(DATA).save(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"
