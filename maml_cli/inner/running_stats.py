"""Running statistics for batch norms: gathered in training, used at evaluation or in both."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maml_cli.core.algorithm import Sections
from maml_cli.core.network import Network
from maml_cli.core.norms import SourceShapes
from maml_cli.core.types import Tensors

MOMENTUM = 0.1


@dataclass(frozen=True)
class RunningStats:
    """Exponential averages of batch statistics, one mean and variance for every batch norm.

    `running <- running + 0.1 * (batch - running)` once per outer update. They suit networks whose
    bodies do not adapt; for those that do see `InputAverages`.
    """

    def init(self, network: Network) -> dict[str, Tensor]:
        """`NAME.mean` and `NAME.var`, `(features,)`, for every batch norm."""
        return network.init_statistics()

    def updated(self, running: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """The averages after one more outer update with the statistics `batch`."""
        return {n: stats + MOMENTUM * (batch[n] - stats) for n, stats in running.items()}


@dataclass(frozen=True)
class InputAverages:
    """Exponential averages of what `InputStats` needs, in `rows` rows.

    A row belongs to an inner step, or there is a single one for all steps (MAML++, "BNRS").
    `running <- running + a * (batch - running)` once per outer update, where `batch` is the mean
    over the tasks' query passes at that step and `a = max(0.1, 1 / updates)`, so that the first
    updates are plain means.
    """

    rows: int

    def init(self, network: Network) -> Sections:
        """The sections `running`, with `NAME.input` and `NAME.ratio`, and `updates`, a count."""
        shapes = source_shapes(network)
        running = {f"{n}.input": torch.zeros(self.rows, *s) for n, s in shapes.items() if s}
        sizes = network.norms
        ratios = {f"{n}.ratio": torch.ones(self.rows, sizes[n]) for n, s in shapes.items() if s}
        return {"running": running | ratios, "updates": {"count": torch.zeros(())}}

    def at(self, running: Tensors, step: int) -> Tensors:
        """The averages of one step (from 0); beyond the trained steps, the last row."""
        row = min(step, self.rows - 1)
        return {name: stats[row] for name, stats in running.items()}

    def updated(self, state: Sections, batch: Tensors) -> Sections:
        """The state after one more outer update with statistics `(steps, ...)` of query passes."""
        count = state["updates"]["count"] + 1
        weight = (1 / count).clamp_min(MOMENTUM)
        running = {
            name: stats + weight * (self._rows_of(batch[name]) - stats)
            for name, stats in state["running"].items()
        }
        return {"running": running, "updates": {"count": count}}

    def _rows_of(self, batch: Tensor) -> Tensor:
        return batch if self.rows > 1 else batch.mean(0, keepdim=True)


def source_shapes(network: Network) -> dict[str, tuple[int, ...] | None]:
    """The input shape of the linear layer before each batch norm; None where there is none."""
    norm = SourceShapes()
    with torch.no_grad():
        params = network.init(Generator().manual_seed(0))
        network.features(params, torch.zeros(2, *network.input_shape), norm)
    return norm.shapes
