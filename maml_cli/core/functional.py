"""Pure functions on flat dictionaries of tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from maml_cli.core.types import Tensors

ScalarFunction = Callable[[dict[str, Tensor]], tuple[Tensor, Any]]
"""Maps parameters to a scalar loss and anything else worth keeping from the pass."""

InnerGradient = Callable[[ScalarFunction, Tensors, bool], tuple[dict[str, Tensor], Any]]
"""Gradient of a scalar function at some parameters; differentiable again if the flag says so."""

Settle = Callable[[ScalarFunction, Tensors], tuple[Tensor, Any]]
"""The value of a scalar function that only the outer gradient passes, and what else it keeps.

Its gradient is taken at once, so that its graph is freed before the next one; a backward pass
through the value multiplies that gradient, and cannot be differentiated again.
"""

TwoKinds = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Named tensors to differentiate, and others that count as constants."""

Pullback = Callable[[Callable[[Tensors], TwoKinds], Tensors, Tensors], dict[str, Tensor]]
"""Slopes of a function's outputs, at some parameters, become slopes of the parameters."""


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


def as_leaves(tensors: Tensors) -> dict[str, Tensor]:
    """The same values as the roots of a new graph."""
    return {n: t.detach().requires_grad_() for n, t in tensors.items()}


def autograd_gradient(
    function: ScalarFunction, params: Tensors, differentiable: bool
) -> tuple[dict[str, Tensor], Any]:
    """`InnerGradient` by reverse mode on the ambient graph; not for functional transforms."""
    if not differentiable:
        params = as_leaves(params)
    with torch.enable_grad():
        loss, kept = function(dict(params))
        gradients = torch.autograd.grad(
            loss,
            list(params.values()),
            create_graph=differentiable,
            allow_unused=True,
            materialize_grads=True,
        )
    return dict(zip(params, gradients, strict=True)), kept


def autograd_pullback(
    function: Callable[[Tensors], TwoKinds], params: Tensors, cotangents: Tensors
) -> dict[str, Tensor]:
    """`Pullback` by reverse mode; not for functional transforms."""
    leaves = as_leaves(params)
    with torch.enable_grad():
        outputs, _ = function(leaves)
    gradients = torch.autograd.grad(
        [outputs[n] for n in cotangents],
        list(leaves.values()),
        list(cotangents.values()),
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(leaves, gradients, strict=True))


def functional_gradient(
    function: ScalarFunction, params: Tensors, differentiable: bool
) -> tuple[dict[str, Tensor], Any]:
    """`InnerGradient` by `torch.func.grad`; for use inside of `torch.func.vmap`."""
    if not differentiable:
        params = detached(params)
    gradients, kept = torch.func.grad(function, has_aux=True)(dict(params))
    return (gradients if differentiable else detached(gradients)), kept


def functional_pullback(
    function: Callable[[Tensors], TwoKinds], params: Tensors, cotangents: Tensors
) -> dict[str, Tensor]:
    """`Pullback` by `torch.func.vjp`; for use inside of `torch.func.vmap`."""
    with torch.enable_grad():
        pull = torch.func.vjp(function, detached(params), has_aux=True)[1]
        gradients: dict[str, Tensor] = pull(detached(cotangents))[0]
    return detached(gradients)


def autograd_settle(function: ScalarFunction, params: Tensors) -> tuple[Tensor, Any]:
    """`Settle` by reverse mode; not for functional transforms."""
    leaves = as_leaves(params)
    with torch.enable_grad():
        loss, kept = function(leaves)
    gradients = torch.autograd.grad(
        loss, list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return _settled(loss.detach(), params, gradients), kept


def functional_settle(function: ScalarFunction, params: Tensors) -> tuple[Tensor, Any]:
    """`Settle` by `torch.func.grad`; for use inside of `torch.func.vmap`."""

    def loss_and_all(params: Tensors) -> tuple[Tensor, tuple[Tensor, Any]]:
        loss, kept = function(dict(params))
        return loss, (loss.detach(), kept)

    gradients, (loss, kept) = torch.func.grad(loss_and_all, has_aux=True)(detached(params))
    return _settled(loss, params, tuple(gradients[n].detach() for n in params)), kept


def _settled(value: Tensor, params: Tensors, gradients: tuple[Tensor, ...]) -> Tensor:
    settled: Tensor = _Settled.apply(value, *gradients, *params.values())  # type: ignore[no-untyped-call]
    return settled


class _Settled(Function):
    """A value of some parameters, whose gradients are already known."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, *_: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        ctx.save_for_backward(*inputs[1 : 1 + len(inputs) // 2])

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        return None, *(None for _ in gradients), *(g * slope for g in gradients)
