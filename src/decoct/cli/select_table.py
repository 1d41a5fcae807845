"""`decoct select features:PATH.npy`: picking from a table of features that need not fit into memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from decoct.durations import show_bytes, show_duration

if TYPE_CHECKING:
    from pathlib import Path

    from decoct.cli.select import Options
    from decoct.selection.selector import Selector

NOT_FOR_TABLES = ("bytes", "score", "features", "dropped", "images", "device")
"""Options of `decoct select` that say nothing about a table of features."""
NOT_FOR_OPENING = ("size", "mode", "whiten", "skip_bad", "weights", "val_fraction", "test_fraction", "split_seed",
                   "group", "held_out")  # fmt: skip


def run(options: Options, method: Selector) -> dict[str, Any]:
    """Select, and say what was picked; raises `ConfigError` for options that are for other sources."""
    from decoct.compact.budget import Budget
    from decoct.data.feature_table import feature_table
    from decoct.machine import peak_memory
    from decoct.selection.explain_table import explain_table, row_of_table
    from decoct.selection.sharded.cost import estimate_table
    from decoct.selection.sharded.driver import select_table
    from decoct.selection.sharded.selector import ROWS

    _require_fitting(options)
    table = feature_table(options.source, labels=options.labels, scores=options.scores)
    for row in options.explain:
        row_of_table(table, row)
    shard_rows = ROWS if options.shard_rows is None else options.shard_rows
    budget = Budget(ipc=options.ipc, fraction=options.fraction, count=options.count)
    cost = estimate_table(table, method, budget=budget, balance=options.balance, shard_rows=shard_rows)
    print(f"estimate: {cost.sentence}", file=sys.stderr)
    with options.running.start() as engine:
        picked = select_table(
            table, method, ipc=options.ipc, fraction=options.fraction, count=options.count, seed=options.seed,
            balance=options.balance, shard_rows=shard_rows, out=options.out,
            cache=options.opening.cache, engine=engine,
        )  # fmt: skip
    said = explain_table(picked, table, options.explain, seed=options.seed) if options.explain else []
    size = picked.nbytes
    return {
        "out": str(options.out),
        "source": table.name,
        "rows": len(picked),
        "of": table.rows,
        "classes": picked.spec.classes,
        "bytes": {"images": size.images, "labels": size.labels, "decoder": size.decoder, "total": size.total},
        "seconds": picked.provenance["seconds"],
        "peak_memory": peak_memory(),
        "content_hash": picked.content_hash,
        "provenance": picked.provenance,
        "estimate": {"flops": cost.flops, "seconds": cost.seconds},
        "explanations": [one.sentence for one in said],
    }


def refuse_labels(labels: Path | None, called: str) -> None:
    """Raise `ConfigError` for labels beside a source that has its own."""
    if labels is not None:
        from decoct.errors import ConfigError

        raise ConfigError(
            called,
            received=f"--labels {labels}",
            expected="labels for features:PATH.npy only; other sources hold their own",
            remedy="leave --labels out",
        )


def changed(*parts: tuple[Any, tuple[str, ...]]) -> list[str]:
    """Which of these options of each part are not at their defaults."""
    return [
        name for part, names in parts for name in names
        if getattr(part, name) != type(part).__dataclass_fields__[name].default
    ]  # fmt: skip


def _require_fitting(options: Options) -> None:
    given = changed((options, NOT_FOR_TABLES), (options.opening, NOT_FOR_OPENING))
    # The scores of a table are one column, which has no other name than that of its file.
    given += [f"set {word}" for word in options.words if word.startswith("score=")]
    if given:
        from decoct.errors import ConfigError

        raise ConfigError(
            f"selecting from {options.source}",
            received=" and ".join("--" + name.replace("_", "-") for name in given),
            expected="--ipc, --fraction or --count, --labels and --scores (.npy files), --balance, --shard-rows, "
            "--explain, --cache and --engine beside a table of features, whose rows are picked from as they are, on "
            "the processor",
            remedy="leave these out: rows are compared by the table itself, and all count the same",
        )


def show(result: dict[str, Any]) -> str:
    """Where the rows are, and what it took."""
    return "\n".join(
        [
            f"{result['out']}: {result['rows']} of {result['of']} rows of {result['source']} "
            f"in {show_duration(result['seconds'])}, {show_bytes(result['peak_memory'])} of memory at most.",
            f"Row numbers in the order picked: {result['out']}/selection.parquet; the rows: set.safetensors.",
            *result["explanations"],
        ]
    )
