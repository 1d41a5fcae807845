"""The tables of docs/judging.md, written between their marks from the committed results.

    python benchmarks/judge_pages.py [--docs FOLDER]

Accuracies are those of the last epoch in per cent, with half of the 95 % interval over students; gains are paired by
seed. What is not measured yet has no table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro
from record import RESULTS, machine
from search_pages import table

from decoct.evaluation.statistics import show_percent
from decoct.files import write_text

DOCS = Path(__file__).parents[1] / "docs"
Entry = dict[str, Any]
MATRIX, SEARCH = "cross_architecture", "equal_search"


def gain(judged: Entry, other: Entry) -> str:
    """Points above the other, seed by seed."""
    text = show_percent([own - its for own, its in zip(judged["last"], other["last"], strict=True)])
    return text if text.startswith("-") else f"+{text}"


def compared(head: str, rows: list[tuple[str, dict[str, tuple[Entry, Entry]]]]) -> str:
    """A line for each network or augmentation: random rows, then every set with its gain over them."""
    names = list(dict.fromkeys(name for _, pairs in rows for name in pairs))
    lines = []
    for label, pairs in rows:
        random = next(iter(pairs.values()))[1]
        shown = [cell for name in names for cell in told(pairs.get(name))]
        lines.append([f"`{label}`", show_percent(random["last"]), *shown])
    return table([head, "random", *(cell for name in names for cell in (name, "gain"))], lines)


def told(pair: tuple[Entry, Entry] | None) -> tuple[str, str]:
    """Accuracy and gain, dashes for what was not measured."""
    return ("–", "–") if pair is None else (show_percent(pair[0]["last"]), gain(*pair))


def pairs_of(found: dict[str, Any], half: str, augmentation: str, network: str) -> dict[str, tuple[Entry, Entry]]:
    """For every set what was judged and the random rows beside it, on one network under one augmentation."""
    pairs = {}
    for recipe, own in found["sets"].items():
        entries = own.get(half, {"scorecards": {}})["scorecards"].get(augmentation, {"entries": []})["entries"]
        there = {entry["name"]: entry for entry in entries if entry["network"] == network}
        if recipe in there:
            pairs[recipe] = (there[recipe], there["random"])
    return pairs


def labels_of(found: dict[str, Any], half: str, key: Callable[[str, Entry], str]) -> list[str]:
    """Networks or augmentations, in the order they were judged in."""
    first = next(iter(found["sets"].values()))
    cards = first.get(half, {"scorecards": {}})["scorecards"]
    return list(dict.fromkeys(key(name, entry) for name, card in cards.items() for entry in card["entries"]))


def networks(found: dict[str, Any]) -> str:
    """Sets and random rows on every network."""
    names = labels_of(found, "networks", lambda _, entry: entry["network"])
    return compared("network", [(name, pairs_of(found, "networks", "protocol", name)) for name in names])


def augmentations(found: dict[str, Any]) -> str:
    """The same under every augmentation on the home network."""
    home = labels_of(found, "networks", lambda _, entry: entry["network"])[0]
    names = labels_of(found, "augmentations", lambda name, _: name)
    return compared("augmentation", [(name, pairs_of(found, "augmentations", name, home)) for name in names])


def fair(found: dict[str, Any]) -> str:
    """The four scores of every set on the home network, and what all of the data came to in them."""
    rows = []
    whole = {f"{'; '.join(own['full']['notes'])}: {show_percent(own['full']['last'])} %"
             for own in found["sets"].values() if "full" in own}  # fmt: skip
    for recipe, own in found["sets"].items():
        for score in own.get("fair_scores", []):
            cells = [show_percent(score["accuracy"]), *(fraction(score[name]) for name in ("ior", "hlr", "lrs", "ars"))]
            rows.append([recipe, f"{score['nbytes']:,}", *cells])
    heads = ["set", "bytes", "accuracy, %", "IOR", "HLR", "LRS", "ARS"]
    beside = "".join(f"\n\nAll of the data, beside which HLR and LRS stand: {told}." for told in sorted(whole))
    return table(heads, rows) + beside


def fraction(values: list[float]) -> str:
    """Mean and half interval of a score between 0 and 1."""
    if not values:
        return "–"
    mean, *half = show_percent(values).split(" ± ")
    return f"{float(mean) / 100:.3f}" + (f" ± {float(half[0]) / 100:.3f}" if half else "")


def searched(found: dict[str, Any]) -> str:
    """Every set and baseline with the protocol's step size and with the one it chose."""
    rows: dict[str, list[str]] = {}
    for own in found["sets"].values():
        for fixed, chosen in zip(own["fixed"]["entries"], own["searched"]["entries"], strict=True):
            step = next(note for note in chosen["notes"] if note.startswith("step size")).split()[2]
            both = [show_percent(fixed["last"]), show_percent(chosen["last"]), gain(chosen, fixed)]
            rows.setdefault(f"{fixed['label']}, {fixed['rows']} rows", [step, *both])
    reads = list(found["sets"].values())[-1]["searched"]["test_reads"]
    most = reads["most_reads_of_a_run"]
    heads = ["entry", "step size chosen", "protocol's own step size", f"best of {found['trials']}", "gain"]
    return (
        f"{table(heads, [[name, *cells] for name, cells in rows.items()])}\n\n"
        f"{reads['runs']} students in all; none visited the test data more than "
        f"{'once' if most == 1 else f'{most} times'}."
    )


PARTS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "networks": (MATRIX, networks), "augmentations": (MATRIX, augmentations), "fair scores": (MATRIX, fair),
    "equal search": (SEARCH, searched),
}  # fmt: skip
"""Mark in the page, result it is made from, and what makes it."""


def page(text: str, results: Path = RESULTS) -> str:
    """The page with every table that there are results for. Raises `ValueError` where a mark is missing."""
    for name, (source, make) in PARTS.items():
        path = results / f"{source}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        start, end = f"<!-- {name}: written by benchmarks/judge_pages.py -->", f"<!-- end of {name} -->"
        if start not in text or end not in text:
            raise ValueError(f"docs/judging.md has no marks {start} and {end}")
        before, _, rest = text.partition(start)
        after = rest.partition(end)[2]
        text = f"{before}{start}\n\n{make(found)}\n\n{machine(found)}\n\n{end}{after}"
    return text


def main(docs: Path = DOCS) -> None:
    """Write between the marks.

    Args:
        docs: Folder of judging.md.
    """
    path = docs / "judging.md"
    write_text(path, page(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    tyro.cli(main)
