"""Batch norms of somebody's module, driven by the norm of the pass instead of a mode flag."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from maml_cli.core.norms import Norm


def is_driven(layer: nn.Module) -> TypeGuard[_BatchNorm]:
    """Whether the layer is a batch norm of any dimension."""
    return isinstance(layer, _BatchNorm)


class DrivenNorm(nn.Module):
    """Stands where a batch norm stood, with its gain and bias; `current` normalises."""

    current: Norm | None = None

    def __init__(self, layer: _BatchNorm, name: str) -> None:
        super().__init__()
        self.name, self.eps = name, layer.eps
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        if self.current is None:
            return x  # when shapes alone are asked for
        params = {
            f"{self.name}.{n}": p
            for n, p in (("weight", self.weight), ("bias", self.bias))
            if p is not None
        }
        return self.current(self.name, x, params, self.eps)


def drive(module: nn.Module, prefix: str) -> nn.Module:
    """Replace the batch norms of a module; a layer is called `prefix + its name`."""
    if is_driven(module):
        return DrivenNorm(module, prefix.removesuffix("."))
    for name, layer in list(module.named_modules()):
        if is_driven(layer):
            module.set_submodule(name, DrivenNorm(layer, f"{prefix}{name}"))
    for layer in module.modules():
        if getattr(layer, "inplace", False):
            # the same values; a functional transform may need the input
            setattr(layer, "inplace", False)  # noqa: B010 -- nn.Module types no attribute
    return module


class Driver:
    """A copy of a driven module, and the norm of the pass that it is in."""

    def __init__(self, template: nn.Module) -> None:
        self.module = copy.deepcopy(template)
        self._norms: list[Any] = [m for m in self.module.modules() if isinstance(m, DrivenNorm)]

    @contextmanager
    def by(self, norm: Norm) -> Iterator[None]:
        """Within, the norm normalises."""
        try:
            for layer in self._norms:
                layer.current = norm
            yield
        finally:
            for layer in self._norms:
                layer.current = None
