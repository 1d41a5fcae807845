"""What an application writes into its folder: the result, its finding, and a report."""

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


def write_finding(out: Path, name: str, found: Found, data: Dataset) -> dict[str, Any]:
    """Write `<name>.json`, `finding.json` and `report.html` into `out`; what the command prints as JSON."""
    from decoct.files import write_json
    from decoct.report.collect import Judged
    from decoct.report.html import write_report

    write_json(out / f"{name}.json", found.to_json())
    finding = found.finding()
    finding.save(out / "finding.json")
    report = write_report(out / "report.html", [Judged(out.name, findings=(finding,))], data)
    return {**found.to_json(), "table": found.table(), "report": str(report)}
