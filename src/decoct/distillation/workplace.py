"""The folder of a distillation in progress: who it belongs to, its metrics, its checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from decoct.compact.distilled import DistilledSet
from decoct.compact.load import load
from decoct.distillation.checkpoint import load_checkpoint, save_checkpoint
from decoct.distillation.run import Distillation
from decoct.errors import MismatchError, MissingExtraError
from decoct.files import make_folder, write_json, write_text, writing

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
        self._writer = None
        if folder is not None:
            self._claim(folder)
        if track is not None:
            self._writer = _tensorboard(track, folder)

    def __enter__(self) -> Workplace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def _claim(self, folder: Path) -> None:
        """Write the identity into an empty folder; refuse a folder that holds another run."""
        path = make_folder(folder) / "run.json"
        if not path.exists() and (folder / "manifest.json").exists():
            raise _other_run(folder, "a finished set of another kind")
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            plain = json.loads(json.dumps(self._identity))
            different = sorted(key for key in {*found, *plain} if found.get(key) != plain.get(key))
            if different:
                raise _other_run(folder, "a run that differs in " + ", ".join(different))
        else:
            write_json(path, self._identity)

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
        """Put `run` where its last checkpoint was; drop metrics logged after it."""
        if self.folder is None:
            return
        metrics = self.folder / "metrics.jsonl"
        if self._checkpoint.exists():
            run.load_state(*load_checkpoint(self._checkpoint))
            lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True) if metrics.exists() else []
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= run.step]
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
    return SummaryWriter(str((folder or Path("runs")) / "tensorboard"))
