"""Draw the figures and write the tables of docs/architecture-search.md and docs/hyperparameter-search.md.

Both come from the JSON of the two benchmarks; a page whose results are missing stays as it is.

    python benchmarks/search_pages.py [--docs FOLDER]
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from record import RESULTS

from decoct.files import write_text

DOCS = Path(__file__).parents[1] / "docs"
START, END = "<!-- results: written by benchmarks/search_pages.py -->", "<!-- end of results -->"
INK, BAR, LINE = "#222222", "#6b8fb5", "#b5541c"
Value = Mapping[str, Any]


def shown(value: Value, digits: int = 2, factor: float = 1.0) -> str:
    """Such as "0.71 [0.52, 0.84]", without brackets where there is no interval."""
    head = f"{factor * value['value']:.{digits}f}"
    if not value["interval"]:
        return head
    low, high = (factor * end for end in value["interval"])
    return f"{head} [{low:.{digits}f}, {high:.{digits}f}]"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def verdict(ranked: Sequence[tuple[str, Value]], measured: str) -> str:
    """Which is best, and which of the others its interval cannot be told from."""
    (best, value), *rest = sorted(ranked, key=lambda pair: -pair[1]["value"])
    text = f"Best in {measured}: **{best}**, {shown(value)}."
    if not value["interval"]:
        return text
    near = [name for name, other in rest if other["interval"] and other["interval"][1] >= value["interval"][0]]
    behind = [name for name, _ in rest if name not in near]
    return (
        text
        + (f" Intervals overlap with {', '.join(near)}." if near else "")
        + (f" Clearly behind: {', '.join(behind)}." if behind else "")
    )


def bars(axes: Axes, title: str, entries: Sequence[tuple[str, Value]]) -> None:
    """Horizontal bars with 95 % intervals, the first entry on top."""
    places = list(range(len(entries)))[::-1]
    for place, (_, value) in zip(places, entries, strict=True):
        axes.barh(place, value["value"], color=BAR, height=0.62)
        if value["interval"]:
            axes.plot(value["interval"], [place, place], color=INK, linewidth=1.4)
    axes.set_yticks(places, [name for name, _ in entries])
    axes.axvline(0, color=INK, linewidth=0.8)
    lowest = min((value["interval"] or [value["value"]])[0] for _, value in entries)
    axes.set_xlim(min(0.0, lowest - 0.05), 1)
    axes.set_title(title, fontsize=10, loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def architectures(found: dict[str, Any], docs: Path) -> str:
    """The figure of the proxies, and their table."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    proxies = sorted(found["proxies"], key=lambda proxy: -proxy["agreement"]["spearman"]["value"])
    ranked = [(proxy["name"], proxy["agreement"]["spearman"]) for proxy in proxies]
    bars(left, "Spearman with full training", ranked)
    for proxy, colour in ((proxies[0], LINE), (proxies[-1], BAR)):
        heights = [100 * value for value in proxy["accuracies"]]
        right.scatter([100 * value for value in found["truth"]], heights, s=14, color=colour, label=proxy["name"])
    right.set_xlabel("test accuracy after full training, %")
    right.set_ylabel("validation accuracy under the proxy, %")
    right.legend(frameon=False)
    figure.savefig(docs / "architecture-search.png", dpi=110)
    made = {"random": 0.0, "early stopping": 0.0, **found["made_seconds"]}
    rows = [_proxy_row(proxy, made.get(proxy["name"]), found["full_seconds"]) for proxy in proxies]
    heads = (
        "proxy",
        "rows",
        "Spearman",
        "Kendall",
        "Spearman, better half",
        "regret, points",
        "made in",
        "ranked in",
        "times faster",
        "set included",
    )
    truth, ceiling = found["truth"], found["ceiling"]
    about = (
        f"{len(truth)} networks, {found['seeds']} runs each, {found['rows']['train']} Fashion-MNIST rows; trained on "
        f"all of them they reach {100 * min(truth):.1f} to {100 * max(truth):.1f} % on test. Validation accuracy of "
        f"the full training itself: Spearman {shown(ceiling['spearman'])}, regret "
        f"{shown(ceiling['regret'], 1, 100)} points. Full training takes {found['full_seconds']:.0f} s, one run of all "
        "networks; 'times faster' is that over ranking alone, 'set included' that over making and ranking together, "
        "and below 1 where the proxy took longer."
    )
    paid = [text for proxy in proxies if (text := _paid_back(proxy, made.get(proxy["name"]), found))]
    return "\n\n".join([about, table(heads, rows), " ".join([verdict(ranked, "Spearman"), *paid])])


def _paid_back(proxy: dict[str, Any], made: float | None, found: dict[str, Any]) -> str:
    """From how many networks on a set saves time that took some to make; nothing for what was there."""
    if not made:
        return ""
    saved = (found["full_seconds"] - proxy["seconds"]) / len(found["truth"])
    if saved <= 0:
        return f"Ranking by {proxy['name']} saves no time at all."
    return f"Making {proxy['name']} is paid back from {math.ceil(made / saved)} networks on (one run of each)."


