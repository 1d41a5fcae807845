from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import decoct
from decoct.data.cache import VERSION, Cache, cache_key
from decoct.data.sweep import sweep
from decoct.errors import OutputError

ROWS = np.arange(60, dtype=np.uint8).reshape(10, 1, 2, 3)
LABELS = np.arange(10)
KEY = cache_key("somewhere", None, None, [("a.png", 10, 1)])


def blocks():
    yield ROWS[:4]
    yield ROWS[4:4]
    yield ROWS[4:]


def aged(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * 24 * 3600,) * 2)


def cache(folder: Path, limit: int = 1 << 30) -> Cache:
    return Cache(folder, limit, asked=True)


def test_what_is_saved_is_loaded(tmp_path):
    saved = cache(tmp_path).save(KEY, blocks(), LABELS, lambda: {"notices": ["größer"]})
    loaded = cache(tmp_path).load(KEY)
    assert loaded is not None
    for entry in (saved, loaded):
        np.testing.assert_array_equal(entry.x, ROWS)
        np.testing.assert_array_equal(entry.labels, LABELS)
        assert entry.about == {"notices": ["größer"]}
        assert not isinstance(entry.x, np.memmap)
    assert isinstance(cache(tmp_path, limit=10).load(KEY).x, np.memmap)
    plain = np.load(tmp_path / f"{KEY.name}.rows.npy")
    np.testing.assert_array_equal(plain, ROWS)


def test_keys_tell_sources_options_and_states_apart():
    listing = [("a.png", 10, 1), ("b.png", 20, 2)]
    keys = {
        cache_key("here", None, None, listing).name,
        cache_key("there", None, None, listing).name,
        cache_key("here", (8, 8), None, listing).name,
        cache_key("here", None, "gray", listing).name,
        cache_key("here", None, None, [("a.png", 10, 1), ("b.png", 20, 3)]).name,
        cache_key("here", None, None, [("a.png", 11, 1), ("b.png", 20, 2)]).name,
        cache_key("here", None, None, listing[:1]).name,
    }
    assert len(keys) == 7
    assert cache_key("here", None, None, iter(listing)).name in keys


def test_a_new_state_replaces_the_old_entry(tmp_path):
    cache(tmp_path).save(KEY, blocks(), LABELS, dict)
    changed = cache_key("somewhere", None, None, [("a.png", 10, 2)])
    assert cache(tmp_path).load(changed) is None
    cache(tmp_path).save(changed, blocks(), LABELS, dict)
    assert cache(tmp_path).load(KEY) is None
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", ["no record", "short rows", "no rows", "no labels", "half a record", "old version"])
def test_an_entry_that_is_not_whole_is_not_there(tmp_path, damage):
    cache(tmp_path).save(KEY, blocks(), LABELS, dict)
    record, rows = tmp_path / f"{KEY.name}.json", tmp_path / f"{KEY.name}.rows.npy"
    if damage == "no record":
        record.unlink()
    elif damage == "short rows":
        rows.write_bytes(rows.read_bytes()[:-1])
    elif damage == "no rows":
        rows.unlink()
    elif damage == "no labels":
        (tmp_path / f"{KEY.name}.labels.npy").unlink()
    elif damage == "half a record":
        record.write_text(record.read_text()[:20])
    else:
        record.write_text(record.read_text().replace(f'"version": {VERSION}', '"version": 0'))
    assert cache(tmp_path).load(KEY) is None


def test_a_failure_half_way_leaves_nothing(tmp_path):
    def failing():
        yield ROWS[:4]
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        cache(tmp_path).save(KEY, failing(), LABELS, dict)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    def full():
        yield ROWS[:4]
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="the disk is full"):
        cache(tmp_path).save(KEY, full(), LABELS, dict)
    assert list(tmp_path.iterdir()) == []


