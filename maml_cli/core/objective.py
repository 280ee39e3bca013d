"""What an episode is judged by: the loss that is differentiated and the metric that is reported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from maml_cli.core.likelihood import CLASSES, NORMAL, Likelihood
from maml_cli.core.metric import ACCURACY, LOSS, MSE, Metric
from maml_cli.core.scoring import CLASS_SCORING, CURVE_SCORING, Scoring, mean_probability


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    answered = logits.isfinite().all(-1)  # else argmax would name a class all the same
    return ((logits.argmax(-1) == labels) & answered).float().mean(-1)


def _mean_output(outputs: Tensor) -> Tensor:
    return outputs.squeeze(-3) if outputs.shape[-3] == 1 else outputs.mean(-3)


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
    combine: Callable[[Tensor], Tensor]
    """One prediction from samples: `(..., samples, queries, outputs)` without that dimension."""
    scoring: Scoring | None
    """Reads outputs as probabilities; None: they are none."""
    likelihood: Likelihood
    """The density of targets, for learners that need one in training."""
    balanced: Callable[[Tensor, Tensor], Tensor] | None = None
    """The loss of the support set, where it is not `loss`; see `class_balanced`."""

    @property
    def support_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """What a learner descends on: `loss`, unless classes have different numbers of examples."""
        return self.balanced or self.loss

    def log(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """`query_loss` and `query_metric` of one scoring of the queries, `(1,)`, as constants."""
        outputs = outputs.detach()
        return {
            "query_loss": self.loss(outputs, targets).unsqueeze(0),
            "query_metric": self.metric(outputs, targets).unsqueeze(0),
        }


CLASSIFICATION = Objective(
    loss=F.cross_entropy,
    metric=_accuracy,
    reported=ACCURACY,
    combine=mean_probability,
    scoring=CLASS_SCORING,
    likelihood=CLASSES,
)
REGRESSION = Objective(
    loss=F.mse_loss,
    metric=_squared_error,
    reported=MSE,
    combine=_mean_output,
    scoring=CURVE_SCORING,
    likelihood=NORMAL,
)


def to_minimise(loss: Callable[[Tensor, Tensor], Tensor], likelihood: Likelihood) -> Objective:
    """That of optimisation problems: predictions are the losses themselves, of shape `(..., 1, 1)`.

    `loss(outputs, targets)` is what a step descends on.
    """
    return Objective(
        loss=loss,
        metric=lambda losses, _: losses[..., 0, 0],
        reported=LOSS,
        combine=_mean_output,
        scoring=None,
        likelihood=likelihood,
    )


def class_balanced(counts: Sequence[int]) -> Objective:
    """Classification of a support set that has `counts[c]` examples of class c.

    The support loss is the mean over the C classes of their mean cross-entropy: an example of class
    c has the weight `n / (C counts[c])`, n being the sum of the counts. The mean of the weighted
    losses of a random minibatch has the same expected value. With equal counts this is
    CLASSIFICATION itself.
    """
    if len(set(counts)) == 1:
        return CLASSIFICATION
    weights = [sum(counts) / (len(counts) * count) for count in counts]

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        of_class = torch.tensor(weights, dtype=logits.dtype, device=logits.device)
        return F.cross_entropy(logits, labels, weight=of_class, reduction="sum") / len(labels)

    return replace(CLASSIFICATION, balanced=loss)
