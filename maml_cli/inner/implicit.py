"""The gradient through an inner loop by what holds at its end, whatever the way there (iMAML).

Source: Rajeswaran, Finn, Kakade & Levine 2019, "Meta-learning with implicit gradients".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from maml_cli.core.algorithm import MetaParameters, Sections
from maml_cli.core.autodiff import Autodiff
from maml_cli.core.types import Episode, Tensors
from maml_cli.inner.adaptation import Adaptation
from maml_cli.inner.rows import flattened, unflattened

Begin = Callable[[Sections, Episode, int], Adaptation]
"""Begins a task from theta and its episode, with an order of differentiation."""


@dataclass(frozen=True, kw_only=True)
class Implicit:
    """The solution phi of an inner loop with a proximal term, as a function of theta.

    At phi the gradient of `U(phi) + lambda/2 |phi - phi_0|^2` is 0. A cotangent c of phi is
    therefore answered by the solution v of `(1 + damping) v + H v / lambda = c`, H being the
    Hessian of the support loss U at phi: v is the cotangent of phi_0, and `-v / lambda` that of
    the gradient of U in its other arguments. v comes from `cg_steps` steps of conjugate gradients.
    Memory does not grow with the inner steps. Source: section 3, equations 6 to 8.
    """

    steps: int
    proximal: float
    """lambda of the system."""
    cg_steps: int
    damping: float

    def solution(
        self, begin: Begin, params: MetaParameters, episode: Episode, autodiff: Autodiff
    ) -> Tensors:
        """The adapted parameters after the inner steps."""
        leaves, form = tree_flatten(params.theta)
        call = _Call(self, begin, autodiff, form)
        found = _Solution.apply(call, *leaves, *episode)  # type: ignore[no-untyped-call]
        return dict(zip(call.names, found, strict=True))


@dataclass(eq=False)
class _Call:
    """One use of an inner loop."""

    implicit: Implicit
    begin: Begin
    autodiff: Autodiff
    form: TreeSpec
    names: tuple[str, ...] = ()

    def split(self, values: tuple[Tensor, ...]) -> tuple[Sections, Episode]:
        count = self.form.num_leaves
        return tree_unflatten(values[:count], self.form), Episode(*values[count:])

    def solve(self, theta: Sections, episode: Episode) -> tuple[Tensor, ...]:
        task = self.begin(theta, episode, 1)
        point = task.start
        for number in range(self.implicit.steps):
            point = task.step(point, number)
        self.names = tuple(point.phi)
        return tuple(task.ended(point).phi.values())

    def answer(
        self, theta: Sections, episode: Episode, phi: Tensors, cotangent: Tensors
    ) -> Sections:
        """The cotangent of theta."""
        last, system = self.implicit.steps - 1, self.implicit
        fixed = self.begin(theta, episode, 1)
        hessian = self.autodiff.pull_back(lambda at: fixed.support_gradient(at, last), phi)
        names = list(phi)

        def apply(vector: Tensor) -> Tensor:
            curved = flattened(hessian(unflattened(vector, phi, names)), names)
            return (1 + system.damping) * vector + curved / system.proximal

        v = conjugate_gradients(apply, flattened(cotangent, names), system.cg_steps)

        def at_the_end(theta: Sections) -> tuple[Tensors, Tensors]:
            task = self.begin(theta, episode, 2)
            return task.start.phi, task.support_gradient(phi, last)

        ends = tuple(unflattened(u, phi, names) for u in (v, -v / system.proximal))
        answer: Sections = self.autodiff.vjp(at_the_end, theta, ends)
        return answer


class _Solution(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(call: _Call, *values: Tensor) -> tuple[Tensor, ...]:
        return call.solve(*call.split(values))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], phi: tuple[Tensor, ...]) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:], *phi)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        values, phi = ctx.saved_tensors[: -len(call.names)], ctx.saved_tensors[-len(call.names) :]
        theta, episode = call.split(values)
        named = (dict(zip(call.names, tensors, strict=True)) for tensors in (phi, cotangents))
        answer = call.answer(theta, episode, *named)
        return None, *tree_flatten(answer)[0], *(None for _ in episode)


def conjugate_gradients(apply: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """X with `A x = b` nearly, where `apply` multiplies a vector by the symmetric A.

    Exact after as many steps as A has different eigenvalues. A direction along which A is not
    positive ends the search with what was found before it; if it is the first one, that is b.
    Source: Hestenes & Stiefel 1952; Steihaug 1983 for the end.
    """
    x, r, p = torch.zeros_like(b), b, b
    going = torch.ones((), dtype=torch.bool, device=b.device)
    for step in range(steps):
        ap = apply(p)
        curvature, squared = p @ ap, r @ r
        going = going & (curvature > 0)
        length = torch.where(going, squared / torch.where(going, curvature, 1), 0)
        x = x + length * p
        if step == 0:
            x = torch.where(going, x, b)
        r = r - length * ap
        p = r + torch.where(going, (r @ r) / torch.where(going, squared, 1), 0) * p
    return x
