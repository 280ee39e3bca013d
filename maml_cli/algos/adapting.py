"""What learners share that answer queries by an inner loop on the support set."""

from abc import ABC, abstractmethod

from torch import Tensor

from maml_cli.core.algorithm import MetaParameters, Ops
from maml_cli.core.types import Episode, Evaluation
from maml_cli.inner.adaptation import Adaptation


class Adapting(ABC):
    """Predictions and features of the queries, from the task at its start."""

    @abstractmethod
    def begun(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Adaptation:
        """The task at its start, as an evaluation sees it."""

    def predict(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """Query outputs, `(evaluation steps, samples, queries, outputs)`."""
        return self.begun(params, episode, evaluation, ops).predict(evaluation.after)

    def features(
        self, params: MetaParameters, episode: Episode, evaluation: Evaluation, ops: Ops
    ) -> Tensor:
        """The features of the queries, `(evaluation steps, queries, ...)`."""
        return self.begun(params, episode, evaluation, ops).features(evaluation.after)
