"""Running batch-norm statistics: one set for all inner steps, or one per step (MAML++, "BNRS")."""

from dataclasses import dataclass

import torch
from torch import Tensor

from maml_cli.core.types import Tensors
from maml_cli.inner.partition import part_of

MOMENTUM = 0.1


@dataclass(frozen=True)
class RunningStats:
    """Exponential averages of the batch statistics met in training, in `rows` rows.

    `running <- running + 0.1 * (batch - running)` once per outer update, where `batch` is the mean
    over the tasks and passes of the update. `rows` is the number of inner steps, or 1 to share.
    Source: Antoniou et al. 2019, section 4, BNRS.
    """

    rows: int

    def init(self, params: Tensors) -> dict[str, Tensor]:
        """`NAME.mean` zeros and `NAME.var` ones, shape `(rows, features)`, for every batch norm."""
        norms = {n: p for n, p in params.items() if part_of(n) == "norm"}
        biases = {n.removesuffix(".bias"): p for n, p in norms.items() if n.endswith(".bias")}
        means = {f"{n}.mean": torch.zeros(self.rows, p.shape[-1]) for n, p in biases.items()}
        variances = {f"{n}.var": torch.ones(self.rows, p.shape[-1]) for n, p in biases.items()}
        return means | variances

    def at(self, running: Tensors, step: int) -> Tensors:
        """The statistics of one step (from 0); beyond the trained steps, the last row."""
        row = min(step, self.rows - 1)
        return {name: stats[row] for name, stats in running.items()}

    def updated(self, running: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """The averages after one more outer update with the statistics `batch`.

        They are `(steps, features)`, or `(features,)` if they are not of steps.
        """
        return {
            name: stats + MOMENTUM * (self._rows_of(batch[name]) - stats)
            for name, stats in running.items()
        }

    def _rows_of(self, batch: Tensor) -> Tensor:
        return batch if self.rows > 1 else batch.view(-1, batch.shape[-1]).mean(0, keepdim=True)
