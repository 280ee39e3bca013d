"""Batch norms of somebody's module, driven by the norm of the pass instead of a mode flag."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from maml_cli.core.norms import LinearLayer, Norm


def is_driven(layer: nn.Module) -> TypeGuard[_BatchNorm]:
    """Whether the layer is a batch norm of any dimension."""
    return isinstance(layer, _BatchNorm)


class DrivenNorm(nn.Module):
    """Stands where a batch norm stood, with its gain and bias; `current` normalises.

    `source` is the convolution or linear layer that it directly follows, if it does.
    """

    current: Norm | None = None
    source_input: Tensor | None = None

    def __init__(self, layer: _BatchNorm, name: str, source: nn.Module | None) -> None:
        super().__init__()
        self._sources = [] if source is None else [source]  # in a list: not a child of this one
        if source is not None:
            source.register_forward_pre_hook(self._remember)
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
        return self.current(self.name, x, params, self.eps, self._source())

    def _remember(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.source_input = inputs[0]

    def _source(self) -> LinearLayer | None:
        if not self._sources or self.source_input is None:
            return None
        layer: Any = self._sources[0]
        return LinearLayer(self.source_input, layer.weight, layer.bias, partial(_linear, layer))


def _linear(layer: Any, x: Tensor, weight: Tensor) -> Tensor:
    """The layer's outputs without its bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight)
    found: Tensor = layer._conv_forward(x, weight, None)
    return found


def find_sources(module: nn.Module, run: Callable[[], Any]) -> dict[str, nn.Module]:
    """For each batch norm that directly follows a convolution or linear layer, that layer.

    `run` passes something through the module.
    """
    outputs: list[tuple[Tensor, nn.Module]] = []
    found: dict[str, nn.Module] = {}

    def made(layer: nn.Module, _: Any, output: Tensor) -> None:
        outputs.append((output, layer))

    def taken(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        for output, layer in outputs:
            if output is inputs[0]:
                found[name] = layer

    hooks = []
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | _ConvNd) and not isinstance(layer, _ConvTransposeNd):
            hooks.append(layer.register_forward_hook(made))
        elif is_driven(layer):
            hooks.append(layer.register_forward_pre_hook(partial(taken, name)))
    run()
    for hook in hooks:
        hook.remove()
    return found


def drive(module: nn.Module, prefix: str, sources: Mapping[str, nn.Module]) -> nn.Module:
    """Replace the batch norms of a module; a layer is called `prefix + its name`."""
    if is_driven(module):
        return DrivenNorm(module, prefix.removesuffix("."), None)
    for name, layer in list(module.named_modules()):
        if is_driven(layer):
            driven = DrivenNorm(layer, f"{prefix}{name}", sources.get(name))
            module.set_submodule(name, driven)
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
                layer.current = layer.source_input = None
