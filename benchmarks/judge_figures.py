"""The figures of docs/judging.md, drawn from results/cross_architecture.json and results/label_bytes.json.

python benchmarks/judge_figures.py [--docs FOLDER]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import tyro
from record import RESULTS

matplotlib.use("agg")

import matplotlib.pyplot as plt

DOCS = Path(__file__).parents[1] / "docs"


def half(entry: dict[str, Any]) -> float:
    """Half of the 95 % interval in per cent, 0 for one run."""
    found = entry["interval"]
    return 0.0 if found is None else 50 * (found[1] - found[0])


def fields(matrix: dict[str, Any], augmentation: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The entries of one augmentation by kind and network, without the full data."""
    entries = matrix["scorecards"][augmentation]["entries"]
    return {(entry["kind"], entry["network"]): entry for entry in entries if entry["name"] != "full"}


def cross_architecture(result: dict[str, Any], docs: Path) -> None:
    """Accuracies by network on the left, by augmentation on the right."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, gridspec_kw={"width_ratios": [2, 1]})
    for place, (recipe, own) in enumerate(result["sets"].items()):
        found = {"augmentations": own["networks"], **own}
        wide = fields(found["networks"], "protocol")
        networks = [network for kind, network in wide if kind == "judged"]
        names = list(found["augmentations"]["scorecards"])
        home = {name: fields(found["augmentations"], name) for name in names}
        network = next(iter(home[names[0]]))[1]
        for axis, labels, find in (
            (axes[0], networks, lambda kind, label, wide=wide: wide[kind, label]),
            (axes[1], names, lambda kind, label, home=home, net=network: home[label][kind, net]),
        ):
            kinds = (("judged", recipe, f"C{place}"), ("baseline", "random, same bytes", "0.6"))
            for shift, (kind, label, colour) in enumerate(kinds):
                if kind == "baseline" and place:
                    continue
                entries = [find(kind, name) for name in labels]
                x = [i + 0.15 * (place - shift) for i in range(len(labels))]
                y = [100 * entry["mean"] for entry in entries]
                axis.errorbar(
                    x, y, [half(entry) for entry in entries], fmt="os"[shift], color=colour, label=label, capsize=2
                )
            axis.set_xticks(range(len(labels)), labels, rotation=35, ha="right")
            axis.grid(axis="y", alpha=0.3)
    axes[0].set_ylabel("test accuracy, %")
    axes[0].set_title("networks")
    axes[1].set_title("augmentations")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(docs / "cross-architecture.png", dpi=110)
    plt.close(figure)


CURVES = (
    ("hard", "hard", "", "D", "C0"),
    ("teacher, fp16", "teacher", "fp16", "o", "C1"),
    ("teacher, 8 bits", "teacher", "8bit", "s", "C2"),
    ("learned with the images, fp16", "own", "fp16", "o", "C3"),
    ("learned with the images, 8 bits", "own", "8bit", "s", "C4"),
)
"""Name, whose labels, precision, marker and colour of every curve that there may be."""


def curve(entries: list[dict[str, Any]], whose: str, precision: str) -> list[dict[str, Any]]:
    """The entries of one curve, by bytes."""
    own = [entry for entry in entries if entry["label"].partition("-")[0] == whose]
    if precision:
        own = [entry for entry in own if entry["label"].endswith("8bit") == (precision == "8bit")]
    return sorted(own, key=lambda entry: entry["label_bytes"])


def label_bytes(result: dict[str, Any], docs: Path) -> None:
    """Accuracy against the bytes of the labels, a curve for each origin and precision, a panel for each set."""
    sets = result["sets"]
    figure, axes = plt.subplots(1, len(sets), figsize=(4.6 * len(sets), 4), sharey=True, squeeze=False)
    for axis, (name, entries) in zip(axes[0], sets.items(), strict=True):
        for label, whose, precision, marker, colour in CURVES:
            own = curve(entries, whose, precision)
            if own:
                x, y = [entry["label_bytes"] for entry in own], [100 * entry["mean"] for entry in own]
                halves = [half(entry) for entry in own]
                axis.errorbar(x, y, halves, marker=marker, color=colour, label=label, capsize=2)
        axis.set_title(f"{name} rows")
        axis.set_xlabel("bytes of labels")
        axis.set_xscale("log")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    axes[0][0].set_ylabel("test accuracy, %")
    figure.tight_layout()
    figure.savefig(docs / "label-bytes.png", dpi=110)
    plt.close(figure)


def main(docs: Path = DOCS) -> None:
    """Draw what has been measured.

    Args:
        docs: Folder for the figures.
    """
    for name, draw in (("cross_architecture", cross_architecture), ("label_bytes", label_bytes)):
        path = RESULTS / f"{name}.json"
        if path.exists():
            draw(json.loads(path.read_text(encoding="utf-8")), docs)


if __name__ == "__main__":
    tyro.cli(main)
