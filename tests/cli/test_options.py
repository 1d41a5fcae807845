"""Every command form that the documentation names is understood as it is written."""

from __future__ import annotations

import dataclasses
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest

from decoct.cli import compare
from decoct.cli.main import COMMANDS, _parse
from decoct.cli.opening import Opening
from decoct.errors import ConfigError


def parse(line: str) -> Any:
    name, *arguments = shlex.split(line)
    return _parse(import_module(f"decoct.cli.{name}"), name, arguments)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("data digits", {"source": "digits"}),
        (
            "distill npz:a.npz --recipe dm --ipc 10 --out DIR --budget 20min",
            {"source": "npz:a.npz", "recipe": "dm", "ipc": 10, "out": Path("DIR"), "budget": "20min", "steps": None},
        ),
        ("distill digits --recipe ridge --ipc 1 --out DIR --steps 5 --seed 3", {"steps": 5, "seed": 3, "budget": None}),
        (
            "distill digits --out D --storage bases --objective characteristic --labels teacher --track tensorboard",
            {"storage": "bases", "objective": "characteristic", "labels": "teacher", "track": "tensorboard"},
        ),
        (
            "distill digits --out D --device cpu",
            {"recipe": "auto", "objective": None, "budget": None, "steps": None, "device": "cpu"},
        ),
        (
            "distill digits --out D --augment color_crop_cutout_scale_rotate --experts E",
            {"augment": "color_crop_cutout_scale_rotate", "experts": Path("E")},
        ),
        ("distill digits --out D --network my.module:factory", {"network": "my.module:factory"}),
        ("select digits --method herding --ipc 10 --out DIR", {"method": "herding", "ipc": 10, "count": None}),
        ("select digits --method herding --fraction 0.1 --out DIR", {"fraction": 0.1, "ipc": None}),
        ("select digits --method herding --count 500 --out DIR --features pca", {"count": 500, "features": "pca"}),
        (
            "evaluate DIR --data digits --protocol quick --networks convnet3 --seeds 5",
            {"folder": Path("DIR"), "data": "digits", "networks": ("convnet3",), "seeds": 5},
        ),
        (
            "compare digits --methods random dm --ipc 1 10 --budget 20min",
            {"methods": ("random", "dm"), "ipc": (1, 10), "budget": "20min"},
        ),
        ("demo", {"out": Path("decoct-demo")}),
        ("analyze mixing DIR digits --seeds 3", {"what": "mixing", "folder": Path("DIR"), "source": "digits"}),
        ("report A B C", {"folders": (Path("A"), Path("B"), Path("C"))}),
        ("export DIR --to imagefolder PATH", {"folder": Path("DIR"), "path": Path("PATH"), "to": "imagefolder"}),
        ("export DIR --to parquet PATH", {"to": "parquet"}),
        ("export DIR PATH --to npz", {"folder": Path("DIR"), "path": Path("PATH"), "to": "npz"}),
        ("methods", {}),
        ("cite dm", {"method": "dm"}),
    ],
)
def test_a_documented_form(line: str, expected: dict[str, Any]) -> None:
    for extra, as_json in (("", False), (" --json", True)):
        options = parse(line + extra)
        assert {name: getattr(options, name) for name in expected} == expected
        assert options.output.json is as_json


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_frozen_and_every_command_says_what_it_does(name: str) -> None:
    module = import_module(f"decoct.cli.{name}")
    # A command of several parts has a union of annotated options.
    for options in [get_args(part)[0] for part in get_args(module.Options)] or [module.Options]:
        assert options.__dataclass_params__.frozen
        assert options.__doc__
    assert callable(module.run)
    assert callable(module.show)


def test_opening_flags() -> None:
    line = "data imagefolder:x --size 24x32 --mode rgb --whiten --skip-bad --cache c"
    assert parse(line).opening == Opening(size="24x32", mode="rgb", whiten=True, skip_bad=True, cache=Path("c"))


@pytest.mark.parametrize(("text", "sides"), [("32", (32, 32)), ("24x32", (24, 32)), ("24X32", (24, 32)), (None, None)])
def test_sizes(text: str | None, sides: tuple[int, int] | None) -> None:
    assert Opening(size=text).height_and_width() == sides


@pytest.mark.parametrize("text", ["", "0", "x", "12x", "x12", "3x4x5", "-3", "a"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match="write --size 32"):
        Opening(size=text).height_and_width()


def test_the_command_line_in_a_report_gives_the_same_options() -> None:
    line = (
        "compare 'imagefolder:my pictures' --methods random dm --ipc 1 3 --steps 7 --networks mlp --seeds 2 "
        "--baselines random --seed 4 "
        "--size 8 --mode gray --whiten --skip-bad --out o"
    )
    options = parse(line)
    again = parse(compare.command_line(options).removeprefix("decoct "))
    assert dataclasses.asdict(again) == dataclasses.asdict(options)
