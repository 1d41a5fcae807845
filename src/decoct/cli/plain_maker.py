"""Makers of sets where only plain names are taken."""

from __future__ import annotations

from decoct.errors import ConfigError


def require_plain_maker(name: str, called: str, remedy: str, more: tuple[str, ...] = ()) -> None:
    """Raise `ConfigError` for a recipe with a start, such as dm+noise, and what `require_maker` raises for others."""
    from decoct.applications.small_set import require_maker

    if "+" in name:
        raise ConfigError(
            called,
            received=f"{name!r}, with what its images start from after the plus",
            expected="the plain name of a selector or a recipe, whose images start as it says",
            remedy=remedy,
        )
    require_maker(name, more)
