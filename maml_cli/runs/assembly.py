"""The parts that training, evaluation and use of a model share, built from an experiment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.algorithm import flat as flat_tensors
from maml_cli.core.calibration import Calibration
from maml_cli.core.errors import DivergedError
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.records import Curves, RunInfo
from maml_cli.core.results import Environment, EvaluationResult, Protocol, Split
from maml_cli.core.settings import flat
from maml_cli.core.types import Episode, Evaluation, TaskSource
from maml_cli.data.support_sets import Rows, balanced_sets, large_sets
from maml_cli.distributed import ranks
from maml_cli.engines.choice import choose_engine, make_engine
from maml_cli.engines.engine import Engine
from maml_cli.reporting.results import environment
from maml_cli.runs.devices import device_name
from maml_cli.runs.evaluation import (
    Scores,
    course,
    descents,
    evaluate,
    fitted_curves,
)


class Answers(NamedTuple):
    """The outputs of some networks for the queries of tasks, averaged over the networks."""

    outputs: Tensor
    """`(tasks, queries, outputs)`: of their samples, too, it is one prediction."""
    samples: Tensor
    """`(tasks, samples, queries, outputs)`"""

    @property
    def probabilities(self) -> Tensor:
        """Of each class, `(tasks, queries, outputs)`: the softmax of the outputs."""
        return self.outputs.softmax(-1)

    @property
    def spread(self) -> Tensor | None:
        """The standard deviation of the probabilities over the samples; None if there is one."""
        return self.samples.softmax(-1).std(1) if self.samples.shape[1] > 1 else None

    def averaged(self) -> "Answers":
        """Their average over the tasks, as that of one task: for tasks with the same queries."""
        return Answers(self.outputs.mean(0, keepdim=True), self.samples.mean(0, keepdim=True))


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """An engine for a source of episodes on a device; nothing of it changes during a run."""

    experiment: Experiment
    device: torch.device
    source: TaskSource
    engine: Engine
    network: Network

    @property
    def normalises(self) -> bool:
        """Whether the network has batch norms, so that `eval.bn_stats` matters."""
        return bool(self.network.norms)

    @property
    def steps(self) -> int:
        """Inner steps in evaluation."""
        steps = self.experiment.eval.inner_steps
        return self.engine.algorithm.steps if steps is None else steps

    @property
    def most_shots(self) -> int | None:
        """How many examples of each class the learner reads at once; None: any number."""
        return self.experiment.algo.most_shots(self.experiment.run)

    def support_sets(self, counts: Sequence[int]) -> list[Rows]:
        """The sets from which the learner answers where classes have these numbers of examples."""
        return balanced_sets(counts) if self.steps else large_sets(counts, self.most_shots)

    def fresh(self) -> MetaParameters:
        """The meta-parameters before any training."""
        return self.engine.algorithm.init(self.experiment.run.seed)

    @property
    def machine(self) -> dict[str, Any]:
        """What may change the last bits of a result."""
        return {
            "processes": ranks.size(),
            "threads": torch.get_num_threads(),
            "engine": self.engine.name,
            "device": device_name(self.device),
            "torch": str(torch.__version__),
        }

    def scores(
        self,
        candidates: Sequence[MetaParameters],
        split: str,
        episodes: int,
        on_progress: Callable[[str, int, int], None],
        *,
        course: bool = False,
    ) -> Scores:
        """The candidates' scores by the experiment's `eval` settings; see `evaluate`.

        With `course`, accuracy is also measured after earlier inner steps. `on_progress` is told
        the split, how many episodes are done and how many there are. Raises DivergedError if there
        is no episode whose outputs are finite.
        """
        settings = self.experiment.eval
        by_step = course and self.steps > 0 and not self.source.objective.reported.per_step
        scores = evaluate(
            self.engine,
            candidates,
            self.source,
            split=split,
            episodes=episodes,
            steps=self.steps,
            bn_stats=settings.bn_stats,
            course_episodes=min(settings.course_episodes or episodes, episodes) if by_step else 0,
            on_progress=lambda done: on_progress(split, done, episodes),
        )
        if scores.not_finite == episodes:
            raise self._diverged(f"in all {episodes:,} episodes of {split} ")
        return scores

    def _diverged(self, where: str = "") -> DivergedError:
        by, other = "", ""
        if self.normalises:
            by = f" with eval.bn_stats={self.experiment.eval.bn_stats}"
            other = " or the eval.bn_stats that the run was validated with"
        return DivergedError(
            f"the outputs are not finite {where}after {self.steps} inner steps{by}: the weights or "
            "the support set are not finite or very large, or adaptation diverges; take fewer "
            f"eval.inner_steps{other}, or train with a lower train.outer_lr or algo.inner_lr"
        )

    def answers(self, candidates: Sequence[MetaParameters], episodes: Episode) -> Answers:
        """The query outputs after the last inner step, by the `eval` settings.

        Raises DivergedError if they are not finite.
        """
        bn_stats = self.experiment.eval.bn_stats
        evaluation, combine = Evaluation((self.steps,), bn_stats), self.source.objective.combine
        samples = [self.engine.predict(c, episodes, evaluation)[:, -1] for c in candidates]
        mean = torch.stack([combine(outputs) for outputs in samples]).mean(0)
        if not mean.isfinite().all():
            raise self._diverged()
        return Answers(mean, torch.stack(samples).mean(0))

    def curves(self, params: MetaParameters, variance: float) -> Curves | None:
        """Fits to some test tasks, to draw; None if inputs are no numbers."""
        return fitted_curves(
            self.engine,
            params,
            self.source,
            steps=self.steps,
            bn_stats=self.experiment.eval.bn_stats,
            variance=variance,
        )

    def protocol(self, params: MetaParameters) -> Protocol:
        """What is trained, on what, and how: known before any episode."""
        experiment, run = self.experiment, self.experiment.run
        return Protocol(
            algo=experiment.algo.name,
            dataset=experiment.dataset.name,
            ways=run.ways,
            shots=run.shots,
            queries=run.queries,
            train_ways=run.ways_in("train"),
            train_shots=run.shots_in("train"),
            train_queries=run.queries_in("train"),
            own_steps=self.engine.algorithm.steps,
            seed=run.seed,
            toggles=experiment.algo.toggles(),
            metric=self.source.objective.reported,
            backbone=experiment.backbone.name,
            tasks_per_batch=experiment.train.tasks_per_batch,
            task_pool=experiment.train.task_pool,
            parameters=sum(t.numel() for t in flat_tensors(params.theta).values()),
            remarks=(*self.source.remarks, *self.network.remarks),
            command=experiment.command,
        )

    def environment(self) -> Environment:
        """Where the run is computed."""
        return environment(device=device_name(self.device), engine=self.engine.name)

    def info(
        self,
        protocol: Protocol,
        environment: Environment,
        *,
        iteration: int,
        epoch: int,
        notes: Sequence[str],
        output_dir: Path,
    ) -> RunInfo:
        """What the sinks are told at the start of a run, which begins after this iteration."""
        return RunInfo(
            protocol=protocol,
            environment=environment,
            epochs=self.experiment.train.epochs,
            iterations_per_epoch=self.experiment.train.iterations_per_epoch,
            notes=tuple(notes),
            start_iteration=iteration,
            start_epoch=epoch,
            output_dir=output_dir,
            hparams={
                key.removesuffix(".name"): value if isinstance(value, int | float) else str(value)
                for key, value in flat(yaml.safe_load(self.experiment.resolved)).items()
                if not key.endswith("._target_")  # the name, such as that of `algo`, is enough
            },
        )

    def evaluation(
        self, scores: Scores, split: Split, *, calibration: Calibration | None, candidates: int
    ) -> EvaluationResult:
        """The scores of this many candidates as part of the results."""
        return EvaluationResult(
            split=split,
            bn_stats=self.experiment.eval.bn_stats if self.normalises else None,
            ensemble=course(scores.steps, scores.ensemble),
            ensemble_size=candidates,
            calibration=calibration,
            single=course(scores.steps, scores.single),
            course=course(scores.course_steps, scores.course) if len(scores.course) else None,
            not_finite=scores.not_finite,
            descents=None
            if self.source.objective.reported.few_shot
            else descents(scores, candidates),
        )


def assemble(experiment: Experiment, source: TaskSource, device: torch.device) -> Assembly:
    """The engine of an experiment, for the episodes of a source that is on the device."""
    network = getattr(source, "network", None) or experiment.backbone.build(source.input_shape)
    algorithm = experiment.algo.build(network, source, experiment.train)
    name = choose_engine(
        experiment.run.engine,
        device,
        convolutional=network.convolutional,
        batches=network.batches,
    )
    return Assembly(
        experiment=experiment,
        device=device,
        source=source,
        engine=make_engine(name, algorithm, device),
        network=network,
    )
