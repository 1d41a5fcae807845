"""`decoct apply privacy SOURCE`: who can be told to have been in the training data, and what noise costs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from decoct.cli.opening import Opening, Output, Source, left_out

if TYPE_CHECKING:
    from decoct.applications.privacy.dp import Private, PrivateConfig
    from decoct.applications.privacy.membership import MembershipConfig

ROWS_FILE = "private-rows.json"
"""A hash of the rows that the private set was made from, beside the set and never in it: whoever has all rows but one
could tell by it which row the last one is."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Attack networks trained on real, selected and distilled rows; find copies in sets; make a private set."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    ways: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("real", "random", "dm+noise", "dm+real")
    """What networks are trained on: real (all rows of a half), selectors, recipes, recipe+start (dm+noise), or
    private (with --epsilon: a private set of each half)."""
    models: int = 16
    """Networks of each way, an even number; each is attacked with the others as shadows. 0 attacks nothing."""
    attack: Literal["online", "offline"] = "online"
    """online: shadows with and without a row; offline: those without it only."""
    ipc: int = 10
    """Images a class of small sets."""
    steps: Annotated[int | None, left_out("N")] = None
    """Steps of each distillation; without it, the recipe's own. Private sets (--epsilon, --ways private) have a fixed
    number of steps, whatever is given here."""
    network: Annotated[str | None, left_out("NAME")] = None
    """Network; without it, the field's ConvNet for the size of the images."""
    sets: Annotated[tuple[Path, ...], left_out("DIR...")] = ()
    """Folders of sets made from this source: their images are compared with the training rows."""
    epsilon: Annotated[float | None, left_out("E")] = None
    """Also make a set that is (E, delta)-differentially private, in OUT/private (pip install 'decoct[privacy]')."""
    delta: Annotated[float | None, left_out("D")] = None
    """With --epsilon: delta of that set, well below 1 / rows; without it, 1e-5."""
    seed: int = 0
    """Seed of the attack, and of the noise in the sets that --ways private makes to be attacked. The noise of the set
    in OUT/private never comes from it."""
    out: Path = Path("decoct-privacy")
    """Folder of finished runs, the result and the report; the same command goes on."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is. For attacks: private sets and copies are on the
    processor, whatever is given here."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Attack, look for copies, make a private set: whatever is asked for, on one page with what the folder has."""
    from decoct.applications.privacy.membership import require_attack
    from decoct.files import make_folder
    from decoct.report.find import application_findings
    from decoct.report.html import write_report
    from decoct.report.judged import Judged

    _require_own(options)
    data = options.opening.open(options.source)
    if options.models:
        # Before a private set is made, which takes minutes.
        require_attack(data, options.ways, _config(options), options.seed)
    make_folder(options.out)
    found = {"copies": _copies(options, data), "private": _private(options, data)}
    attacked = {} if options.models == 0 else _attack(options, data)
    findings = application_findings(options.out)
    if not findings:
        return found
    page = write_report(options.out / "report.html", [Judged(options.out.name, findings=findings)], data)
    told = [one.to_json() for one in findings]
    return {**found, **attacked, "findings": told, "report": str(page)}


def _require_own(options: Options) -> None:
    """Raise `ConfigError` for --delta without --epsilon: no set is made private, and the number would say nothing."""
    from decoct.errors import ConfigError

    if options.delta is not None and options.epsilon is None:
        raise ConfigError(
            "asking for privacy without a private set",
            received=f"--delta {options.delta:g}",
            expected="--delta with --epsilon, and only there",
            remedy="leave --delta out, or give --epsilon",
        )


def _attack(options: Options, data: Any) -> dict[str, Any]:
    from decoct.applications.privacy.membership import membership
    from decoct.cli.finding_report import write_finding

    attacked = membership(
        data, options.ways, _config(options), seed=options.seed, out=options.out, device=options.device
    )
    return write_finding(options.out, "membership", attacked, data)


def _config(options: Options) -> MembershipConfig:
    from decoct.applications.privacy.lira import Lira
    from decoct.applications.privacy.membership import MembershipConfig

    return MembershipConfig(
        models=options.models, ipc=options.ipc, steps=options.steps, network=options.network,
        attack=Lira(options.attack),
        private=_private_config(options),
    )  # fmt: skip


def _private_config(options: Options) -> PrivateConfig | None:
    from dataclasses import replace

    from decoct.applications.privacy.dp import PrivateConfig

    if options.epsilon is None:
        return None
    usual = PrivateConfig(target=options.epsilon)
    return usual if options.delta is None else replace(usual, delta=options.delta)


