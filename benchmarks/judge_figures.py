"""The figures of docs/judging.md, drawn from results/cross_architecture.json and results/label_bytes.json.

python benchmarks/judge_figures.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
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


def cross_architecture(result: dict[str, Any]) -> None:
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
    figure.savefig(DOCS / "cross-architecture.png", dpi=110)


def label_bytes(result: dict[str, Any]) -> None:
    """Accuracy against all stored bytes, a curve for each precision, a panel for each set of rows."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, (name, entries) in zip(axes, result["sets"].items(), strict=True):
        curves = {
            "hard": [entry for entry in entries if entry["label"] == "hard"],
            "teacher, fp16": [e for e in entries if e["label"].startswith("teacher") and "8bit" not in e["label"]],
            "teacher, 8 bits": [e for e in entries if "8bit" in e["label"]],
        }
        for label, marker in zip(curves, "Dos", strict=True):
            own = sorted(curves[label], key=lambda entry: entry["label_bytes"])
            y = [100 * entry["mean"] for entry in own]
            axis.errorbar(
                [e["label_bytes"] for e in own], y, [half(e) for e in own], marker=marker, label=label, capsize=2
            )
        axis.set_title(f"{name} rows")
        axis.set_xlabel("bytes of labels")
        axis.set_xscale("log")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test accuracy, %")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(DOCS / "label-bytes.png", dpi=110)


def main() -> None:
    """Draw what has been measured."""
    for name, draw in (("cross_architecture", cross_architecture), ("label_bytes", label_bytes)):
        path = RESULTS / f"{name}.json"
        if path.exists():
            draw(json.loads(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
