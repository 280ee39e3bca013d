"""What remains of a segment of the inner loop for the backward pass: its graph, or its inputs.

The graph of an inner step is far larger than the parameters it leads to. With checkpointing, memory
is nearly flat in inner steps, for another support pass and its gradient at each.

Source: Chen et al., "Training deep nets with sublinear memory cost", 2016.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from maml_cli.core.autodiff import Autodiff
from maml_cli.core.types import Episode

Segment = Callable[[Any, Episode, int], Any]
"""A part of the inner loop: takes a tree of inputs, an episode and the order of the meta-gradient,
1 or 2. Returns a tree to be differentiated."""

Checkpointing = Callable[[Segment, Any, Episode, int, Autodiff], Any]
"""Runs a segment, keeping what its backward pass needs."""


def keep_graph(segment: Segment, inputs: Any, episode: Episode, order: int, _: Autodiff) -> Any:
    """Just the segment: its graph stays until the backward pass."""
    return segment(inputs, episode, order)


def recompute(
    segment: Segment, inputs: Any, episode: Episode, order: int, autodiff: Autodiff
) -> Any:
    """The same values and gradients; the graph is built in the backward pass, and freed there.

    On the way forward inner gradients are constants, which changes no value.
    """
    leaves, form = tree_flatten(inputs)
    call = _Call(segment, order, autodiff, form)
    outputs = _Recomputed.apply(call, *leaves, *episode)  # type: ignore[no-untyped-call]
    return tree_unflatten(outputs, call.outputs)


@dataclass(eq=False)
class _Call:
    """One use of a segment, and the form of what goes in and comes out."""

    segment: Segment
    order: int
    autodiff: Autodiff
    inputs: TreeSpec
    outputs: TreeSpec = field(init=False)

    def split(self, values: tuple[Tensor, ...]) -> tuple[Any, Episode]:
        count = self.inputs.num_leaves
        return tree_unflatten(values[:count], self.inputs), Episode(*values[count:])


class _Recomputed(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(call: _Call, *values: Tensor) -> tuple[Tensor, ...]:
        inputs, episode = call.split(values)
        outputs, call.outputs = tree_flatten(call.segment(inputs, episode, 1))
        return tuple(outputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _: tuple[Tensor, ...]) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        inputs, episode = call.split(ctx.saved_tensors)
        gradients = call.autodiff.vjp(
            lambda inputs: call.segment(inputs, episode, call.order),
            inputs,
            tree_unflatten(cotangents, call.outputs),
        )
        return None, *tree_flatten(gradients)[0], *(None for _ in episode)
