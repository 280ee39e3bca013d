"""What an episode is judged by: the loss that is differentiated and the metric that is reported."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from maml_cli.core.metric import ACCURACY, MSE, Metric


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    answered = logits.isfinite().all(-1)  # else argmax would name a class all the same
    return ((logits.argmax(-1) == labels) & answered).float().mean(-1)


def _squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().mean((-2, -1))


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A loss and a metric, both means over an episode's examples.

    `loss(outputs, targets)` takes `(examples, outputs)` and the targets and returns a scalar;
    `metric` does too, and also takes leading dimensions.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[Tensor, Tensor], Tensor]
    reported: Metric
    """The metric's name, direction and unit."""


CLASSIFICATION = Objective(loss=F.cross_entropy, metric=_accuracy, reported=ACCURACY)
REGRESSION = Objective(loss=F.mse_loss, metric=_squared_error, reported=MSE)
