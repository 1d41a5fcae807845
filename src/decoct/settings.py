"""Ranges and choices of settings: what a setting cannot be is told by name, before any work."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from decoct.errors import ConfigError


def require_settings(settings: object, where: str, *limits: tuple[str, bool, str]) -> None:
    """Raise `ConfigError` for the first setting of `settings`, called `where`, that is not good.

    Each limit is (setting, whether it is good, what it has to be).
    """
    for name, good, expected in limits:
        if not good:
            raise out_of_range(settings, name, where, expected)


def require_at_least(settings: object, where: str, **least: int) -> None:
    """Raise `ConfigError` where a setting of this name is below its number (None, which means left out, is not)."""
    for name, bound in least.items():
        value = getattr(settings, name)
        if value is not None and not _between(value, bound):
            raise out_of_range(settings, name, where, f"{bound} or more")


def require_above(settings: object, where: str, **bounds: int) -> None:
    """Raise `ConfigError` where a setting of this name is not above its number (None, which means left out, is)."""
    for name, bound in bounds.items():
        value = getattr(settings, name)
        if value is not None and (not _between(value, bound) or value == bound):
            raise out_of_range(settings, name, where, f"a number above {bound}")


def require_share(settings: object, where: str, *names: str, whole: bool = False) -> None:
    """Raise `ConfigError` where a setting of this name is not from 0 to 1; 1 is let in where `whole`."""
    for name in names:
        value = getattr(settings, name)
        if not _between(value, 0, 1) or (value == 1 and not whole):
            raise out_of_range(settings, name, where, "a number from 0 to 1" + ("" if whole else ", 1 left out"))


def _between(value: Any, low: float | int, high: float | int | None = None) -> bool:
    """Whether it is a number there, ends included; neither words nor NaN are."""
    try:
        return bool(value >= low and (high is None or value <= high))
    except TypeError:
        return False


def out_of_range(settings: object, name: str, where: str, expected: str) -> ConfigError:
    """The error for the setting `name` of `settings`, which are called `where`."""
    kept = ", or keep the defaults" if _has_defaults(settings) else ""
    return ConfigError(
        f"setting {name} of {where}", received=repr(getattr(settings, name)), expected=expected,
        remedy=f"give another {name}{kept}",
    )  # fmt: skip


def _has_defaults(settings: object) -> bool:
    """Whether nothing has to be given to make such settings."""
    return is_dataclass(settings) and all(
        field.default is not MISSING or field.default_factory is not MISSING for field in fields(settings)
    )


def require_choices(settings: object) -> None:
    """Raise `ConfigError` where a field of a dataclass has a value that its annotation does not list.

    What is read are `Literal[...]`, `bool`, and unions of these with other types.
    """
    if not is_dataclass(settings):
        return
    for name, listed, others in _choices(type(settings)):
        value = getattr(settings, name)
        if value in listed or isinstance(value, others):
            continue
        near = difflib.get_close_matches(str(value), list(map(str, listed)), n=1, cutoff=0.5)
        guess = [repr(choice) for choice in listed if str(choice) in near]
        raise ConfigError(
            f"setting {name} of {type(settings).__name__}",
            received=repr(value),
            expected="one of " + ", ".join(map(repr, listed)),
            remedy=f"did you mean {guess[0]}?" if guess else f"give another {name}",
        )


def _choices(kind: type) -> Iterator[tuple[str, tuple[Any, ...], tuple[type, ...]]]:
    """Of each field that lists values: its name, these values, and the types that it may have beside them."""
    try:
        hints = get_type_hints(kind)
    except NameError:
        # Names that exist only inside a function, or only for type checkers, say nothing at run time.
        return
    for field in fields(kind):  # type: ignore[arg-type]
        hint = hints[field.name]
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        listed = [get_args(part) if get_origin(part) is Literal else (True, False) for part in parts if _lists(part)]
        others = [get_origin(part) or part for part in parts if not _lists(part)]
        if listed and all(isinstance(other, type) for other in others):
            whole = (int,) if float in others else ()
            yield field.name, tuple(choice for group in listed for choice in group), (*others, *whole)


def _lists(part: Any) -> bool:
    return part is bool or get_origin(part) is Literal
