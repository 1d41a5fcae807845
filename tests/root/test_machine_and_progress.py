"""Facts about the machine, memory estimates, and what a person sees of long work."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import decoct.progress
from decoct.errors import DecoctError, MemoryEstimateError
from decoct.machine import (
    free_memory,
    hardware,
    library_versions,
    native_bfloat16,
    peak_memory,
    require_memory,
    total_memory,
)
from decoct.progress import progress


def test_facts_are_plain_json():
    facts = json.loads(json.dumps(hardware()))
    assert facts["cores"] >= 1
    assert facts["vectors"].endswith("with bfloat16") == native_bfloat16("cpu")
    assert "torch" in library_versions()
    assert 0 < peak_memory() < total_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process apart from its parent's")
def test_the_peak_is_not_that_of_the_process_that_started_this_one():
    child = "from decoct.machine import peak_memory; print(peak_memory())"
    parent = (
        "import subprocess, sys; held = bytearray(400_000_000); held[::4096] = b'1' * len(held[::4096]); "
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300_000_000


def test_what_cannot_fit_is_refused():
    require_memory("a small thing", 1000, "nothing")
    with pytest.raises(MemoryEstimateError, match=r"a big thing(.|\n)*estimate of 1000000\.0 GB(.|\n)*be modest"):
        require_memory("a big thing", 10**15, "be modest")


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": "MemTotal: 99 kB\nMemAvailable:    8000 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def _group(folder: str, limit: str, used: int, files: int, version: int = 2) -> dict[str, str]:
    names = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
    stat = {2: "", 1: f"active_file 7\ninactive_file 7\ntotal_active_file {files - 5}\ntotal_inactive_file 5\n"}
    told = stat[1] if version == 1 else f"anon 1\nactive_file {files - 5}\ninactive_file 5\n"
    base = f"sys/fs/cgroup/{folder}/memory."
    return {f"{base}{names[0]}": f"{limit}\n", f"{base}{names[1]}": f"{used}\n", f"{base}stat": told}


def test_without_a_limit_the_free_memory_is_that_of_the_machine(tmp_path):
    assert free_memory(_tree(tmp_path, {})) == 8000 * 1024
    unlimited = {"proc/self/cgroup": "0::/a\n", **_group("a", "max", 100, 10)}
    assert free_memory(_tree(tmp_path, unlimited)) == 8000 * 1024


@pytest.mark.parametrize("told", ["0::/\n", "0::/machine/a-long-way\n"])
def test_the_limit_of_a_container_counts(tmp_path, told):
    """Also where the path is that of the machine, and only the top of the tree is there."""
    tree = _tree(tmp_path, {"proc/self/cgroup": told, **_group(".", "1000000", 300_000, 100_000)})
    assert free_memory(tree) == 1_000_000 - 200_000


def test_the_tightest_of_the_groups_above_counts_and_nothing_is_less_than_nothing(tmp_path):
    groups = {**_group("a/b", "5000000", 1000, 10), **_group("a", "90000", 40_000, 10_000)}
    assert free_memory(_tree(tmp_path, {"proc/self/cgroup": "0::/a/b\n", **groups})) == 60_000
    assert free_memory(_tree(tmp_path, _group("a", "90000", 200_000, 10))) == 0


def test_groups_of_the_first_version_count_as_well(tmp_path):
    told = {"proc/self/cgroup": "9:cpu,cpuacct:/\n4:memory:/job\n0::/\n"}
    tree = _tree(tmp_path, {**told, **_group("memory/job", "700000", 300_000, 50_000, version=1)})
    assert free_memory(tree) == 700_000 - 250_000
    # What the first version writes where there is no limit.
    assert free_memory(_tree(tmp_path, _group("memory/job", "9223372036854771712", 300, 50, version=1))) == 8000 * 1024


def test_the_memory_that_is_reported_is_that_of_the_container(tmp_path, monkeypatch):
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert total_memory(_tree(tmp_path, {})) == physical
    unlimited = {"proc/self/cgroup": "0::/a/b\n", **_group("a", "max", 100, 10)}
    assert total_memory(_tree(tmp_path, unlimited)) == physical
    assert total_memory(_tree(tmp_path, _group("a/b", str(2 * physical), 100, 10))) == physical
    # However much of it is taken.
    assert total_memory(_tree(tmp_path, _group("a/b", "5000000", 4_000_000, 10))) == 5_000_000
    assert total_memory(_tree(tmp_path, _group("a", "90000", 200_000, 10))) == 90_000
    monkeypatch.setattr("decoct.machine.total_memory", lambda: total_memory(tmp_path))
    assert hardware()["memory"] == 90_000


def test_the_memory_that_is_reported_under_a_group_of_the_first_version(tmp_path):
    told = {"proc/self/cgroup": "4:memory:/job\n0::/\n"}
    tree = _tree(tmp_path, {**told, **_group("memory/job", "700000", 300_000, 50_000, version=1)})
    assert total_memory(tree) == 700_000


def test_elsewhere_than_on_a_terminal_a_line_now_and_then(monkeypatch):
    clock = iter([0.0, 5.0, 20.0, 25.0, 40.0])
    monkeypatch.setattr(decoct.progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with progress("cooking", 100, stream) as tick:
        for done in (0, 10, 20, 30):
            tick(done, f"note {done}")
    lines = stream.getvalue().splitlines()
    assert lines == [
        "cooking: 10/100, 0.667/s, eta 2min 15s, note 10",
        "cooking: 30/100, 0.857/s, eta 1min 22s, note 30",
    ]


def test_what_was_done_before_is_no_speed(monkeypatch):
    clock = iter([0.0, 16.0, 56.0])
    monkeypatch.setattr(decoct.progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with progress("cooking", 100, stream) as tick:
        tick(90)
        tick(94)
    assert stream.getvalue().splitlines() == ["cooking: 90/100", "cooking: 94/100, 0.1/s, eta 1min 00s"]


def test_seconds_have_no_rate(monkeypatch):
    clock = iter([0.0, 16.0, 32.0])
    monkeypatch.setattr(decoct.progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with progress("cooking", 64.0, stream, timed=True) as tick:
        tick(16.0, "one")
        tick(32.0, "two")
    assert stream.getvalue().splitlines()[-1] == "cooking: 32s of 1min 04s, eta 32s, two"


def test_on_a_terminal_a_bar(capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(decoct.progress, "LASTED_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", "200")
    with progress("cooking [red]", 3, Terminal()) as tick:
        tick(1, "begun")
        tick(3, "done")
    said = capsys.readouterr().err
    assert "cooking [red]" in said
    assert "3/3" in said
    assert "/s" in said


def test_an_error_has_four_parts():
    text = str(DecoctError("opening x", received="a", expected="b", remedy="c"))
    assert text.splitlines() == ["opening x", "  received: a", "  expected: b", "  what to do: c"]


def test_the_public_names_are_listed_and_lazy():
    import decoct

    assert set(dir(decoct)) == {
        "Coreset", "DistilledSet", "analyze", "compare", "distill", "evaluate", "load", "open", "score", "select",
    }  # fmt: skip
    with pytest.raises(AttributeError, match="public names are Coreset"):
        decoct.nothing  # noqa: B018
