"""Settings of methods as words."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal, get_origin

import numpy as np
import pytest
from untyped import as_callers_do

from decoct.errors import ConfigError, UnknownNameError
from decoct.selection.active import Active
from decoct.selection.coverage import Coverage
from decoct.selection.detection.csod import Csod
from decoct.selection.dynamic_uncertainty import DynamicUncertainty
from decoct.selection.facility_location import FacilityLocation
from decoct.selection.kernel_thinning import KernelThinning
from decoct.selection.methods import METHODS, selector
from decoct.selection.settings import plain, settings_of, whole, with_settings
from decoct.selection.sharded.selector import Sharded


@pytest.mark.parametrize(
    ("method", "words", "expected"),
    [
        ("dyn-unc", ["window=5"], DynamicUncertainty(window=5)),
        ("dyn-unc", ["window=none"], DynamicUncertainty()),
        ("ccs", ["strata=20", "drop=0.3", "score=el2n"], Coverage(strata=20, drop=0.3, score="el2n")),
        (
            "facility-location",
            ["engine=stochastic", "form=sparse", "kind=rbf", "epsilon=1e-3"],
            FacilityLocation(engine="stochastic", form="sparse", kind="rbf", epsilon=1e-3),
        ),
        ("active", ["strategy=entropy", "rounds=2"], Active(strategy="entropy", rounds=2)),
    ],
)
def test_values_have_the_type_of_their_field(method: str, words: list[str], expected: object) -> None:
    found = with_settings(selector(method), words, method)
    assert found == expected
    assert [type(value) for value in vars(found).values()] == [type(value) for value in vars(expected).values()]


def test_settings_of_images_too() -> None:
    assert with_settings(Csod(), ["weight=0.5", "centred=yes"], "csod") == Csod(0.5, True)
    assert with_settings(Csod(centred=True), ["centred=false"], "csod") == Csod()
    with pytest.raises(ConfigError, match="true or false"):
        with_settings(Csod(), ["centred=maybe"], "csod")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_setting_of_every_method_can_be_written(method: str) -> None:
    found = selector(method)
    listed = settings_of(found)
    assert [one.name for one in listed] == list(vars(found))
    assert with_settings(found, [f"{one.name}={one.shown}" for one in listed], method) == found


def test_a_setting_that_is_not_there_lists_those_that_are_with_their_defaults() -> None:
    with pytest.raises(UnknownNameError) as caught:
        with_settings(selector("dyn-unc"), ["windw=3"], "dyn-unc")
    told = str(caught.value)
    assert "setting windw of dyn-unc" in told
    assert "settings of dyn-unc: score=dyn-unc (a word), window=none (a whole number or none)" in told
    assert "did you mean 'window'?" in told
    with pytest.raises(UnknownNameError, match="no settings: random has none"):
        with_settings(selector("random"), ["a=1"], "random")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["strata=many"], r"(?s)received: 'many'.*expected: a whole number.*the default, 50"),
        (["strata=2.5"], r"(?s)received: '2\.5'.*a whole number"),
        (["drop="], r"(?s)received: ''.*expected: a number"),
        (["strata"], r"(?s)received: 'strata'.*NAME=VALUE.*strata=50 \(a whole number\).*score=aum"),
        (["strata=2", "strata=3"], r"(?s)a second value, 'strata=3'.*each name once"),
        (["drop=1.5"], "drop=1.5"),
    ],
)
def test_words_that_cannot_be_used(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        with_settings(selector("ccs"), words, "ccs")


def test_choices_are_told() -> None:
    with pytest.raises(ConfigError, match="dense or blocks"):
        with_settings(selector("log-det"), ["form=sparse"], "log-det")


def _listed(kind: Any) -> bool:
    return get_origin(kind) is Literal


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_mistyped_choice_is_refused_in_python_too(method: str) -> None:
    found = selector(method)
    for one in settings_of(found):
        if _listed(one.kind):
            told = f"(?s)setting {one.name} of .*received: 'no such'"
            with as_callers_do(), pytest.raises(ConfigError, match=told):
                replace(found, **{one.name: "no such"})


def test_choices_of_one_method_are_not_those_of_another() -> None:
    with as_callers_do(), pytest.raises(ConfigError, match="one of 'auto', 'dense', 'blocks'"):
        KernelThinning(form="sparse")  # type: ignore[arg-type]
    with as_callers_do(), pytest.raises(ConfigError, match="(?s)setting centred of Csod.*'maybe'"):
        Csod(centred="maybe")  # type: ignore[arg-type]


def test_numbers_of_numpy_become_those_of_python() -> None:
    with as_callers_do():
        inner: Any = FacilityLocation(neighbours=np.int64(5), epsilon=np.float32(0.5))  # type: ignore[arg-type]
        found = Sharded(inner, np.int32(40))  # type: ignore[arg-type]
    told = json.loads(json.dumps(found.settings("pca")))
    assert (told["rows"], told["inner"]["neighbours"], told["inner"]["epsilon"]) == (40, 5, 0.5)
    assert whole("seed", np.uint8(3)) == 3
    assert plain({"a": (np.bool_(True), [np.str_("b")])}) == {"a": (True, ["b"])}
    with pytest.raises(ConfigError, match=r"(?s)seed=1\.5.*received: a float.*such as seed=1"):
        whole("seed", 1.5)


def test_what_is_no_word_is_no_setting() -> None:
    @dataclass(frozen=True)
    class Own:
        inner: Coverage
        rows: int = 3

    assert [one.name for one in settings_of(Own(Coverage()))] == ["rows"]
    assert settings_of(object()) == []
