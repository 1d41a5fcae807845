"""`evaluate`: train networks on a compact set and on honest baselines, and measure them on test data once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from decoct.compact.compact_set import CompactSet
from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.data.sample_weights import Weights
from decoct.evaluation.baselines import BASELINES
from decoct.evaluation.bench import Bench
from decoct.evaluation.protocol import Protocol, own_protocol, protocol_from
from decoct.evaluation.scorecard import Scorecard
from decoct.evaluation.search import Search
from decoct.evaluation.withheld import in_terms_of

__all__ = ["Bench", "evaluate", "set_protocol"]


def evaluate(
    compact_set: CompactSet,
    data: Dataset,
    protocol: str | Protocol = "quick",
    networks: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 5,
    *,
    baselines: Sequence[str] = BASELINES,
    search: Search | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    weights: Weights | None = None,
) -> Scorecard:
    """Judge `compact_set` on `data`: its accuracy under one protocol, beside baselines at no more than its bytes.

    `networks` are names (by default the field's ConvNet for the size of the images, or "mlp" for features). `seeds` is
    a number (0, 1, ...) or the seeds themselves; each trains one network of each name. Every choice uses `data.val`;
    `data.test` is read once a run, at its end. With `out`, each finished run is kept in `out/cells` and never done
    again, so that the same call resumes, and `out/test_reads.jsonl` has a line for each time test data were read.

    `weights` say how much real rows count (`SampleWeights`, or numbers in the order of `data.train`): baselines are
    drawn by them, full data and the teacher are trained with them, and validation rows that have some count by them.
    The test split is never weighted.

    The protocol "own" trains with the step size that was learned with the set, or along its steps where each has one
    (`own_protocol`), and the baselines beside it too. Labels that were made at a temperature are fitted at it.
    With `search`, the set and every baseline get the same number of trials of training settings on validation data.
    The baseline "hard-labels" is the set's own rows with the class of each in place of its soft label.

    A set whose fingerprint is withheld, as that of private sets is, is judged where shape and classes match, under the
    normalisation of the data; the notes say so.

    Raises `MismatchError` where set and data do not belong together, `UnknownNameError` for a protocol, a network or
    a baseline that does not exist, `ConfigError` for no networks or seeds and for a network that cannot take inputs of
    this size, and `OutputError`.
    """
    compact_set, notices = in_terms_of(compact_set, data.spec)
    data = data.with_weights(weights)
    bench = Bench.of(
        data, set_protocol(protocol, compact_set), networks, seeds,
        baselines=baselines, search=search, out=out, device=device,
    )  # fmt: skip
    card = bench.judge(compact_set)
    return replace(card, notes=(*notices, *card.notes))


def set_protocol(protocol: str | Protocol, compact_set: CompactSet) -> Protocol:
    """The protocol of that name; "own" reads what was learned with the set. Raises as `evaluate`."""
    if protocol == "own":
        return own_protocol(compact_set.learned if isinstance(compact_set, DistilledSet) else {})
    return protocol_from(protocol)
