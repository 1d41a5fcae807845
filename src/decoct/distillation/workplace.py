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
from decoct.distillation.checkpoint import load_checkpoint, save_checkpoint
from decoct.distillation.run import Distillation
from decoct.errors import IntegrityError, MismatchError, MissingExtraError
from decoct.files import alone, make_folder, write_json, write_text, writing

CHECKPOINT_SECONDS = 30.0
"""Seconds between two checkpoints."""


class Workplace:
    """`run.json` (the identity of the run), `metrics.jsonl`, `checkpoint/state.safetensors`; nothing without a folder.

    The checkpoint is one file, replaced atomically, so a kill at any moment leaves the last whole one. It is removed
    when the manifest of the finished set has been written.
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
            different = sorted(key for key in {*found, *plain} if found.get(key) != plain.get(key))
            if different:
                raise _other_run(folder, "a run that differs in " + ", ".join(different))
        elif (folder / "manifest.json").exists():
            raise _other_run(folder, "a finished set of another kind")
        else:
            require_place(folder)

    def _claim(self, folder: Path) -> None:
        """Write the identity into the folder, and remember what was not there before."""
        path, metrics = folder / "run.json", folder / "metrics.jsonl"
        above = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        make_folder(folder)
        with alone(folder):
            if not path.exists():
                self._made = [metrics, self._checkpoint.parent, path, *above]
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
        """The set of this folder, if the run had ended."""
        if self.folder is None or not (self.folder / "manifest.json").exists():
            return None
        small = load(self.folder)
        assert isinstance(small, DistilledSet)
        return small

    def resume(self, run: Distillation) -> None:
        """Claim the folder, and put `run` where its last checkpoint was; drop metrics logged after it."""
        if self._track is not None:
            self._writer = _tensorboard(self._track, self.folder)
        if self.folder is None:
            return
        self._claim(self.folder)
        metrics = self.folder / "metrics.jsonl"
        if self._checkpoint.exists():
            run.load_state(*load_checkpoint(self._checkpoint))
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
        """Write the checkpoint."""
        if self.folder is not None:
            save_checkpoint(self._checkpoint, *run.state())

    def finish(self, small: DistilledSet) -> None:
        """Write the set with its manifest, then drop the checkpoint."""
        if self.folder is not None:
            small.save(self.folder)
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


def _tensorboard(track: str, folder: Path | None) -> Any:
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
    path = (folder or Path("runs")) / "tensorboard"
    with writing(path):
        return SummaryWriter(str(path))
