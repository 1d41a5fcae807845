"""The `decoct` command: find the sub-command, run it, print its result, and turn every failure into one screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from types import ModuleType
from typing import Any

from decoct.cli.failures import DEFECT, STOPPED, WRONG, print_failure
from decoct.registry import unknown_name

COMMANDS = {
    "demo": "the whole story on real handwritten digits, in a few minutes",
    "data": "show what a source holds and draw a grid of its pictures",
    "compare": "make sets with several methods, judge them alike, write a report",
    "distill": "synthesise a small training set",
    "score": "train once, and say how hard every training row is",
    "select": "pick a small training set out of the real rows",
    "explain": "say why rows were kept or dropped by a selection",
    "evaluate": "measure what training on a set gives, beside honest baselines",
    "bias": "make biased sets, weigh rows against a bias, measure how much of it a set keeps",
    "analyze": "ask what a set teaches: mixing, agreement, influence, scaling and more",
    "apply": "search architectures or hyper-parameters on small sets, and other uses of them",
    "import": "read anyone's published set, so that it can be judged",
    "leaderboard": "merge the scorecards of many runs into one page",
    "report": "write one page about the results in some folders",
    "export": "write a set in a form that other programs read",
    "methods": "list every method with its paper",
    "cite": "print the reference of a method",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `decoct ARGV...` and return the exit code: 0 done, 1 a defect, 2 wrong use or input, 130 stopped."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    try:
        return _dispatch(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else WRONG
    except BrokenPipeError:
        # The reader went away (`decoct methods | head`): say nothing, and keep the interpreter quiet at exit too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        return print_failure(error, as_json)


def _dispatch(arguments: list[str]) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("-h", "--help", "help"):
        print(overview())
        return 0
    if name in ("-V", "--version"):
        from importlib.metadata import version

        print(f"decoct {version('decoct')}")
        return 0
    if name not in COMMANDS:
        raise unknown_name("command", name, list(COMMANDS))
    return _run(import_module(f"decoct.cli.{name}"), name, rest)


def _run(command: ModuleType, name: str, arguments: list[str]) -> int:
    options = _parse(command, name, arguments)
    # `--network my_module:factory` finds a file in the folder that the command is given in, as `python -m` would.
    if "" not in sys.path:
        sys.path.append("")
    # Standard output is for the result alone, whatever a library prints on the way.
    with redirect_stdout(sys.stderr):
        result = command.run(options)
    if options.output.json:
        import json

        print(json.dumps(result, ensure_ascii=False, allow_nan=False), flush=True)
    else:
        print(command.show(result), flush=True)
    return 0


def _parse(command: ModuleType, name: str, arguments: list[str]) -> Any:
    import tyro

    marks = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
    return tyro.cli(command.Options, prog=f"decoct {name}", args=arguments, config=marks)


def overview() -> str:
    """What `decoct --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, line in COMMANDS.items()]
    return "\n".join(
        [
            "decoct makes large training sets small and says honestly what that cost.",
            "",
            "usage: decoct COMMAND [options]",
            "",
            *lines,
            "",
            "  decoct COMMAND --help   explains a command and its options",
            "  decoct --version        prints the version",
            "",
            "Every command takes --json and then prints one JSON object on standard output.",
            "A SOURCE is digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path.",
            "Start with: decoct demo",
        ]
    )


__all__ = ["COMMANDS", "DEFECT", "STOPPED", "WRONG", "main", "overview"]

if __name__ == "__main__":
    sys.exit(main())
