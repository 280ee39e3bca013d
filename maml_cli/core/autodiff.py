"""Derivatives of functions of nested tensors: by the ambient graph, or by functional transforms.

A "tree" is a tensor, or a dictionary, list, tuple or NamedTuple of trees. Both kinds compute the
same; `Autograd` is quicker for one task, `Functional` works inside of `torch.func.vmap`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

ScalarFunction = Callable[[Any], tuple[Tensor, Any]]
"""Maps a tree to a scalar and an auxiliary tree, which counts as a constant."""


class Derivative(NamedTuple):
    """The gradient of a scalar function at a tree, with the function's value there."""

    gradient: Any
    """A tree of the same form."""
    value: Tensor
    auxiliary: Any


def detached(tree: Any) -> Any:
    """The same values as constants."""
    return tree_map(lambda t: t.detach(), tree)


class Autodiff(ABC):
    """What an algorithm asks of automatic differentiation."""

    @abstractmethod
    def gradient(
        self, function: ScalarFunction, at: Any, *, differentiable: bool = False
    ) -> Derivative:
        """The gradient of `function` at the tree `at`.

        With `differentiable` it can be differentiated again, as second-order MAML needs; without,
        it is a constant, and its graph is freed.
        """

    @abstractmethod
    def jacobian(self, function: Callable[[Any], Tensor], at: Any) -> Derivative:
        """The Jacobian of a tensor at the tree `at`, differentiable as the tensor is.

        `gradient` has for each tensor of the tree the shape `(*value.shape, *tensor.shape)`.
        """

    @abstractmethod
    def outer_gradient(self, function: ScalarFunction, at: Any) -> Derivative:
        """The gradient that nothing differentiates again; the graph goes while it is walked."""

    @abstractmethod
    def vjp(self, function: Callable[[Any], Any], at: Any, cotangents: Any) -> Any:
        """The vector-Jacobian product of the tree that `function` returns.

        `cotangents` is a tree of that form; the result has the form of `at`, and is a constant.
        """

    @abstractmethod
    def pull_back(self, function: Callable[[Any], Any], at: Any) -> Callable[[Any], Any]:
        """The same for any number of cotangents, one call for each; the graph is kept."""

    @abstractmethod
    def eager_loss(self, function: ScalarFunction, at: Any) -> tuple[Tensor, Any]:
        """The value of a scalar function that only the outer gradient passes, and its auxiliary.

        Its gradient is taken at once, so that its graph is freed before the next one is built. A
        backward pass through the value multiplies that gradient; it cannot be differentiated again.
        """


class Autograd(Autodiff):
    """By reverse mode on the ambient graph; not for functional transforms."""

    def gradient(
        self, function: ScalarFunction, at: Any, *, differentiable: bool = False
    ) -> Derivative:
        leaves, form = tree_flatten(at)
        if not differentiable:
            leaves = _new_leaves(leaves)
        leaves = [t if t.requires_grad else t.detach().requires_grad_() for t in leaves]
        with torch.enable_grad():
            value, auxiliary = function(tree_unflatten(leaves, form))
            gradients = torch.autograd.grad(
                value,
                leaves,
                create_graph=differentiable,
                allow_unused=True,
                materialize_grads=True,
            )
        if not differentiable:
            value = value.detach()
        return Derivative(tree_unflatten(gradients, form), value, auxiliary)

    def jacobian(self, function: Callable[[Any], Tensor], at: Any) -> Derivative:
        leaves, form = tree_flatten(at)
        value = function(at)
        rows = [
            torch.autograd.grad(
                entry, leaves, create_graph=True, allow_unused=True, materialize_grads=True
            )
            for entry in value.flatten()
        ]
        stacked = [
            torch.stack(column).reshape(*value.shape, *leaf.shape)
            for leaf, column in zip(leaves, zip(*rows, strict=True), strict=True)
        ]
        return Derivative(tree_unflatten(stacked, form), value, ())

    def outer_gradient(self, function: ScalarFunction, at: Any) -> Derivative:
        return self.gradient(function, at)

    def vjp(self, function: Callable[[Any], Any], at: Any, cotangents: Any) -> Any:
        return self._pull_back(function, at, keep=False)(cotangents)

    def pull_back(self, function: Callable[[Any], Any], at: Any) -> Callable[[Any], Any]:
        return self._pull_back(function, at, keep=True)

    def _pull_back(
        self, function: Callable[[Any], Any], at: Any, *, keep: bool
    ) -> Callable[[Any], Any]:
        leaves, form = tree_flatten(at)
        leaves = _new_leaves(leaves)
        with torch.enable_grad():
            outputs = tree_flatten(function(tree_unflatten(leaves, form)))[0]

        def back(cotangents: Any) -> Any:
            pairs = zip(outputs, tree_flatten(cotangents)[0], strict=True)
            used = [(output, c) for output, c in pairs if output.requires_grad]
            gradients = torch.autograd.grad(
                [output for output, _ in used],
                leaves,
                [c for _, c in used],
                retain_graph=keep,
                allow_unused=True,
                materialize_grads=True,
            )
            return tree_unflatten(gradients, form)

        return back

    def eager_loss(self, function: ScalarFunction, at: Any) -> tuple[Tensor, Any]:
        found = self.gradient(function, at)
        return with_gradient(found.value, at, found.gradient), found.auxiliary


