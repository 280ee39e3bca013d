"""Stretches of the inner loop that keep nothing but their inputs, and are computed again backwards.

The graph of an inner step is far larger than the parameters it leads to, so memory becomes nearly
flat in inner steps, for another support pass and its gradient at each.

Source: Chen et al., "Training deep nets with sublinear memory cost", 2016; step by step through an
inner loop: Maclaurin, Duvenaud & Adams 2015 do so without any copies.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.autograd import Function

from maml_cli.core.functional import Pullback, TwoKinds
from maml_cli.core.types import Episode, Tensors

Stretch = Callable[[Tensors, Episode, int], TwoKinds]
"""A part of the inner loop, of tensors, an episode and the order of its gradients (1 or 2)."""

Keep = Callable[[Stretch, Tensors, Episode, int, Pullback], TwoKinds]
"""Runs a stretch of the given order, keeping what its backward pass needs."""


def keep_graph(
    stretch: Stretch, tensors: Tensors, episode: Episode, order: int, _: Pullback
) -> TwoKinds:
    """Just the stretch: its graph stays until the backward pass."""
    return stretch(tensors, episode, order)


def keep_inputs(
    stretch: Stretch, tensors: Tensors, episode: Episode, order: int, pullback: Pullback
) -> TwoKinds:
    """The same values and gradients; the graph is built in the backward pass, and freed there.

    On the way forward inner gradients are constants, which changes no value.
    """
    call = _Call(stretch, order, pullback, tuple(tensors))
    flat = _Recomputed.apply(call, *tensors.values(), *episode)  # type: ignore[no-untyped-call]
    outputs = dict(zip(call.outputs, flat, strict=True))
    return (
        {n: t for n, t in outputs.items() if n not in call.constants},
        {n: t for n, t in outputs.items() if n in call.constants},
    )


@dataclass(eq=False)
class _Call:
    """One use of a stretch, and the names of what goes in and comes out."""

    stretch: Stretch
    order: int
    pullback: Pullback
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = field(init=False)
    constants: frozenset[str] = field(init=False)

    def split(self, values: tuple[Tensor, ...]) -> tuple[dict[str, Tensor], Episode]:
        count = len(self.inputs)
        return dict(zip(self.inputs, values[:count], strict=True)), Episode(*values[count:])


class _Recomputed(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(call: _Call, *values: Tensor) -> tuple[Tensor, ...]:
        tensors, episode = call.split(values)
        differentiable, constant = call.stretch(tensors, episode, 1)
        call.outputs = (*differentiable, *constant)
        call.constants = frozenset(constant)
        return (*differentiable.values(), *constant.values())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.call = call = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        first_constant = len(output) - len(call.constants)
        ctx.mark_non_differentiable(*output[first_constant:])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        tensors, episode = call.split(ctx.saved_tensors)
        cotangents = {
            n: slope
            for n, slope in zip(call.outputs, slopes, strict=True)
            if n not in call.constants
        }
        gradients = call.pullback(
            lambda tensors: call.stretch(tensors, episode, call.order), tensors, cotangents
        )
        return None, *(gradients[n] for n in call.inputs), *(None for _ in episode)
