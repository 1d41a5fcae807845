"""The same picks as other libraries where these are right; they come with `pip install 'decoct[oracles]'`."""

from __future__ import annotations

import warnings
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from decoct.selection.facility_location import FacilityLocation
from decoct.selection.feature_based import FeatureBased
from decoct.selection.graph_cut import GraphCut
from decoct.selection.log_det import LogDet
from decoct.selection.similarity import Form

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of scipy, by what these libraries import
ROWS, COUNT = 120, 15
WANTED = "not installed: pip install 'decoct[oracles]' to compare picks with it"


def oracle(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is {WANTED}", exc_type=ImportError)


@pytest.fixture(params=[0, 1, 2])
def rows(request: pytest.FixtureRequest) -> NDArray[np.float32]:
    return np.random.default_rng(request.param).standard_normal((ROWS, 6), dtype=np.float32)


def cosines(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray((1 + units @ units.T) / 2)


def picked(selector: FacilityLocation | GraphCut | LogDet | FeatureBased, rows: NDArray[np.float32]) -> list[int]:
    return selector.pick(torch.from_numpy(rows), COUNT, torch.Generator()).rows.tolist()


def greedily(function: object) -> list[int]:
    found = function.maximize(budget=COUNT, optimizer="LazyGreedy", show_progress=False)  # type: ignore[attr-defined]
    return [row for row, _ in found]


@pytest.mark.parametrize("form", ["dense", "blocks"])
def test_facility_location_of_submodlib(rows: NDArray[np.float32], form: Form) -> None:
    library = oracle("submodlib")
    function = library.FacilityLocationFunction(n=ROWS, mode="dense", sijs=cosines(rows), separate_rep=False)
    assert picked(FacilityLocation(form=form), rows) == greedily(function)


def test_facility_location_of_apricot(rows: NDArray[np.float32]) -> None:
    chooser = oracle("apricot").FacilityLocationSelection(COUNT, metric="precomputed", optimizer="lazy")
    assert picked(FacilityLocation(), rows) == chooser.fit(cosines(rows)).ranking.tolist()


@pytest.mark.parametrize("balance", [2.0, 4.0])
def test_graph_cut_of_submodlib(rows: NDArray[np.float32], balance: float) -> None:
    library = oracle("submodlib")
    function = library.GraphCutFunction(
        n=ROWS, mode="dense", lambdaVal=1 / balance, ggsijs=cosines(rows), separate_rep=False
    )
    assert picked(GraphCut(balance=balance), rows) == greedily(function)


def test_log_determinant_of_submodlib(rows: NDArray[np.float32]) -> None:
    wide = np.concatenate([rows, rows**2, rows[:, ::2] * rows[:, 1::2]], axis=1)  # fewer picks than the rank
    function = oracle("submodlib").LogDeterminantFunction(
        n=ROWS, mode="dense", lambdaVal=LogDet().ridge, sijs=wide @ wide.T
    )
    assert picked(LogDet(kind="dot"), wide) == greedily(function)


@pytest.mark.parametrize("concave", ["sqrt", "log"])
def test_feature_based_of_apricot(rows: NDArray[np.float32], concave: str) -> None:
    counts = np.abs(rows)
    chooser = oracle("apricot").FeatureBasedSelection(COUNT, concave_func=concave, optimizer="lazy")
    scaled = counts / counts.mean()
    ours = FeatureBased(concave=concave, lengths="own")  # type: ignore[arg-type]
    assert picked(ours, counts) == chooser.fit(scaled.astype(np.float64)).ranking.tolist()