class Functional(Autodiff):
    """By `torch.func`, for use inside of `torch.func.vmap`."""

    def gradient(
        self, function: ScalarFunction, at: Any, *, differentiable: bool = False
    ) -> Derivative:
        if not differentiable:
            at = detached(at)
        found, (value, auxiliary) = torch.func.grad_and_value(function, has_aux=True)(at)
        if not differentiable:
            found, value = detached(found), value.detach()
        return Derivative(found, value, auxiliary)

    def jacobian(self, function: Callable[[Any], Tensor], at: Any) -> Derivative:
        def twice(tree: Any) -> tuple[Tensor, Tensor]:
            value = function(tree)
            return value, value

        found, value = torch.func.jacrev(twice, has_aux=True)(at)
        return Derivative(found, value, ())

    def outer_gradient(self, function: ScalarFunction, at: Any) -> Derivative:
        value, pull_back, auxiliary = torch.func.vjp(function, at, has_aux=True)  # type: ignore[misc]
        with torch.no_grad():  # unlike torch.func.grad, no graph of the gradient
            (gradient,) = pull_back(torch.ones_like(value), retain_graph=False)
        return Derivative(gradient, value, auxiliary)

    def vjp(self, function: Callable[[Any], Any], at: Any, cotangents: Any) -> Any:
        return self.pull_back(function, at)(cotangents)

    def pull_back(self, function: Callable[[Any], Any], at: Any) -> Callable[[Any], Any]:
        with torch.enable_grad():
            walk = torch.func.vjp(function, detached(at))[1]

        def back(cotangents: Any) -> Any:
            with torch.enable_grad():
                (gradient,) = walk(detached(cotangents))
            return detached(gradient)

        return back

    def eager_loss(self, function: ScalarFunction, at: Any) -> tuple[Tensor, Any]:
        found = self.gradient(function, at)
        return with_gradient(found.value, at, found.gradient), found.auxiliary


def _new_leaves(tensors: list[Tensor]) -> list[Tensor]:
    return [t.detach().requires_grad_() for t in tensors]


def with_gradient(value: Tensor, at: Any, gradient: Any) -> Tensor:
    """The value, as a function of the tree `at` with a known gradient; not to be derived twice."""
    inputs, gradients = tree_flatten(at)[0], tree_flatten(gradient)[0]
    found: Tensor = _KnownGradient.apply(value, *gradients, *inputs)  # type: ignore[no-untyped-call]
    return found


class _KnownGradient(Function):
    """`apply(value, *gradients, *inputs)`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, *_: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        ctx.save_for_backward(*inputs[1 : 1 + len(inputs) // 2])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        return None, *(None for _ in gradients), *(g * cotangent for g in gradients)
