"""Lazy tables and their errors."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from decoct.errors import ConfigError, UnknownNameError
from decoct.registry import Registry, load_object


def test_an_object_is_imported_when_it_is_asked_for():
    table = Registry("thing", {"pi": "math:pi", "join": "os:path.join"})
    assert table.load("pi") == pytest.approx(3.14159, abs=1e-4)
    assert table.load("join")("a", "b") == "a/b"
    assert list(table) == ["pi", "join"]
    assert "tau" not in table


def test_listing_imports_nothing():
    table = Registry("thing", {"far": "decoct_no_such_module:x"})
    assert dict(table) == {"far": "decoct_no_such_module:x"}
    assert "decoct_no_such_module" not in sys.modules


def test_an_unknown_name_comes_with_the_nearest_and_with_all():
    with pytest.raises(UnknownNameError, match=r"the fruit 'aple'(.|\n)*one of apple, pear(.|\n)*did you mean 'apple'"):
        Registry("fruit", {"pear": "m:p", "apple": "m:a"})["aple"]


@pytest.mark.parametrize("target", ["math:nothing", "no_such_module_here:x", "math", ""])
def test_a_target_that_is_not_there_says_what_was_tried(target):
    with pytest.raises(ConfigError, match=r"loading(.|\n)*'package.module:object'(.|\n)*Python path"):
        load_object(target)


def test_other_packages_add_names_and_cannot_replace_ours(monkeypatch):
    points = [EntryPoint("tau", "math:tau", "decoct.number"), EntryPoint("pi", "math:e", "decoct.number")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points if group == "decoct.number" else [])
    table = Registry("number", {"pi": "math:pi"})
    assert table.load("tau") == pytest.approx(6.283, abs=1e-3)
    assert table.load("pi") == pytest.approx(3.1416, abs=1e-3)
    assert len(table) == 2
