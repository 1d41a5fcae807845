"""What an application writes into its folder: the result, its finding, and a report of all that is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from decoct.analysis.finding import Finding
    from decoct.data.dataset import Dataset


@runtime_checkable
class Found(Protocol):
    """The result of an application."""

    def to_json(self) -> dict[str, Any]: ...
    def finding(self) -> Finding: ...
    def table(self) -> str: ...


def write_finding(out: Path, name: str, found: Found, data: Dataset | None = None) -> dict[str, Any]:
    """Write `<name>.json`, `finding-<name>.json` and `report.html` into `out`; what the command prints as JSON.

    The report has a section for every application that wrote into this folder. Raises `OutputError`, and
    `IntegrityError` where the finding of another one is damaged.
    """
    from decoct.files import write_json
    from decoct.report.find import application_findings
    from decoct.report.html import write_report
    from decoct.report.judged import Judged

    write_json(out / f"{name}.json", found.to_json())
    finding = found.finding()
    finding.save(out / f"finding-{name}.json")
    _drop_former(out, finding)
    report = write_report(out / "report.html", [Judged(out.name, findings=application_findings(out))], data)
    return {**found.to_json(), "table": found.table(), "report": str(report)}


def _drop_former(out: Path, finding: Finding) -> None:
    """Remove the `finding.json` that earlier versions wrote where it is about the same, else it would be told twice."""
    from decoct.analysis.finding import Finding
    from decoct.evaluation.scorecard import read_json

    former = out / "finding.json"
    if former.is_file() and Finding.from_json(read_json(former), str(former)).name == finding.name:
        former.unlink()
