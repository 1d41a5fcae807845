"""Settings of a selector outside their range are refused when it is made, not after hours of picking."""

from __future__ import annotations

from decoct.errors import ConfigError


def require_settings(method: object, name: str, *limits: tuple[str, bool, str]) -> None:
    """Raise `ConfigError` for the first setting of `method`, called `name`, that is not good.

    Each limit is (setting, whether it is good, what it has to be).
    """
    for setting, good, expected in limits:
        if not good:
            raise ConfigError(
                f"setting {setting} of {name}", received=repr(getattr(method, setting)), expected=expected,
                remedy=f"give another {setting}, or keep the defaults",
            )  # fmt: skip