def test_killed_half_way_looks_like_nothing(tmp_path):
    script = f"""
import sys, time
import numpy as np
from pathlib import Path
from decoct.data.cache import Cache, Key
def blocks():
    for _ in range(10**6):
        yield np.zeros((1000, 1, 32, 32), np.uint8)
        print("block", flush=True)
        time.sleep(0.01)
Cache(Path({str(tmp_path)!r}), 1, asked=True).save(Key({KEY.family!r}, {KEY.state!r}), blocks(), np.zeros(3, int), dict)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert cache(tmp_path).load(KEY) is None
    leftovers = list(tmp_path.iterdir())
    assert leftovers
    assert all(path.name.endswith(".part") for path in leftovers)
    for path in leftovers:
        aged(path, days=2)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
    cache(tmp_path).save(KEY, blocks(), LABELS, dict)
    assert len(list(tmp_path.iterdir())) == 3
    assert cache(tmp_path).load(KEY) is not None


def test_an_entry_not_to_be_kept_can_be_read_once(tmp_path):
    entry = cache(tmp_path, limit=1).save(KEY, blocks(), LABELS, lambda: {"keep": False})
    np.testing.assert_array_equal(entry.x, ROWS)
    assert list(tmp_path.iterdir()) == []


def test_a_named_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another"):
        cache(tmp_path / "file" / "cache").save(KEY, blocks(), LABELS, dict)


def test_the_standard_folder_may_be_missing(tmp_path):
    (tmp_path / "file").write_text("")
    standard = Cache(tmp_path / "file" / "cache", 1 << 20)
    entry = standard.save(KEY, blocks(), LABELS, dict)
    np.testing.assert_array_equal(entry.x, ROWS)
    assert "were not kept" in entry.about["notices"][0]
    with pytest.raises(OutputError, match="DECOCT_CACHE"):
        Cache(tmp_path / "file" / "cache", 20).save(KEY, blocks(), LABELS, dict)


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DECOCT_CACHE", raising=False)
    assert Cache.at(None, 0.25).folder == tmp_path / ".cache" / "decoct"
    monkeypatch.setenv("DECOCT_CACHE", str(tmp_path / "env"))
    assert Cache.at(None, 0.25).folder == tmp_path / "env"
    assert Cache.at(tmp_path / "named", 0.25).folder == tmp_path / "named"
    monkeypatch.delenv("DECOCT_CACHE")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert Cache.at(None, 0.25).folder.is_relative_to(tempfile.gettempdir())


def test_take_maps_what_is_large(tmp_path):
    rows = np.array([9, 0, 3])
    small, large = cache(tmp_path).take(ROWS, rows), cache(tmp_path, limit=10).take(ROWS, rows)
    np.testing.assert_array_equal(small, ROWS[rows])
    np.testing.assert_array_equal(large, ROWS[rows])
    assert isinstance(large, np.memmap)
    assert not large.flags.writeable


def opened(folder: Path, archive: Path):
    """`archive`, its arrays unpacked into the cache, in a new process as far as the sweep knows."""
    sweep.cache_clear()
    return decoct.open(archive, cache=folder, memory_share=1e-12)


def test_files_that_nobody_uses_go_after_a_month(tmp_path):
    folder, archive = tmp_path / "cache", tmp_path / "a.npz"
    x = np.arange(960, dtype=np.uint8).reshape(40, 1, 4, 6)
    np.savez(archive, x=x, y=np.arange(40) % 2)
    opened(folder, archive)
    used = set(folder.iterdir())
    assert {path.name.partition("-")[0] for path in used} == {"npz", "taken"}
    old, young = cache_key("gone", None, None, []), cache_key("used", None, None, [])
    for key in (old, young):
        cache(folder).save(key, blocks(), LABELS, dict)
    foreign = [folder / name for name in ("mine.npy", "taken-by-me.npy", ".notes.abcdefgh.part", ".csv-archives")]
    for path in foreign[:-1]:
        path.write_bytes(b"")
    foreign[-1].mkdir()
    for path in folder.iterdir():
        aged(path, days=31)
    assert cache(folder).load(young) is not None
    opened(folder, archive)
    assert set(folder.iterdir()) == {*used, *foreign, *folder.glob(f"{young.name}*")}
    assert cache(folder).load(young) is not None


def test_the_cache_is_swept_once_in_a_process(tmp_path):
    sweep.cache_clear()
    path = tmp_path / f"taken-{'0' * 32}.npy"
    path.write_bytes(b"")
    for days in (29, 31):
        aged(path, days)
        sweep(tmp_path)
        assert path.exists()
    sweep.cache_clear()
    sweep(tmp_path)
    assert not path.exists()


def test_a_file_that_goes_stays_with_those_who_have_it_open(tmp_path):
    taken = cache(tmp_path, limit=10).take(ROWS, np.array([9, 0, 3]))
    [path] = tmp_path.iterdir()
    aged(path, days=31)
    sweep.cache_clear()
    sweep(tmp_path)
    assert not path.exists()
    np.testing.assert_array_equal(taken, ROWS[[9, 0, 3]])
    cache(tmp_path, limit=10).take(ROWS, np.array([9, 0, 3]))
    assert path.exists()


def test_what_killed_processes_left_goes_after_a_day(tmp_path):
    left = [f".{KEY.name}.rows.npy.abcd1234.part", f".taken-{'0' * 32}.npy.abcd_234.part", "..probe.abcd1234.part"]
    folders = [".csv-abcd1234", ".parquet-abcd1234"]
    for name in left:
        (tmp_path / name).write_bytes(b"")
    for name, kind in zip(folders, ("csv", "parquet"), strict=True):
        (tmp_path / name / kind / "default").mkdir(parents=True)
    for days, remaining in ((0.9, 5), (1.1, 0)):
        for name in left + folders:
            aged(tmp_path / name, days)
        sweep.cache_clear()
        sweep(tmp_path)
        assert len(list(tmp_path.iterdir())) == remaining


def test_a_cache_that_cannot_be_swept_is_left_as_it_is(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "not yours")

    cache(tmp_path).save(KEY, blocks(), LABELS, dict)
    for path in tmp_path.iterdir():
        aged(path, days=31)
    sweep.cache_clear()
    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(os, "unlink", refused)
    sweep(tmp_path)
    sweep(tmp_path / "nowhere")
    assert cache(tmp_path).load(KEY) is not None
