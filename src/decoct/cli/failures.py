"""What a person sees when something goes wrong: one screen on standard error, never a traceback."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from pathlib import Path

from decoct.errors import DecoctError, InterruptedRunError, MemoryEstimateError, OutputError
from decoct.files import writing

DEFECT, WRONG, STOPPED = 1, 2, 130
SCREEN_LINES, SCREEN_COLUMNS = 20, 1000


def print_failure(error: BaseException, as_json: bool = False) -> int:
    """Say on standard error what happened and what to do; returns the exit code.

    With `as_json` the same goes to standard output as `{"error": {...}}`. DECOCT_DEBUG=1 adds the traceback.
    """
    if os.environ.get("DECOCT_DEBUG") == "1":
        traceback.print_exception(error)
    known, code = explain(error)
    print(_one_screen(str(known), bold=sys.stderr.isatty()), file=sys.stderr, flush=True)
    if as_json:
        print(json.dumps({"error": _parts(known)}, ensure_ascii=False), flush=True)
    return code


def explain(error: BaseException) -> tuple[DecoctError, int]:
    """The typed error that tells a person about `error`, and the exit code."""
    if isinstance(error, InterruptedRunError):
        return error, STOPPED
    if isinstance(error, DecoctError):
        return error, WRONG
    if isinstance(error, KeyboardInterrupt):
        return _stopped(), STOPPED
    if _is_out_of_memory(error):
        return _out_of_memory(error), WRONG
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        return _refused(error), WRONG
    return _defect(error), DEFECT


def _stopped() -> InterruptedRunError:
    return InterruptedRunError(
        "stopped by Ctrl-C",
        received="an interrupt",
        expected="the work to go on to its end",
        remedy="run the same command again: compare, evaluate, score, analyze, apply and bias measure go on after what "
        "is finished in their folder, distill from its last checkpoint, select from features:PATH.npy after its last "
        "shard; anything else starts anew and left nothing behind",
    )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    # torch reports a failed allocation as a plain RuntimeError on the CPU and as a subclass of it on a GPU.
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)


def _out_of_memory(error: BaseException) -> MemoryEstimateError:
    return MemoryEstimateError(
        "running this command",
        received=str(error).partition("\n")[0] or "an allocation that the system refused",
        expected="work that fits into the memory of this machine",
        remedy="take a smaller --size, a smaller --ipc or a smaller network, or close other programs",
    )


def _refused(error: OSError) -> DecoctError:
    try:
        with writing(Path(error.filename or ".")):
            raise error
    except OutputError as known:
        return known


def _defect(error: BaseException) -> DecoctError:
    return DecoctError(
        "this is a defect of decoct, not of what you asked",
        received=f"{type(error).__name__}: {error}",
        expected="a result, or an error that says what to do",
        remedy="run it again with DECOCT_DEBUG=1 in the environment and report the traceback",
    )


def _parts(error: DecoctError) -> dict[str, str]:
    return {
        "kind": type(error).__name__,
        "called": error.called,
        "received": error.received,
        "expected": error.expected,
        "remedy": error.remedy,
    }


def _one_screen(message: str, bold: bool) -> str:
    lines = [line if len(line) <= SCREEN_COLUMNS else line[:SCREEN_COLUMNS] + " ..." for line in message.splitlines()]
    if len(lines) > SCREEN_LINES:
        left_out = len(lines) - SCREEN_LINES
        # The end says what to do, so the middle goes.
        lines = [*lines[: SCREEN_LINES - 4], f"  ... {left_out + 1} more lines", *lines[-3:]]
    first = f"decoct: {lines[0]}"
    return "\n".join([f"\033[1m{first}\033[0m" if bold else first, *lines[1:]])
