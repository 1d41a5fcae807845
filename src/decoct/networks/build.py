"""Networks by name: "convnet3", "convnet3-w32-bn", "resnet18-in", "package.module:factory"."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from decoct.errors import ConfigError, UnknownNameError
from decoct.networks.probe import blank_inputs, undisturbed
from decoct.registry import Registry, load_object
from decoct.streams import seeded

Factory = Callable[[tuple[int, ...], int], nn.Module]

FAMILIES = Registry(
    "network",
    {
        "alexnet": "decoct.networks.alexnet:AlexNet",
        "convnet": "decoct.networks.convnet:ConvNet",
        "lenet": "decoct.networks.lenet:LeNet",
        "mlp": "decoct.networks.mlp:MLP",
        "resnet": "decoct.networks.resnet:ResNet",
        "vgg": "decoct.networks.vgg:VGG",
        "vit": "decoct.networks.vit:ViT",
    },
)

# The usual members of each family; any other depth, width and suffix is read by the grammar.
_READY = {
    "alexnet": ("alexnet", "alexnet-in"),
    "convnet": ("convnet3", "convnet4", "convnet5", "convnet3-bn", "convnet3-none", "convnet3-w32"),
    "resnet": ("resnet10", "resnet18", "resnet18-in", "resnet18-ap", "resnet10-ap"),
    "vgg": ("vgg11", "vgg11-in"),
}
_SUFFIXES: dict[str, tuple[str, Any]] = {
    **{name: ("norm", name) for name in ("bn", "in", "ln", "gn", "none")},
    **{name: ("activation", name) for name in ("relu", "leaky", "sigmoid", "gelu", "softplus")},
    "avg": ("pooling", "avg"),
    "max": ("pooling", "max"),
    "nopool": ("pooling", "none"),
    "ap": ("average", True),
}
_SUFFIX_OF = {"depth": "a depth", "width": "-w<number>", "average": "-ap"}
GRAMMAR = (
    "family[depth] with suffixes in any order: -w32 (width), -bn -in -ln -gn -none (normalisation), "
    "-relu -leaky -sigmoid -gelu -softplus (activation), -avg -max -nopool (pooling), "
    "-ap (average pooling for strides); "
    "or 'package.module:factory' with factory(shape, classes) -> nn.Module"
)


def network(name: str | Factory, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """A freshly initialised network for float32 inputs `[n, *shape]` and logits `[n, classes]`.

    `name` follows `GRAMMAR`, or is a factory itself. The same seed gives the same bits; torch's global generator is
    left as it was. Raises `UnknownNameError` for a name that cannot be read, `ConfigError` for a shape or an option
    that the family cannot work with, and for a factory whose network does not return `[n, classes]`.
    """
    shape = _checked(shape, classes)
    if not isinstance(name, str):
        return _own(name, getattr(name, "__qualname__", repr(name)), shape, classes, seed)
    if ":" in name:
        return _own(load_object(name), name, shape, classes, seed)
    family, options = _parse(name)
    factory = FAMILIES.load(family)
    _refuse_foreign(name, family, options, inspect.signature(factory).parameters)
    with seeded(seed):
        return factory(shape, classes, **options)


def foreign_target(name: str) -> str | None:
    """Where the network `name` is made, "module:object", if that is outside decoct: a factory, or a foreign family.

    Raises `UnknownNameError` and `ConfigError` for a name that cannot be read.
    """
    target = name if ":" in name else FAMILIES[_parse(name)[0]]
    return None if target.startswith("decoct.") else target


def network_names() -> list[str]:
    """The usual names, sorted; the grammar reads many more."""
    return sorted(name for family in FAMILIES for name in _READY.get(family, (family,)))


def default_network(shape: tuple[int, ...]) -> str:
    """The field's choice for inputs of `shape`: "mlp" for features; for images ConvNet, one block more each time the
    shorter side doubles (depth 3 at 32, 4 at 64, 5 at 128) and one less below 8 pixels; "mlp" below 4.
    """
    if len(shape) != 3 or min(shape[1:]) < 4:
        return "mlp"
    side = min(shape[1:])
    return f"convnet{2 + sum(side >= bound for bound in (8, 48, 96, 192))}"


def narrow_network(shape: tuple[int, ...]) -> str:
    """What is trained only to look at rows of `shape`: convnet3-w32 where `default_network` is a ConvNet, else mlp."""
    return "mlp" if default_network(shape) == "mlp" else "convnet3-w32"


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    if name in FAMILIES:
        return name, {}
    head, *suffixes = name.split("-")
    options: dict[str, Any] = {}
    if head not in FAMILIES and (match := re.fullmatch(r"(.*?)(\d+)", head)):
        head, options["depth"] = match.group(1), int(match.group(2))
    if head not in FAMILIES:
        raise _unknown(name, network_names())
    for suffix in suffixes:
        width = re.fullmatch(r"w(\d+)", suffix)
        if not width and suffix not in _SUFFIXES:
            near = difflib.get_close_matches(suffix, _SUFFIXES, n=3, cutoff=0.3)
            raise _unknown(name, [*network_names(), *(name.replace(f"-{suffix}", f"-{other}") for other in near)])
        option, value = ("width", int(width.group(1))) if width else _SUFFIXES[suffix]
        if option in options:
            raise ConfigError(
                f"building the network {name!r}",
                received=f"the {option} twice: {options[option]!r} and {value!r}",
                expected=f"one {option} at most",
                remedy="leave one of them out",
            )
        options[option] = value
    return head, options


def _unknown(name: str, known: list[str]) -> UnknownNameError:
    near = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.4)
    guess = f"did you mean {' or '.join(repr(other) for other in near)}? " if near else ""
    return UnknownNameError(
        f"looking up the network {name!r}",
        received=repr(name),
        expected="one of " + ", ".join(network_names()),
        remedy=f"{guess}a name is {GRAMMAR}",
    )


def _refuse_foreign(name: str, family: str, options: dict[str, Any], accepted: Any) -> None:
    """Raise `ConfigError` for an option that the family has not, or a size of zero."""
    for option, value in options.items():
        if option not in accepted:
            own = [_SUFFIX_OF.get(other, f"a suffix for {other}") for other in accepted if other not in _REQUIRED]
            raise ConfigError(
                f"building the network {name!r}",
                received=f"{option} = {value!r}",
                expected=f"for {family!r}: {', '.join(own) or 'no options'}",
                remedy=f"leave the {option} out, or choose another family",
            )
        if option in ("depth", "width") and value < 1:
            raise ConfigError(
                f"building the network {name!r}",
                received=f"{option} {value}",
                expected=f"a {option} of at least 1",
                remedy=f"use a larger {option}",
            )


_REQUIRED = ("shape", "classes")
_USER_MISTAKES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)


def _checked(shape: tuple[int, ...], classes: int) -> tuple[int, ...]:
    if len(shape) not in (1, 3) or min(shape) < 1 or classes < 1:
        raise ConfigError(
            "building a network",
            received=f"inputs of shape {tuple(shape)} and {classes} classes",
            expected="a shape (channels, height, width) or (features,) of positive numbers, and at least 1 class",
            remedy="pass data.spec.shape and data.spec.classes",
        )
    return tuple(shape)


def _own(factory: Any, name: str, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    """A user's network, tried once on two blank inputs."""
    if not callable(factory):
        raise _not_a_network(name, f"a {type(factory).__name__}", classes)
    with seeded(seed):
        try:
            module = factory(shape, classes)
            if not isinstance(module, nn.Module):
                raise _not_a_network(name, f"a {type(module).__name__} from the factory", classes)
            with undisturbed(module):
                output = module(blank_inputs(module, shape, 2))
        except _USER_MISTAKES as error:
            received = f"{type(error).__name__} for shape {shape} and {classes} classes: {error}"
            raise _not_a_network(name, received, classes) from error
    if not isinstance(output, Tensor) or output.shape != (2, classes) or not output.is_floating_point():
        shown = f"{output.dtype} {list(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise _not_a_network(name, f"{shown} for inputs {[2, *shape]}", classes)
    return module


def _not_a_network(name: str, received: str, classes: int) -> ConfigError:
    return ConfigError(
        f"building the network {name!r}",
        received=received,
        expected=f"factory(shape, classes) -> nn.Module that maps 2 inputs to float logits [2, {classes}]",
        remedy="let the factory return a module whose forward gives one row of logits for each input",
    )
