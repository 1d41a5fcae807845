"""Ranges of settings: what is out of range is told by name, before any work."""

from __future__ import annotations

from decoct.errors import ConfigError


def require_at_least(settings: object, where: str, **least: int) -> None:
    """Raise `ConfigError` where a setting of this name is below its number (None, which means left out, is not)."""
    for name, bound in least.items():
        value = getattr(settings, name)
        if value is not None and not value >= bound:
            raise out_of_range(name, where, value, f"{bound} or more")


def require_above(settings: object, where: str, **bounds: int) -> None:
    """Raise `ConfigError` where a setting of this name is not above its number."""
    for name, bound in bounds.items():
        value = getattr(settings, name)
        if not value > bound:
            raise out_of_range(name, where, value, f"a number above {bound}")


def out_of_range(name: str, where: str, value: object, expected: str) -> ConfigError:
    """The error for a setting of `where`."""
    return ConfigError(
        f"setting {name} of {where}", received=repr(value), expected=expected, remedy=f"give another {name}"
    )
