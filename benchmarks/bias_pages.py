"""The tables of docs/bias.md, written between their marks from the committed results of bias.py.

    python benchmarks/bias_pages.py [--docs FOLDER]

Mean and half of the 95 % interval over draws, in per cent. What is not measured yet has no table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro
from record import RESULTS, machine
from search_pages import table

from decoct.files import write_text

DOCS = Path(__file__).parents[1] / "docs"
Line = dict[str, Any]
COLUMNS = {
    "test": "unbiased test", "aligned": "aligned", "conflicting": "conflicting", "worst": "worst group", "gap": "gap",
    "amplification": "amplification", "anti": "anti-biased test",
}  # fmt: skip
WEIGHTS = {
    "none": "none", "density": "by density", "errors": "by early errors", "groups": "by known groups",
    "unbiased": "(the same rows without bias)",
}  # fmt: skip
PAGES = {"coloured": "bias", "damage": "bias-corrupted-4"}
"""Mark in the page, and the result that its table is made from."""
SEVERITIES = {severity: f"bias-coloured-{severity}" for severity in (1, 2, 3)} | {4: "bias"}
SHOWN_BY_SEVERITY = (("full", 0), ("dm", 50), ("random", 50))


def shown(value: Sequence[float | None]) -> str:
    """Mean ± half."""
    mean, half = value
    return f"{mean:.1f}" + ("" if half is None else f" ± {half:.1f}")


def called(line: Line, rows: int) -> str:
    """The maker and the size of a line."""
    return f"whole source, {rows:,} rows" if line["maker"] == "full" else f"`{line['maker']}`, {line['ipc']} a class"


def every_column(found: dict[str, Any]) -> str:
    """A line for each maker, size and kind of weights, with everything that was measured."""
    rows = []
    for line in ordered(found["lines"]):
        cells = [shown(line[name]) for name in COLUMNS]
        if line["maker"] == "full":
            cells[list(COLUMNS).index("amplification")] = ""  # it is measured against itself
        rows.append([called(line, found["settings"]["rows"]), WEIGHTS[line["weights"]], *cells])
    return table(["what is trained on", "weights", *COLUMNS.values()], rows)


def accuracy_alone(found: dict[str, Any]) -> str:
    """A line for each maker and size: accuracy on the unbiased test by kind of weights."""
    rows: dict[str, dict[str, str]] = {}
    for line in ordered(found["lines"]):
        rows.setdefault(called(line, found["settings"]["rows"]), {})[line["weights"]] = shown(line["test"])
    heads = ["what is trained on", *WEIGHTS.values()]
    return table(heads, [[name, *(own.get(weights, "–") for weights in WEIGHTS)] for name, own in rows.items()])


def by_severity(results: Path) -> str:
    """Accuracy on the unbiased test of a few makers at every severity that was measured."""
    rows = []
    for severity, name in SEVERITIES.items():
        if not (path := results / f"{name}.json").exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        for maker, ipc in SHOWN_BY_SEVERITY:
            own = {line["weights"]: line for line in found["lines"] if (line["maker"], line["ipc"]) == (maker, ipc)}
            if own:
                first = called(next(iter(own.values())), found["settings"]["rows"])
                rows.append([str(severity), first, *(shown(own[w]["test"]) if w in own else "–" for w in WEIGHTS)])
    return table(["severity", "what is trained on", *WEIGHTS.values()], rows)


def ordered(lines: Sequence[Line]) -> list[Line]:
    """The whole source first, then maker by maker from the small sets to the large."""
    makers = list(dict.fromkeys(line["maker"] for line in lines))
    first = sorted(makers, key=lambda name: (name != "full", name))
    return sorted(
        lines, key=lambda line: (first.index(line["maker"]), line["ipc"], list(WEIGHTS).index(line["weights"]))
    )


def page(text: str, results: Path = RESULTS) -> str:
    """The page with every table that there are results for. Raises `ValueError` where a mark is missing."""
    parts = {}
    for name, source in PAGES.items():
        if (path := results / f"{source}.json").exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            make = every_column if name == "coloured" else accuracy_alone
            parts[name] = f"{make(found)}\n\n{machine(found)}"
    parts["severities"] = by_severity(results)
    for name, made in parts.items():
        start, end = f"<!-- {name}: written by benchmarks/bias_pages.py -->", f"<!-- end of {name} -->"
        if start not in text or end not in text:
            raise ValueError(f"docs/bias.md has no marks {start} and {end}")
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n\n{made}\n\n{end}{rest.partition(end)[2]}"
    return text


def main(docs: Path = DOCS) -> None:
    """Write the tables into `docs`/bias.md."""
    path = docs / "bias.md"
    write_text(path, page(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
