"""Facts about the machine, memory estimates, and what a person sees of long work."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

import decoct.progress
from decoct.errors import DecoctError, MemoryEstimateError
from decoct.machine import hardware, library_versions, native_bfloat16, peak_memory, require_memory, total_memory
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
