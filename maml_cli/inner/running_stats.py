"""Running batch-norm statistics: one set for all inner steps, or one per step (MAML++, "BNRS")."""

from dataclasses import dataclass

from torch import Tensor

from maml_cli.core.network import Network
from maml_cli.core.types import Tensors

MOMENTUM = 0.1


@dataclass(frozen=True)
class RunningStats:
    """Exponential averages of the batch statistics met in training, in `rows` rows.

    `running <- running + 0.1 * (batch - running)` once per outer update, where `batch` is the mean
    over the tasks and passes of the update. `rows` is the number of inner steps, or 1 to share.
    Source: Antoniou et al. 2019, section 4, BNRS.
    """

    rows: int

    def init(self, network: Network) -> dict[str, Tensor]:
        """`NAME.mean` and `NAME.var`, shape `(rows, features)`, for every batch norm."""
        return {name: t.repeat(self.rows, 1) for name, t in network.init_statistics().items()}

    def at(self, running: Tensors, step: int) -> Tensors:
        """The statistics of one step (from 0); beyond the trained steps, the last row."""
        row = min(step, self.rows - 1)
        return {name: stats[row] for name, stats in running.items()}

    def updated(self, running: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """The averages after one more outer update with the statistics `batch`.

        They are `(steps, features)`, or `(features,)` if they do not belong to steps.
        """
        return {
            name: stats + MOMENTUM * (self._rows_of(batch[name]) - stats)
            for name, stats in running.items()
        }

    def _rows_of(self, batch: Tensor) -> Tensor:
        return batch if self.rows > 1 else batch.view(-1, batch.shape[-1]).mean(0, keepdim=True)
