"""A selection from a table that is killed by the system goes on when it is asked for again, with the same rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from test_sharded import clusters

from decoct.compact.coreset import Coreset
from decoct.compact.load import load

POINTS = 9

KILLED = """
import os, signal, sys
from decoct.data.feature_table import feature_table
from decoct.selection.sharded import partition, survey
from decoct.selection.sharded.driver import select_table

partition.UNIT_BYTES, survey.SAMPLE, partition.BLOCK_BYTES = 4 * 6 * 150, 700, 2 * 6 * 333
folder, points = sys.argv[1], int(sys.argv[2])

def select(out, last=None):
    '''Selects in a process of its own, which is killed at change number `last` of what is on the disk.'''
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        with os.fdopen(read, "rb") as said:
            changes = len(said.read())
        return os.waitpid(child, 0)[1], changes
    seen = 0
    def watch(event, arguments):
        nonlocal seen
        written = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        moved = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
        if written or moved:
            seen += 1
            os.write(write, b".")
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    select_table(feature_table(folder + "/phi.npy"), "k-center", count=60, shard_rows=60, out=folder + "/" + out)
    os._exit(0)

# Once in this process, so that every child has all that is imported on the way.
select_table(feature_table(folder + "/phi.npy"), "k-center", count=60, shard_rows=60, out=folder + "/here")
status, changes = select("whole")
assert status == 0
print(changes, flush=True)
for number in range(points):
    last = 1 + number * (changes - 1) // (points - 1)
    out = f"killed-{number}"
    killed, _ = select(out, last)
    print(killed, flush=True)
    assert select(out)[0] == 0
"""


def test_killed_at_any_change_of_the_disk_the_same_call_ends_with_the_same_rows(tmp_path: Path) -> None:
    """From the first shard that is cut to the last file that is removed; every process is a real one."""
    np.save(tmp_path / "phi.npy", clusters(1000).numpy().astype(np.float16))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(POINTS)], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    changes, *killed = done.stdout.splitlines()
    assert int(changes) > 2 * POINTS
    assert [int(status) for status in killed] == [signal.SIGKILL] * POINTS
    whole = load(tmp_path / "whole")
    assert isinstance(whole, Coreset)
    for number in range(POINTS):
        resumed = load(tmp_path / f"killed-{number}")
        assert isinstance(resumed, Coreset)
        assert resumed.ids.tolist() == whole.ids.tolist()
        assert resumed.content_hash == whole.content_hash
        assert not (tmp_path / f"killed-{number}" / ".decoct-shards").exists()