def _proxy_row(proxy: dict[str, Any], made: float | None, full_seconds: float) -> list[str]:
    agreement, seconds = proxy["agreement"], proxy["seconds"]
    top = "–" if proxy["top_spearman"] is None else f"{proxy['top_spearman']:.2f}"
    return [
        proxy["name"], f"{proxy['rows']:,}", shown(agreement["spearman"]), shown(agreement["kendall"]), top,
        shown(agreement["regret"], 1, 100), "–" if made is None else f"{made:.0f} s", f"{seconds:.0f} s",
        f"{full_seconds / seconds:.1f}", "–" if made is None else f"{full_seconds / (made + seconds):.1f}",
    ]  # fmt: skip


def hyperparameters(images: dict[str, dict[str, Any] | None], graph: dict[str, Any] | None, docs: Path) -> str:
    """The figure of the validation sets, and their tables."""
    parts: list[tuple[str, list[tuple[str, Value]], list[list[str]], str]] = []
    for ipc, where, result in (
        (ipc, where, one) for where, task in images.items() for ipc, one in (task or {"ipc": {}})["ipc"].items()
    ):
        ranked = [(one["name"], one["agreement"]["spearman"]) for one in result["orderings"]]
        rows = [_set_row(one["name"], one["agreement"], one["gains"], ("random", "dm")) for one in result["orderings"]]
        same = ", ".join(f"{one['name']} {shown(one['same_networks']['spearman'])}" for one in result["orderings"])
        text = (
            f"{_told_apart(result['orderings'])}\n\nSpearman with the whole split on the same networks: {same}.\n\n"
            f"{_seconds(result)}"
        )
        parts.append((f"Fashion-MNIST, {where}{ipc} a class", ranked, rows, text))
    for kind, result in (graph or {"spaces": {}})["spaces"].items():
        for ipc in dict.fromkeys(name.rpartition("-")[2] for name in result["orders"]):
            found = [
                {"name": name.rpartition("-")[0], "agreement": one, "gains": _plain(result["gains"][name])}
                for name, one in result["orders"].items()
                if name.rpartition("-")[2] == ipc
            ]
            ranked = [(one["name"], one["agreement"]["spearman"]) for one in found]
            others = ("random", "distribution")
            rows = [_set_row(one["name"], one["agreement"], one["gains"], others) for one in found]
            parts.append((f"Cora, {kind} filters, {ipc} a class", ranked, rows, _told_apart(found, "distribution")))
    figure = Figure(figsize=(9, 2.9 * ((len(parts) + 1) // 2)), layout="constrained")
    grid = list(figure.subplots((len(parts) + 1) // 2, 2, squeeze=False).flat)
    for axes, (title, ranked, *_) in zip(grid, parts, strict=False):
        bars(axes, title, ranked)
    for axes in grid[len(parts) :]:
        axes.remove()
    figure.savefig(docs / "hyperparameter-search.png", dpi=110)
    heads = ("validation set", "Spearman", "Kendall", "regret, nats", "gain over random", "gain over dm")
    return "\n\n".join(f"### {title}\n\n{table(heads, rows)}\n\n{text}" for title, _, rows, text in parts)


def _seconds(result: dict[str, Any]) -> str:
    """What a search with each set costs beside one without any."""
    made = ", ".join(f"{name} {value:.3g}" for name, value in result["made_seconds"].items())
    return (
        f"Seconds: all candidates once on all rows {result['full_seconds']:.0f}, on the small training set "
        f"{result['seconds']:.0f}; making a set first (kinds that share their points pay for them in the first of "
        f"them): {made}."
    )


def _plain(gains: dict[str, Value]) -> dict[str, Value]:
    return {name.rpartition("-")[0]: value for name, value in gains.items()}


def _set_row(name: str, one: dict[str, Any], gains: Mapping[str, Value], others: Sequence[str]) -> list[str]:
    return [name, shown(one["spearman"]), shown(one["kendall"]), shown(one["regret"], 3),
            *(shown(gains[other]) if other in gains else "–" for other in others)]  # fmt: skip


def _told_apart(found: Sequence[dict[str, Any]], ordinary: str = "dm") -> str:
    """In words: what matched hypergradients gain over each other kind of set, on the same candidates and runs."""
    others = [other for other in ("random", "herding", ordinary) if any(one["name"] == other for one in found)]
    sentences = []
    for one in found:
        if not one["name"].startswith("hcdc"):
            continue
        above = [other for other in others if one["gains"][other]["interval"][0] > 0]
        below = [other for other in others if one["gains"][other]["interval"][1] < 0]
        level = [other for other in others if other not in above + below]
        said = [f"{word} {', '.join(names)}" for word, names in
                (("above", above), ("below", below), ("not told apart from", level)) if names]  # fmt: skip
        sentences.append(f"**{one['name']}** is {'; '.join(said)}.")
    return " ".join(sentences)


def _written(path: Path, results: str) -> None:
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    write_text(path, f"{before}{START}\n\n{results}\n\n{END}{after}")


def _result(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def main(docs: Path = DOCS) -> None:
    """Draw, and write between the marks of the pages.

    Args:
        docs: Folder of both pages, where the figures are put too.
    """
    ranked_networks = _result("architecture_search")
    if ranked_networks:
        _written(docs / "architecture-search.md", architectures(ranked_networks, docs))
    on_images = {"": _result("hcdc_fashion"), "close candidates, ": _result("hcdc_fine")}
    on_graph = _result("hcdc_cora")
    if any(on_images.values()) or on_graph:
        _written(docs / "hyperparameter-search.md", hyperparameters(on_images, on_graph, docs))


if __name__ == "__main__":
    tyro.cli(main)