def _copies(options: Options, data: Any) -> dict[str, Any]:
    from decoct.applications.privacy.copies import copies, copies_finding
    from decoct.compact.load import load
    from decoct.files import write_json

    if not options.sets:
        return {}
    found = {str(folder): copies(load(folder), data) for folder in options.sets}
    told = {folder: one.to_json() for folder, one in found.items()}
    write_json(options.out / "copies.json", {"kind": "copies", "schema_version": 1, "sets": told})
    copies_finding(found).save(options.out / "finding-copies.json")
    return told


def _private(options: Options, data: Any) -> dict[str, Any] | None:
    config = _private_config(options)
    if config is None:
        return None
    from decoct.applications.privacy.dp import private_matching, public_view
    from decoct.evaluation.data_facts import data_key
    from decoct.files import write_json

    folder = options.out / "private"
    made = _made_before(options, config, data, folder)
    if made is None:
        made = private_matching(public_view(data), ipc=options.ipc, config=config, name=options.network)
        # Before the set, so that no set ever stands there without it.
        write_json(folder.parent / ROWS_FILE, {"kind": "rows of a private set", "data_key": data_key(data)})
        made.compact_set.save(folder)
    told = made.to_json(folder)
    write_json(options.out / "private.json", {"kind": "private set", "schema_version": 1, **told})
    made.finding(folder).save(options.out / "finding-private.json")
    return told


def _made_before(options: Options, config: PrivateConfig, data: Any, folder: Path) -> Private | None:
    """The private set that the same command left in `folder`: new noise would be a second look at the rows.

    Raises `MismatchError` for a set that was asked for otherwise, or made from other rows.
    """
    from decoct.applications.privacy.dp import Private
    from decoct.compact.load import load
    from decoct.errors import MismatchError
    from decoct.networks.build import default_network

    if not (folder / "manifest.json").exists():
        return None
    small = load(folder)
    asked = {
        "target": config.target, "delta": config.delta, "ipc": options.ipc,
        "network": options.network or default_network(data.spec.shape),
    }  # fmt: skip
    found = {name: small.provenance.get(name) for name in asked}
    if found != asked or small.spec.shape != data.spec.shape or small.spec.class_names != data.spec.class_names:
        raise MismatchError(
            f"going on with the private set in {folder}",
            received=f"one made with {_told(found)}, of images {list(small.spec.shape)}",
            expected=f"one made with {_told(asked)}, of images {list(data.spec.shape)}",
            remedy="give the same options, or another --out: both sets together cost more privacy than each alone",
        )
    _require_same_rows(data, folder)
    return Private.of(small)  # type: ignore[arg-type]  # whatever else is loaded has none of these facts


def _require_same_rows(data: Any, folder: Path) -> None:
    """Raise `MismatchError` unless the set in `folder` was made from the rows of `data`, as the file beside it says."""
    from decoct.errors import MismatchError
    from decoct.evaluation.data_facts import data_key

    path = folder.parent / ROWS_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["data_key"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    told = "one made from other rows, or from these opened otherwise"
    if found is None:
        told = f"one without {path}, which says what rows it was made from"
    if found != data_key(data):
        raise MismatchError(
            f"going on with the private set in {folder}",
            received=told,
            expected=f"one made from the rows of {data.spec.source}, opened as now",
            remedy="give the same source and options, or another --out: the claim is about the rows a set was made of",
        )


def _told(facts: dict[str, Any]) -> str:
    words = {"target": "epsilon"}
    return ", ".join(f"{words.get(name, name)} {value}" for name, value in facts.items())


def show(result: dict[str, Any]) -> str:
    """Tables, counts of copies, and the claim with its number."""
    lines = [result["table"]] if "table" in result else []
    for folder, found in result["copies"].items():
        lines.append(
            f"{folder}: {found['flagged']} of {found['images']} images are copies of training rows "
            f"({found['expected']:.2g} expected of fresh real rows)"
        )
        lines += [f"note: {notice}" for notice in found["notices"]]
    if result["private"] is not None:
        lines.append(f"{result['private']['folder']}: {result['private']['claim']}")
    lines += [f"report: {Path(result['report']).resolve()}"] if "report" in result else []
    return "\n".join(lines) or "nothing asked for: name --ways, --sets or --epsilon"
