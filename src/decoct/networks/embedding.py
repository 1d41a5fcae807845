"""The embedding of a network: what its last linear layer is fed."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from decoct.errors import ConfigError
from decoct.networks.probe import blank_inputs, undisturbed


def embed(module: nn.Module, inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
    """The features `[n, d]` of `inputs`: the input of the last linear layer. Gradients flow.

    decoct's networks are asked for it by `features`; of any other module the input of the linear layer that runs last
    is captured. Raises `ConfigError` where there is none, or where that layer is not fed one row an image.
    """
    if _has_features(module):
        return module.features(inputs)  # pyright: ignore[reportCallIssue]
    return _capture(module, inputs)[0]


def embed_and_classify(
    module: nn.Module, inputs: Float[Tensor, "n ..."]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n classes"]]:
    """Features `[n, d]` and logits `[n, C]` of one forward pass; raises `ConfigError` as `embed` does."""
    if _has_features(module):
        features = module.features(inputs)  # pyright: ignore[reportCallIssue]
        return features, module.classifier(features)  # pyright: ignore[reportCallIssue]
    return _capture(module, inputs)


def feature_width(module: nn.Module, shape: tuple[int, ...]) -> int:
    """The width d of the features of inputs of `shape`; raises `ConfigError` as `embed` does."""
    if _has_features(module):
        return module.classifier.in_features  # pyright: ignore[reportReturnType, reportAttributeAccessIssue]
    with undisturbed(module):
        return embed(module, blank_inputs(module, shape, 2)).shape[1]


def _has_features(module: nn.Module) -> bool:
    # Networks of others may have a `features` whose output is not what their `classifier` is fed, and a class of theirs
    # that extends one of ours may do something in between.
    return type(module).__module__.startswith("decoct.networks.") and hasattr(module, "features")


def _capture(module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []
    handles = [
        part.register_forward_pre_hook(lambda _, fed: seen.append(fed[0]))
        for part in module.modules()
        if isinstance(part, nn.Linear)
    ]
    try:
        logits = module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not seen or seen[-1].ndim != 2 or len(seen[-1]) != len(inputs):
        fed = f"a last linear layer fed {list(seen[-1].shape)}" if seen else "no linear layer that ran"
        raise ConfigError(
            f"embedding {len(inputs)} inputs with {type(module).__name__}",
            received=fed,
            expected=f"a last nn.Linear fed [{len(inputs)}, d]",
            remedy="end the network with an nn.Linear on pooled features, one row an image",
        )
    return seen[-1], logits
