"""Options that several commands share: how a source is opened, and how the result is printed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from decoct.data.dataset import Dataset


def left_out(metavar: str) -> Any:
    """The mark of an option that may be left out: what stands for its value in --help, without a default."""
    return arg(metavar=metavar, help_behavior_hint="")


Source = Annotated[Positional[str], arg(metavar="SOURCE")]
Folder = Annotated[Positional[Path], arg(metavar="DIR")]


@dataclass(frozen=True, kw_only=True)
class Output:
    """What is printed."""

    json: bool = False
    """Print one JSON object on standard output and nothing else there."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How the source is read."""

    size: Annotated[str | None, left_out("H[xW]")] = None
    """Resize images to this height and width, such as 32 or 24x32; without it the source's own size."""
    mode: Annotated[Literal["gray", "rgb"] | None, left_out("gray|rgb")] = None
    """Convert images to gray or to colour; without it the source's own mode."""
    whiten: bool = False
    """Apply ZCA whitening; the matrix travels with every result."""
    skip_bad: bool = False
    """Go on without image files that cannot be read, and count them."""
    cache: Annotated[Path | None, left_out("DIR")] = None
    """Folder in which decoded images are kept between runs."""
    weights: Annotated[Path | None, left_out("FILE")] = None
    """Parquet file with the columns id and weight: how much each training row counts, to whatever looks at it."""

    val_fraction: Annotated[float, arg(metavar="SHARE")] = 0.1
    """Share of the rows that are cut for validation where the source has no such rows, and with --group."""
    test_fraction: Annotated[float, arg(metavar="SHARE")] = 0.1
    """Share of the rows that are cut for the test where the source has no such rows, and with --group."""
    split_seed: int = 0
    """Seed by which rows, or groups, are cut."""
    group: Annotated[str | None, left_out("COLUMN|RE")] = None
    """Cut train, val and test anew so that no group is in two: a column (a person, a source, a generator) of
    parquet:, csv: and hub: data; of other sources a regular expression whose first group is found in the ids."""
    held_out: Annotated[tuple[str, ...], left_out("GROUP...")] = ()
    """With --group: these groups are the whole test split, such as a generator that nothing is chosen by or trained
    on; train and val are cut from the others."""

    def open(self, source: str, tell: bool = True) -> Dataset:
        """Open `source` with these options, and `tell` on standard error what was decided; raises as `decoct.open`."""
        size = self.height_and_width()
        self._require_groups(source)
        from decoct.data.open import open as open_source
        from decoct.data.open import with_groups

        source = source if self.group is None else with_groups(source, self.group)
        data = open_source(
            source,
            size=size,
            mode=self.mode,
            whiten=self.whiten,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
            seed=self.split_seed,
            skip_bad=self.skip_bad,
            cache=self.cache,
        )
        if self.group is not None:
            from decoct.data.groups import groups_from, split_by_group

            data = split_by_group(
                data, groups_from(data, self.group), held_out=self.held_out, val_fraction=self.val_fraction,
                test_fraction=self.test_fraction, seed=self.split_seed,
            )  # fmt: skip
        for notice in data.spec.notices if tell else ():
            print(f"note: {notice}", file=sys.stderr)
        if self.weights is None:
            return data
        from decoct.data.sample_weights import SampleWeights

        return data.with_weights(SampleWeights.load(self.weights))

    def words(self) -> list[str]:
        """The words of a command line that open a source in the same way; where the cache is changes nothing."""
        words = ["--size", self.size] if self.size else []
        words += ["--mode", self.mode] if self.mode else []
        for name in ("val_fraction", "test_fraction", "split_seed"):
            if (value := getattr(self, name)) != getattr(Opening, name):
                words += ["--" + name.replace("_", "-"), str(value)]
        words += ["--group", self.group] if self.group else []
        words += ["--held-out", *self.held_out] if self.held_out else []
        words += ["--weights", str(self.weights)] if self.weights else []
        return words + ["--whiten"] * self.whiten + ["--skip-bad"] * self.skip_bad

    def _require_groups(self, source: str) -> None:
        """Raise `ConfigError` for groups that are held out where rows have none."""
        if self.held_out and self.group is None:
            from decoct.errors import ConfigError

            raise ConfigError(
                f"opening {source}",
                received=f"--held-out {' '.join(self.held_out)} without --group",
                expected="--group beside it, which says what the groups are",
                remedy="add --group COLUMN or --group RE, or leave --held-out out",
            )

    def height_and_width(self) -> tuple[int, int] | None:
        """`size` as numbers; raises `ConfigError` where it is not "32" or "24x32"."""
        if self.size is None:
            return None
        height, cross, width = self.size.lower().partition("x")
        sides = (height, width) if cross else (height, height)
        if not all(side.isdecimal() and int(side) for side in sides):
            from decoct.errors import ConfigError

            raise ConfigError(
                "reading --size",
                received=repr(self.size),
                expected="a height, or a height and a width, in pixels",
                remedy="write --size 32 or --size 24x32",
            )
        return int(sides[0]), int(sides[1])
