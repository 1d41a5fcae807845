"""What is said of a setting that cannot be, and what is let through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from decoct.errors import ConfigError
from decoct.settings import require_above, require_at_least, require_settings, require_share


@dataclass(frozen=True)
class Given:
    """Something has to be given."""

    rows: Any
    share: Any = 0.5


@dataclass(frozen=True)
class Kept:
    """Everything has a default, one of them made."""

    rows: Any = 3
    share: Any = 0.5
    names: list[str] = field(default_factory=list)


def refused(work) -> ConfigError:
    with pytest.raises(ConfigError) as told:
        work()
    return told.value


def test_the_first_limit_that_is_not_kept_is_told_with_its_value() -> None:
    limits = (("rows", True, "anything"), ("share", False, "a half"), ("rows", False, "1 or more"))
    error = refused(lambda: require_settings(Kept(share="all"), "a test", *limits))
    assert (error.called, error.received, error.expected) == ("setting share of a test", "'all'", "a half")
    require_settings(Kept(), "a test", *limits[:1])


@pytest.mark.parametrize(
    ("settings", "remedy"), [(Kept(0), "give another rows, or keep the defaults"), (Given(0), "give another rows")]
)
def test_defaults_are_spoken_of_where_there_are_some(settings: object, remedy: str) -> None:
    ways = (
        lambda: require_settings(settings, "a test", ("rows", False, "1 or more")),
        lambda: require_at_least(settings, "a test", rows=1),
        lambda: require_above(settings, "a test", rows=0),
    )
    for way in ways:
        error = refused(way)
        assert (error.called, error.received, error.remedy) == ("setting rows of a test", "0", remedy)


@pytest.mark.parametrize("value", [0, -1, float("nan"), "3"])
def test_numbers_below_words_and_nan_are_refused(value: object) -> None:
    assert refused(lambda: require_at_least(Given(value), "a test", rows=1)).expected == "1 or more"
    assert refused(lambda: require_above(Given(value), "a test", rows=0)).expected == "a number above 0"


def test_ends_and_what_is_left_out() -> None:
    for value in (1, None):
        require_at_least(Given(value), "a test", rows=1)
        require_above(Given(value), "a test", rows=0)
    for share in (0, 0.5, 1):
        require_share(Kept(share=share), "a test", "share", whole=True)
    assert refused(lambda: require_share(Kept(share=1), "a test", "share")).expected.endswith("1, 1 left out")
    assert refused(lambda: require_share(Kept(share=1.1), "a test", "share", whole=True)).received == "1.1"
