"""A scoring that is killed by the system goes on when it is asked for again, with the same scores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

TESTS = Path(__file__).parents[1]
EPOCHS = 6
KILLED_AFTER = 3

KILLED = """
import os, signal, sys
from toys import blob_features
from decoct.selection.scored import score
from decoct.training.batches import Batches
from decoct.training.halfway import Halfway

Halfway.due = True
folder, epochs, last, look = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
data = blob_features()
child = os.fork()
if not child:
    saved = 0
    def watch(event, arguments):
        global saved
        saved += event == "os.rename" and "-halfway" in str(arguments[1])
        # At the next thing the process does after the file of this pass is in place.
        if saved == last and event == "open":
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    score(data, network="mlp-w8", epochs=epochs, out=folder + "/killed", device="cpu", look=look)
    os._exit(0)
print(os.waitpid(child, 0)[1])
print(*sorted(name.rsplit("-", 1)[-1] for name in os.listdir(folder + "/killed")))
begun, whole = [], Batches.of_pass
Batches.of_pass = lambda self, epoch: begun.append(epoch) or whole(self, epoch)
score(data, network="mlp-w8", epochs=epochs, out=folder + "/killed", device="cpu", look=look)
print(*begun)
score(data, network="mlp-w8", epochs=epochs, out=folder + "/whole", device="cpu", look=look)
"""


@pytest.mark.parametrize("look", ["after", "during"])
def test_killed_between_passes_the_same_call_ends_with_the_same_scores(tmp_path: Path, look: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(EPOCHS), str(KILLED_AFTER), look],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(TESTS)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    status, left, begun = done.stdout.splitlines()
    assert int(status) == signal.SIGKILL
    assert left.split()[-1] == "halfway.safetensors"
    assert [int(epoch) for epoch in begun.split()] == list(range(KILLED_AFTER + 1, EPOCHS + 1))
    killed, whole = (pq.read_table(tmp_path / name / "scores.parquet") for name in ("killed", "whole"))
    assert killed.equals(whole)
    recordings = [sorted((tmp_path / name).glob("dynamics-*")) for name in ("killed", "whole")]
    assert [len(found) for found in recordings] == [1, 1], "nothing of the way is left"
    resumed, uninterrupted = (load_file(found[0]) for found in recordings)
    assert resumed.keys() == uninterrupted.keys()
    assert all(torch.equal(values, uninterrupted[name]) for name, values in resumed.items())
