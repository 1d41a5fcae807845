"""Settings of a method as words, NAME=VALUE: which there are, and a method with some of them set."""

from __future__ import annotations

import dataclasses
import difflib
import operator
import types
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from decoct.errors import ConfigError, UnknownNameError

M = TypeVar("M")
NONE, YES, NO = "none", ("true", "yes", "1"), ("false", "no", "0")
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting of a method."""

    name: str
    kind: Any
    """The type that its field is annotated with."""
    default: Any

    @property
    def shown(self) -> str:
        """Its default, as it would be written."""
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default)) or NONE
        return NONE if self.default is None else str(self.default)

    @property
    def expected(self) -> str:
        """What it takes, in words."""
        return " or ".join(_words(kind) for kind in _alternatives(self.kind))

    def parse(self, text: str) -> Any:
        """The value that `text` stands for; raises `ValueError`."""
        for kind in _alternatives(self.kind):
            try:
                return _value(kind, text)
            except ValueError:
                continue
        raise ValueError(text)


def settings_of(method: object) -> list[Setting]:
    """The settings of a method, a frozen dataclass, in the order of its fields; none of anything else.

    Defaults are the values that `method` has. Settings that are neither a word, a number, true or false nor a list of
    such, and so cannot be written as one word, are left out.
    """
    if not dataclasses.is_dataclass(method):
        return []
    hints = get_type_hints(type(method), localns={"ClassVar": ClassVar})
    found = [Setting(f.name, hints[f.name], getattr(method, f.name)) for f in dataclasses.fields(method) if f.init]
    return [setting for setting in found if all(map(_writable, _alternatives(setting.kind)))]


def with_settings(method: M, words: Sequence[str], name: str) -> M:
    """`method`, listed as `name`, with these settings, each "NAME=VALUE"; "none" stands for nothing, and lists have
    commas between their values.

    Raises `UnknownNameError` for a setting that it does not have, `ConfigError` for a word without "=", a value of
    another type, a setting that is given twice, and what the method itself refuses.
    """
    known = {setting.name: setting for setting in settings_of(method)}
    values: dict[str, Any] = {}
    for word in words:
        own, equals, text = word.partition("=")
        if not equals or own in values:
            raise ConfigError(
                f"setting {own} of {name}", received=repr(word) if not equals else f"a second value, {word!r}",
                expected=f"NAME=VALUE, each name once; {_listed(known, name)}", remedy="write, for example, "
                + next((f"{one.name}={one.shown}" for one in known.values()), "no settings at all"),
            )  # fmt: skip
        if own not in known:
            near = difflib.get_close_matches(own, list(known), n=1, cutoff=0.5)
            raise UnknownNameError(
                f"setting {own} of {name}", received=repr(word), expected=_listed(known, name),
                remedy=f"did you mean {near[0]!r}?" if near else "choose a setting from the list, or another method",
            )  # fmt: skip
        try:
            values[own] = known[own].parse(text)
        except ValueError:
            raise ConfigError(
                f"setting {own} of {name}", received=repr(text), expected=known[own].expected,
                remedy=f"give such a value, or keep the default, {known[own].shown}",
            ) from None  # fmt: skip
    if not values:
        return method
    return dataclasses.replace(method, **values)  # type: ignore[type-var]


def plain(value: Any) -> Any:
    """The value with numbers of numpy as those of Python, which JSON can hold, also inside lists and dictionaries."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value


def whole(name: str, value: Any) -> int:
    """The argument `name` as a number of Python's, which JSON can hold; raises `ConfigError` for what is none."""
    try:
        return operator.index(value)
    except TypeError:
        raise ConfigError(
            f"selecting with {name}={value!r}", received=f"a {type(value).__name__}", expected="a whole number",
            remedy=f"give one, such as {name}=1",
        ) from None  # fmt: skip


def _listed(known: dict[str, Setting], name: str) -> str:
    if not known:
        return f"no settings: {name} has none"
    return f"settings of {name}: " + ", ".join(f"{one.name}={one.shown} ({one.expected})" for one in known.values())


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (types.UnionType, Union) else (kind,)


def _writable(kind: Any) -> bool:
    return kind in KINDS or kind is type(None) or get_origin(kind) is Literal or _of_list(kind) in KINDS


def _of_list(kind: Any) -> Any:
    """What a list of any length is of, `int` for `tuple[int, ...]`; None for anything else."""
    parts = get_args(kind)
    return parts[0] if get_origin(kind) is tuple and len(parts) == 2 and parts[1] is Ellipsis else None


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if _of_list(kind):
        return f"{KINDS[_of_list(kind)]}, or more with commas between"
    return NONE if kind is type(None) else KINDS[kind]


def _value(kind: Any, text: str) -> Any:
    """The value of this type; raises `ValueError`."""
    if get_origin(kind) is Literal:
        found = [choice for choice in get_args(kind) if str(choice) == text]
    elif _of_list(kind):
        return () if text.lower() == NONE else tuple(_value(_of_list(kind), part) for part in text.split(","))
    elif kind is type(None):
        found = [None] if text.lower() == NONE else []
    elif kind is bool:
        found = [text.lower() in YES] if text.lower() in YES + NO else []
    else:
        return kind(text)
    if not found:
        raise ValueError(text)
    return found[0]
