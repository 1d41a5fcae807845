"""Tables and the figure of the selection cells, for `tables.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from record import RESULTS, machine

from decoct.evaluation import statistics

Cells = dict[tuple[str, float], dict[str, Any]]


def selection_sections(docs: Path) -> list[str]:
    """One table for each pool there are cells of, and a figure of it beside the page."""
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / "selection").glob("*.json"))]
    lines: list[str] = []
    for source, noise in sorted({(cell["source"], cell["noise"]) for cell in cells}):
        own: Cells = {
            (cell["method"], cell["fraction"]): cell
            for cell in cells if (cell["source"], cell["noise"]) == (source, noise)
        }  # fmt: skip
        lines += section(source, noise, own)
        if len({fraction for _, fraction in own}) > 1:
            name = f"selection-{source}" + (f"-noise{noise:g}" if noise else "")
            figure(own, docs / f"{name}.png")
            lines += [f"![accuracy against the share of the pool]({name}.png)", ""]
    for name, written in (
        ("noise_found", noise_section), ("noise_found_during", noise_during_section),
        ("dynamic_uncertainty", pruning_section),
    ):  # fmt: skip
        path = RESULTS / f"{name}.json"
        lines += written(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []
    return lines


def noise_section(result: dict[str, Any]) -> list[str]:
    """How well every score of one training ranks planted wrong labels above right ones."""
    return [
        "## Wrong labels found", "",
        f"Area under the ROC curve of scores against planted wrong labels, %: {result['rows']:,} images of "
        f"{result['source']}, one training of {result['network']} for {result['epochs']} passes, "
        f"{result['draws']} draws, 95 % intervals. 50 is chance; below 50 wrong labels have the smaller scores. "
        f"{machine(result)}", "",
        *_areas(result),
    ]  # fmt: skip


def noise_during_section(result: dict[str, Any]) -> list[str]:
    """The same with looks that cost nothing."""
    return [
        "### Looked at during the passes", "",
        f"The same with `--look during`, each row in its batch, {result['draws']} draws. {machine(result)}", "",
        *_areas(result),
    ]  # fmt: skip


def _areas(result: dict[str, Any]) -> list[str]:
    shares = sorted({line["noise"] for line in result["lines"]})
    by = {(line["score"], line["noise"]): line["auc"] for line in result["lines"]}
    names = sorted(
        {name for name, _ in by}, key=lambda name: -sum(statistics.mean(by[name, share]) for share in shares)
    )
    return [
        "| score | " + " | ".join(f"{100 * share:g} % wrong" for share in shares) + " |",
        "|---" * (len(shares) + 1) + "|",
        *(
            f"| `{name}` | " + " | ".join(statistics.show_percent(tuple(by[name, share])) for share in shares) + " |"
            for name in names
        ), "",
    ]  # fmt: skip


def pruning_section(result: dict[str, Any]) -> list[str]:
    """Three quarters of a whole set by dynamic uncertainty, beside random rows and everything."""
    share = f"{100 * result['fraction']:g} %"
    names = {"all": "everything", "dyn-unc": f"{share} by `dyn-unc`", "random": f"{share} at random"}
    low, high = result["intervals"]["all"]
    places = {name: statistics.mean(tuple(result["last"][name])) for name in ("dyn-unc", "random")}
    gaps = [
        f"of `{name}` {'holds' if gap[0] <= 0 <= gap[1] else 'does not hold'} 0"
        for name, gap in result["gap_intervals"].items()
    ]
    verdicts = [
        f"`{name}`, {100 * place:.2f} %, is {'below it' if place < low else 'above it' if place > high else 'inside'}"
        for name, place in places.items()
    ]
    return [
        "## Three quarters of Fashion-MNIST", "",
        f"{result['rows']:,} rows, students {result['network']}, {result['protocol']['fit']['epochs']} passes over "
        f"whatever they are given, last epoch, {len(result['last']['all'])} seeds (recording, rows and student), 95 % "
        f"intervals. {machine(result)}", "",
        "| rows | accuracy, % | points below everything, seed by seed |", "|---|---|---|",
        *(
            f"| {words} | {statistics.show_percent(tuple(result['last'][name]))} "
            f"| {'' if name == 'all' else statistics.show_percent(tuple(-gap for gap in result['below_all'][name]))} |"
            for name, words in names.items()
        ), "",
        f"The interval of everything is {100 * low:.2f} to {100 * high:.2f} %; of the means {', '.join(verdicts)}. "
        f"The interval of the differences, seed by seed, {' and that '.join(gaps)}.", "",
    ]  # fmt: skip


def section(source: str, noise: float, cells: Cells) -> list[str]:
    """Selectors by their mean gain over `random`, one column for each fraction."""
    fractions = sorted({fraction for _, fraction in cells})
    methods = sorted({method for method, _ in cells}, key=lambda method: -gain(method, cells))
    first = next(iter(cells.values()))
    commits = ", ".join(sorted({f"`{cell['commit']}`" for cell in cells.values()}))
    planted = f" {100 * noise:.0f} % of the labels are wrong." if noise else ""
    lines = [
        f"## Real images chosen: {source}, a pool of {first['pool']:,}{', labels in part wrong' if noise else ''}", "",
        f"Students {first['students']}, {first['protocol']['fit']['epochs'] * first['rows']:,} images shown to each, "
        f"{len(first['entries'][0]['last'])} students a set, last epoch, 95 % intervals.{planted} "
        f"`random` is drawn anew for each student; methods that compare rows do so by `--features {features(first)}`. "
        f"{first['hardware']['processor']}, commits {commits}; "
        f"{hours(cells):.1f} hours of one core by the clock, selections included, shared recordings left out.", "",
        "| method | " + " | ".join(f"{100 * fraction:g} %" for fraction in fractions) + " |",
        "|---" * (len(fractions) + 1) + "|",
    ]  # fmt: skip
    for method in methods:
        shown = [show(cells.get((method, fraction))) for fraction in fractions]
        lines.append(f"| `{method}` | " + " | ".join(shown) + " |")
    return [*lines, ""]


def features(cell: dict[str, Any]) -> str:
    """What rows are compared by; older cells, which do not say it, have that of a network trained for the purpose."""
    return cell.get("features", "network")


def hours(cells: Cells) -> float:
    """Of all students and selections."""
    students = sum(len(entry["last"]) * entry["seconds"] for cell in cells.values() for entry in cell["entries"])
    return (students + sum(cell.get("processor_seconds", 0.0) for cell in cells.values())) / 3600


def show(cell: dict[str, Any] | None) -> str:
    """Accuracy in per cent, and the wrong labels kept where some were planted."""
    if cell is None:
        return ""
    text = statistics.show_percent(tuple(cell["entries"][0]["last"]))
    if cell.get("mislabelled_in_pool"):
        text += f", {100 * cell['mislabelled_kept'] / cell['rows']:.0f} % wrong"
    elif cell["noise"]:
        text += f", {100 * cell['noise']:.0f} % wrong expected"
    return text


def gain(method: str, cells: Cells) -> float:
    """Mean accuracy over `random` at the fractions that every method has, or else that both have."""
    methods, fractions = {name for name, _ in cells}, {fraction for _, fraction in cells}
    whole = {fraction for fraction in fractions if all((name, fraction) in cells for name in methods)}
    both = [
        cell for (name, fraction), cell in cells.items()
        if name == method and ("random", fraction) in cells and (not whole or fraction in whole)
    ]  # fmt: skip
    gains = [accuracy(cell) - accuracy(cells["random", cell["fraction"]]) for cell in both]
    return sum(gains) / len(gains) if gains else -1.0


def accuracy(cell: dict[str, Any]) -> float:
    return statistics.mean(tuple(cell["entries"][0]["last"]))


def figure(cells: Cells, path: Path) -> None:
    """Gain over `random` in points against the share of the pool; the five best and the worst are named."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    methods = sorted({method for method, _ in cells} - {"random"}, key=lambda method: -gain(method, cells))
    named = {*methods[:5], *methods[-1:]}
    drawing = Figure(figsize=(7.2, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    for method in reversed(methods):
        own = sorted(fraction for name, fraction in cells if name == method and ("random", fraction) in cells)
        gains = [100 * (accuracy(cells[method, part]) - accuracy(cells["random", part])) for part in own]
        style = {"label": method, "linewidth": 1.8} if method in named else {"color": "0.8", "linewidth": 0.9}
        axes.plot([100 * part for part in own], gains, marker="o", markersize=3, **style)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="share of the pool, %", ylabel="points above random")
    # Even near random rows, where methods that serve lie, and a logarithm below, where some fall by eighty points.
    axes.set_yscale("symlog", linthresh=5, linscale=2)
    axes.set_yticks([-80, -40, -20, -10, -5, 0, 5], ["-80", "-40", "-20", "-10", "-5", "0", "5"])
    shares = sorted({fraction for _, fraction in cells})
    axes.set_xticks([100 * part for part in shares], [f"{100 * part:g}" for part in shares])
    axes.minorticks_off()
    drawing.legend(loc="outside right center", frameon=False, fontsize=8)
    drawing.savefig(path)
