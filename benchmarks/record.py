"""Writing a benchmark's result with what is needed to read it, and saying that: hardware, versions, commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import decoct
from decoct.files import write_json
from decoct.machine import hardware, library_versions

RESULTS = Path(__file__).parent / "results"


def commit() -> str:
    """The commit that is measured; "+changes" where the tree differs from it. DECOCT_COMMIT names it where the tree
    travelled to a rented machine without its history."""
    if told := os.environ.get("DECOCT_COMMIT"):
        return told
    # Of the package that is imported, which need not lie beside this script.
    here = Path(decoct.__file__).parent
    name = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "."], cwd=here, capture_output=True, text=True, check=False
    )
    return name.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


STARTED = commit()
"""What is measured is the code as it was when the script started."""


def save(name: str, result: dict[str, Any]) -> Path:
    """Write `results/<name>.json`."""
    path = RESULTS / f"{name}.json"
    write_json(path, {"commit": STARTED, "hardware": hardware(), "versions": library_versions(), **result})
    print(f"wrote {path}")
    return path


def machine(result: dict[str, Any]) -> str:
    """Where and by which code a result was measured, for the texts made of it."""
    hardware = result["hardware"]
    cores = "1 core" if hardware["cores"] == 1 else f"{hardware['cores']} cores"
    return f"{hardware['processor']}, {cores}, commit `{result['commit']}`."
