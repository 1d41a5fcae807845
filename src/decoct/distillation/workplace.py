"""The folder of a distillation in progress: who it belongs to, its metrics, its checkpoint."""

from __future__ import annotations

import json
import math
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from decoct.compact.distilled import DistilledSet
from decoct.compact.load import load
from decoct.compact.save import require_place
from decoct.distillation.checkpoint import load_run, save_run
from decoct.distillation.run import Distillation
from decoct.errors import IntegrityError, MismatchError, MissingExtraError
from decoct.files import alone, make_folder, write_json, write_text, writing

CHECKPOINT_SECONDS = 30.0
"""Seconds between two checkpoints."""
SAID = {"networks": "networks (what a name of your own stands for; an edit of its files counts)"}
"""Parts of an identity whose name would not say enough."""


class Workplace:
    """`run.json` (the identity of the run), `metrics.jsonl`, `checkpoint/state.safetensors`; nothing without a folder.

    The checkpoint is one file, replaced atomically, so a kill at any moment leaves the last whole one. It is removed
    when the manifest of the finished set has been written, or by the next call where a kill came between the two.
    """

    checkpoint_seconds = CHECKPOINT_SECONDS

    def __init__(self, folder: Path | None, identity: dict[str, Any], track: str | None) -> None:
        self.folder, self._identity = folder, identity
        self._lines: list[str] = []
        self._logged = 0
        self._track, self._writer = track, None
        self._made: list[Path] = []
        self._held = ExitStack()
        if folder is not None:
            self._require_own(folder)

    def __enter__(self) -> Workplace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        if error is not None and not self.has_checkpoint:
            self._leave()
        self._held.close()

    def _require_own(self, folder: Path) -> None:
        """Refuse a folder that holds another run, or what the set would be written over; nothing is written yet."""
        path = folder / "run.json"
        if path.exists():
            plain, found = json.loads(json.dumps(self._identity)), _identity_in(path)
            different: list[str] = sorted(key for key in {*found, *plain} if found.get(key) != plain.get(key))
            if different:
                raise _other_run(folder, "a run that differs in " + ", ".join(SAID.get(key, key) for key in different))
        elif (folder / "manifest.json").exists():
            raise _other_run(folder, "a finished set of another kind")
        else:
            require_place(folder)

    def claim(self) -> None:
        """Write the identity into the folder, remember what was not there before, and keep other processes out.

        It comes before all that takes time. Raises `OutputError` (another process works there, or nothing can be
        written), `UnknownNameError` and `MissingExtraError` (no such tracker).
        """
        if self._track is not None:
            _tensorboard(self._track)
        if self.folder is None:
            return
        folder, path = self.folder, self.folder / "run.json"
        above = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        make_folder(folder)
        with alone(folder):
            if not path.exists():
                self._made = [folder / "metrics.jsonl", self._checkpoint.parent, path, *above]
                write_json(path, self._identity)
            # Two processes that go on from one checkpoint would write over each other's.
            self._held.enter_context(alone(path, wait=False))

    def _leave(self) -> None:
        """Take back what a run wrote that has nothing to go on from, so that another command may use the folder."""
        for path in self._made:
            try:
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
            except OSError:
                return
        self._made = []

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return self.folder is not None and self._checkpoint.exists()

    @property
    def _checkpoint(self) -> Path:
        assert self.folder is not None
        return self.folder / "checkpoint" / "state.safetensors"

    def finished(self) -> DistilledSet | None:
        """The set of this folder, if the run had ended; raises `IntegrityError` for a damaged one."""
        if self.folder is None or not (self.folder / "manifest.json").exists():
            return None
        small = load(self.folder)
        assert isinstance(small, DistilledSet)
        self._drop_checkpoint()
        return small

    def resume(self, run: Distillation) -> None:
        """In a claimed folder, put `run` where its last checkpoint was; drop metrics logged after it.

        Raises `IntegrityError` for a damaged checkpoint, `MismatchError` for one that does not fit the run or is of
        another version of decoct, `OutputError` where the metrics cannot be written.
        """
        if self._track is not None:
            path = (self.folder or Path("runs")) / "tensorboard"
            with writing(path):
                self._writer = _tensorboard(self._track)(str(path))
        if self.folder is None:
            return
        metrics = self.folder / "metrics.jsonl"
        if self._checkpoint.exists():
            load_run(self._checkpoint, run)
            text = metrics.read_text(encoding="utf-8", errors="replace") if metrics.exists() else ""
            kept = [line for line in text.splitlines(keepends=True) if _step_of(line) <= run.step]
            write_text(metrics, "".join(kept))
        elif metrics.exists():
            metrics.unlink()

    def log(self, entry: dict[str, float | int], every: int = 1) -> None:
        """Append one line of metrics, and one point to the tracker; of steps only each `every`-th."""
        if entry["step"] % every:
            return
        if self.folder is not None:
            with writing(self.folder), (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        if self._writer is not None:
            for name in entry.keys() - {"step"}:
                self._writer.add_scalar(name, entry[name], int(entry["step"]))

    def save(self, run: Distillation) -> None:
        """Write the checkpoint; raises `OutputError`."""
        if self.folder is not None:
            save_run(self._checkpoint, run)

    def finish(self, small: DistilledSet) -> None:
        """Write the set with its manifest, then drop the checkpoint; raises `OutputError`."""
        if self.folder is not None:
            small.save(self.folder)
            self._drop_checkpoint()

    def _drop_checkpoint(self) -> None:
        shutil.rmtree(self._checkpoint.parent, ignore_errors=True)


def _identity_in(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        received = f"a JSON {type(found).__name__}"
    except (OSError, ValueError, RecursionError) as error:
        received = f"a file that cannot be read ({error})"
    raise IntegrityError(
        f"resuming from {path}",
        received=received,
        expected="the settings of the run in this folder",
        remedy=f"remove {path.parent} to start anew, or choose another folder for --out",
    )


def _step_of(line: str) -> float:
    """The step of a line of metrics; infinity for a line that was cut off or damaged."""
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf


def _other_run(folder: Path, what: str) -> MismatchError:
    return MismatchError(
        f"distilling into {folder}",
        received=what,
        expected="an empty folder, or the run of exactly this command",
        remedy="choose another folder for --out, or remove this one",
    )


def _tensorboard(track: str) -> Any:
    """The class that writes for this tracker; raises `UnknownNameError` and `MissingExtraError`."""
    from decoct.registry import unknown_name

    if track != "tensorboard":
        raise unknown_name("tracker", track, ["tensorboard"])
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "tracking with tensorboard",
            received=str(error),
            expected="the package tensorboard",
            remedy="pip install 'decoct[track]'",
        ) from error
    return SummaryWriter
