"""Write what `benchmarks/recipe_table.py` measured into the docstrings of the recipes, as their last paragraph.

    python benchmarks/expected.py

A recipe without a cell says that it was not measured. `python benchmarks/paper_index.py` then prints the same.
"""

from __future__ import annotations

import ast
import json
import textwrap
from pathlib import Path
from typing import Any

from recipe_tables import PUBLISHED_RECIPES, merged, on_slower_processor, percent
from record import RESULTS

RECIPES = Path(__file__).parent.parent / "src" / "decoct" / "distillation" / "recipes"
TITLES = {"fashion-mnist": "Fashion-MNIST", "mnist": "MNIST", "cifar10-10k": "10,000 images of CIFAR-10"}
START = "Expected of `cpu`"
NOT_FOR_TRAINING = {"hcdc"}
"""Recipes whose sets are not made to train on."""


def measured() -> dict[str, dict[tuple[str, int], dict[str, Any]]]:
    """Recipe -> (data, images per class) -> its cell."""
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / "recipes").glob("*.json"))]
    found: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    for source, ipc in sorted({(cell["source"], cell["ipc"]) for cell in cells}):
        own = [cell for cell in cells if (cell["source"], cell["ipc"]) == (source, ipc) and "entries" in cell]
        for cell in merged(own):
            found.setdefault(cell["method"], {})[source, ipc] = cell
    return found


def paragraph(name: str, cells: dict[tuple[str, int], dict[str, Any]]) -> str:
    """What a run of a few minutes gave, and what the paper has."""
    if not cells:
        return f"{START}: not measured yet."
    minutes = next(iter(cells.values()))["minutes"]
    parts = [data_words(name, source, cells) for source in TITLES if any(key[0] == source for key in cells)]
    return f"{START} after {minutes:g} minutes of one core, students of width 32: {'; '.join(parts)}."


def data_words(name: str, source: str, cells: dict[tuple[str, int], dict[str, Any]]) -> str:
    own = {ipc: cell for (at, ipc), cell in sorted(cells.items()) if at == source}
    known = PUBLISHED_RECIPES.get(source, {}).get(name)
    words = [
        f"{percent(cell['entries'][0]['last'])} % at {ipc} a class"
        + (f" (published {known[0 if ipc == 1 else 1]})" if known and ipc in (1, 10) else "")
        + (" on a slower processor" if on_slower_processor(cell) else "")
        for ipc, cell in own.items()
    ]
    return f"{TITLES[source]} {', '.join(words)}"


def rewritten(text: str, found: dict[str, dict[tuple[str, int], dict[str, Any]]], known: set[str]) -> str:
    """The module with the last paragraph of every recipe's docstring made anew."""
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        name = getattr(node, "name", "").replace("_", "-")
        if not isinstance(node, ast.FunctionDef) or name not in known:
            continue
        literal = node.body[0].value  # pyright: ignore[reportAttributeAccessIssue]
        kept = [part for part in ast.get_docstring(node, clean=True).split("\n\n") if not part.startswith(START)]  # pyright: ignore[reportOptionalMemberAccess]
        told = textwrap.fill(paragraph(name, found.get(name, {})), 116, break_on_hyphens=False)
        body = textwrap.indent("\n\n".join([*kept, told]), "    ", lambda line: bool(line.strip())).lstrip()
        lines[literal.lineno - 1 : literal.end_lineno] = [f'    """{body}', '    """']
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Every module with recipes in it, and what should stand there."""
    from decoct.distillation.recipes.table import RECIPES as NAMES

    found, known = measured(), set(NAMES) - NOT_FOR_TRAINING
    paths = [path for path in sorted(RECIPES.glob("*.py")) if path.stat().st_size]
    return {path: rewritten(path.read_text(encoding="utf-8"), found, known) for path in paths}


def main() -> None:
    """Write them."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
