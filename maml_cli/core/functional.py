"""Pure functions on flat dictionaries of tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from maml_cli.core.types import Tensors

ScalarFunction = Callable[[dict[str, Tensor]], tuple[Tensor, Any]]
"""Maps parameters to a scalar loss and anything else worth keeping from the pass."""

InnerGradient = Callable[[ScalarFunction, Tensors, bool], tuple[dict[str, Tensor], Any]]
"""Gradient of a scalar function at some parameters; differentiable again if the flag says so."""


def section(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix.`, under the rest of their names."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def prefixed(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """The same tensors under the names `prefix.NAME`."""
    return {f"{prefix}.{n}": t for n, t in tensors.items()}


def detached(tensors: Tensors) -> dict[str, Tensor]:
    """The same values as constants."""
    return {n: t.detach() for n, t in tensors.items()}


def autograd_gradient(
    function: ScalarFunction, params: Tensors, differentiable: bool
) -> tuple[dict[str, Tensor], Any]:
    """`InnerGradient` by reverse mode on the ambient graph; not for functional transforms."""
    if not differentiable:
        params = {n: p.detach().requires_grad_() for n, p in params.items()}
    loss, kept = function(dict(params))
    gradients = torch.autograd.grad(
        loss,
        list(params.values()),
        create_graph=differentiable,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(params, gradients, strict=True)), kept


def functional_gradient(
    function: ScalarFunction, params: Tensors, differentiable: bool
) -> tuple[dict[str, Tensor], Any]:
    """`InnerGradient` by `torch.func.grad`; for use inside of `torch.func.vmap`."""
    if not differentiable:
        params = detached(params)
    gradients, kept = torch.func.grad(function, has_aux=True)(dict(params))
    return (gradients if differentiable else detached(gradients)), kept
