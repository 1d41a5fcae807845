"""Every error that decoct raises on purpose, each saying what to do next."""

from __future__ import annotations

from typing import Any


class DecoctError(Exception):
    """Base of all decoct errors; the command line prints it on one screen and exits with code 2.

    Four parts make one message: `called` (what was asked of decoct), `received` (the value, with its shape where it
    has one), `expected`, and `remedy` (what to do next).
    """

    def __init__(self, called: str, *, received: str, expected: str, remedy: str) -> None:
        self.called, self.received, self.expected, self.remedy = called, received, expected, remedy
        super().__init__(f"{called}\n  received: {received}\n  expected: {expected}\n  what to do: {remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        # What copies an exception, or sends it to another process, knows arguments by place alone.
        return _rebuilt, (type(self), self.called, self.received, self.expected, self.remedy)


def _rebuilt(kind: type[DecoctError], called: str, received: str, expected: str, remedy: str) -> DecoctError:
    return kind(called, received=received, expected=expected, remedy=remedy)


class SourceError(DecoctError):
    """A data source is missing, empty or cannot be read."""


class DataError(DecoctError):
    """The values of a data set are unusable: bad labels, NaN, a class with too few images."""


class BudgetError(DecoctError):
    """A budget asks for more than there is, or for less than one image."""


class UnknownNameError(DecoctError):
    """A method, network, protocol or command of that name does not exist."""


class ConfigError(DecoctError):
    """An option has a value that the method cannot work with."""


class MismatchError(DecoctError):
    """A compact set and a data set (or a checkpoint and a command) do not belong together."""


class IntegrityError(DecoctError):
    """A file on disk is truncated, altered, or tries something it must not."""


class UnfinishedRunError(DecoctError):
    """A run folder has no whole manifest."""


class OutputError(DecoctError):
    """A result cannot be written: read-only folder, full disk, something else in the way."""


class MemoryEstimateError(DecoctError):
    """The work would not fit into the memory of this machine."""


class DivergenceError(DecoctError):
    """A loss became NaN or infinite."""


class CurvatureError(DecoctError):
    """A system of second derivatives cannot be solved: negative curvature, or a series that grows."""


class MissingExtraError(DecoctError):
    """An optional package is needed for this call and cannot be imported."""


class InterruptedRunError(DecoctError):
    """The user stopped a run; its state was saved."""
