"""`decoct score SOURCE`: train once, and say how hard every training row is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from decoct.cli.opening import Opening, Output, Source, left_out
from decoct.cli.running import Running


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a network once and score every training row: scores.parquet, cartography.png, and rows to look at."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    out: Path = Path("decoct-scores")
    """Folder of the scores; the same command again reads the training that was made there, or goes on with it after a
    kill."""
    network: Annotated[str | None, left_out("NAME")] = None
    """Network to train; without it, a narrow ConvNet for images and an MLP for tables."""
    epochs: int = 20
    """Passes of the training, 2 or more."""
    window: Annotated[int | None, left_out("N")] = None
    """Passes of a window of dyn-unc, from 2 to all of them; without it 10, or half of the passes."""
    look: Literal["after", "during"] = "after"
    """When rows are looked at: all of them after each pass under the same weights, or each in its batch during the
    pass, at hardly any cost."""
    seed: int = 0
    """Everything random follows from this number."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    running: Running = field(default_factory=Running)
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Score, and say what stands out."""
    from decoct.files import write_atomically
    from decoct.report.examples import write_examples
    from decoct.selection.features import features
    from decoct.selection.scored import cartography_png, score

    data = options.opening.open(options.source)
    with options.running.start() as engine:
        table, dynamics = score(
            data, network=options.network, epochs=options.epochs, seed=options.seed, out=options.out,
            device=options.device, engine=engine, window=options.window, look=options.look,
        )  # fmt: skip
    picture = cartography_png(dynamics)
    write_atomically(options.out / "cartography.png", lambda file: Path(file).write_bytes(picture))
    # No network is trained for this: "auto" is pixels or their principal components.
    write_examples(options.out / "rows.html", data, table.columns, features(data, seed=options.seed), picture=picture)
    names, labels = data.spec.class_names, data.train.labels()

    def listed(rows: Any) -> list[dict[str, Any]]:
        return [{"id": table.ids[row], "class": names[int(labels[row])]} for row in rows.tolist()]

    return {
        "rows": len(table),
        "passes": dynamics.passes,
        "look": options.look,
        "val_accuracy": dynamics.val_accuracy[-1],
        "scores": list(table.columns),
        "never_learned": int((~dynamics.correct.any(1)).sum()),
        "always_right": int(dynamics.correct.all(1).sum()),
        "likely_mislabelled": listed(table.columns["aum"].argsort(descending=True)[:10]),
        "most_ambiguous": listed(table.columns["variability"].argsort(descending=True)[:10]),
        "out": str(options.out),
    }


def show(result: dict[str, Any]) -> str:
    """A few lines for a person."""

    def some(found: list[dict[str, Any]]) -> str:
        return ", ".join(f"{row['id']} ({row['class']})" for row in found[:5])

    return "\n".join(
        [
            f"{result['rows']} training rows watched over {result['passes']} passes, "
            f"{result['val_accuracy']:.1%} right on validation at the end",
            f"right in every look      {result['always_right']}",
            f"never right              {result['never_learned']}",
            f"likely mislabelled       {some(result['likely_mislabelled'])}",
            f"most ambiguous           {some(result['most_ambiguous'])}",
            f"scores                   {result['out']}/scores.parquet ({', '.join(result['scores'])})",
            f"map of the data          {result['out']}/cartography.png",
            f"rows to look at          {result['out']}/rows.html",
            "select by them           decoct select SOURCE --method hardest --score el2n "
            f"--scores {result['out']}/scores.parquet --fraction 0.5 --out DIR",
            "                         or --method easiest, middle or ccs, by any of the scores above",
        ]
    )
