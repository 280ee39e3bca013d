"""The volume of a Laplace approximation, as a term of the outer loss.

Source: Grant et al. 2018 (LLAMA), equation 9, with a Gauss-Newton matrix instead of K-FAC.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from maml_cli.core.algorithm import Ops
from maml_cli.core.precision import widest
from maml_cli.core.types import Tensors
from maml_cli.inner.adaptation import Adaptation, Point


def log_det(rows: Tensors, damping: float) -> Tensor:
    """`log det(tau I + B^T B) - P log tau`, where B has R rows and a column for each weight.

    It is `log det(I + B B^T / tau)`, of R x R entries, tau being the damping. `rows` are the
    columns of each tensor, `(R, *shape)`. B of few examples has a low rank, and this is exact.
    """
    flat = [tensor.flatten(1).to(widest(tensor.device)) for tensor in rows.values()]
    gram = torch.stack([part @ part.T for part in flat]).sum(0)
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    found: Tensor = torch.linalg.slogdet(identity + gram / damping).logabsdet
    return found


@dataclass(frozen=True, kw_only=True)
class LaplaceTerm:
    """`weight * log det H`, H being the curvature of the support set's likelihood at phi.

    H is the Gauss-Newton matrix plus damping times the identity. Only what adapts counts.
    """

    weight: float
    damping: float

    def __call__(self, task: Adaptation, point: Point, number: int, ops: Ops) -> Tensor:
        """At the parameters after step `number` (from 0)."""

        def outputs(phi: Tensors) -> Tensor:
            return task.support_outputs(phi, number)

        found = ops.autodiff.jacobian(outputs, point.phi)
        root = task.likelihood.curvature_root(found.value)
        rows = {
            name: torch.einsum("eok,eo...->ek...", root, slopes).flatten(0, 1)
            for name, slopes in found.gradient.items()
        }
        term = log_det(rows, self.damping)
        return self.weight * term.to(found.value.dtype)
