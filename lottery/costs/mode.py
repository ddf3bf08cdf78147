"""What networks are measured in and on: eval mode for a while, and a batch of images."""

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from lottery.errors import ConfigError


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def check_batch(images: object) -> None:
    """Raise ConfigError unless it is one tensor of one image or more."""
    if not isinstance(images, Tensor):
        allowed = "one tensor; wrap a network of several inputs in a module that takes one"
        raise ConfigError("images", f"a {type(images).__name__}", allowed)
    if images.dim() < 2 or not len(images):
        raise ConfigError("images", tuple(images.shape), "a batch of at least one image")
