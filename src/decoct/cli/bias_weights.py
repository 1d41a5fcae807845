"""What the commands about bias say of --weights where nothing looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decoct.cli.opening import Opening


def require_no_weights(opening: Opening, called: str, instead: str) -> None:
    """Raise `ConfigError` for --weights, which would change nothing; `instead` says what to do with them."""
    from decoct.errors import ConfigError

    if opening.weights is not None:
        raise ConfigError(
            called,
            received=f"--weights {opening.weights}",
            expected="no --weights: every row counts the same here",
            remedy=f"leave --weights out; {instead}",
        )
