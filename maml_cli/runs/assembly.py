"""The parts that training, evaluation and use of a model share, built from an experiment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from maml_cli.core.errors import DivergedError, UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.learner import Learner, MetaParameters
from maml_cli.core.records import Curves, RunInfo
from maml_cli.core.settings import flat
from maml_cli.core.types import Episode, Looks, TaskSource
from maml_cli.distributed import ranks
from maml_cli.distributed.collectives import together
from maml_cli.engines.choice import choose_engine, computed_by
from maml_cli.engines.engine import Engine
from maml_cli.engines.engines import make_engine
from maml_cli.engines.ranked import Ranked
from maml_cli.reporting.results import environment
from maml_cli.runs.evaluation import Scores, course, evaluate, fitted_curves, summary


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """A learner for a source of episodes on a device; nothing of it changes during a run."""

    experiment: Experiment
    device: torch.device
    source: TaskSource
    engine: Engine
    learner: Learner
    normalises: bool
    """Whether the network has batch norms, so that `eval.bn_stats` matters."""

    @property
    def steps(self) -> int:
        """Inner steps in evaluation."""
        steps = self.experiment.eval.inner_steps
        return self.learner.steps if steps is None else steps

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
    ) -> Scores:
        """The candidates' scores by the experiment's `eval` settings.

        `on_progress` is told the split, how many episodes are done and how many there are.
        """
        return evaluate(
            self.learner,
            candidates,
            self.source,
            split=split,
            episodes=episodes,
            steps=self.steps,
            bn_stats=self.experiment.eval.bn_stats,
            on_progress=lambda done: on_progress(split, done, episodes),
        )

    def probabilities(self, candidates: Sequence[MetaParameters], episodes: Episode) -> Tensor:
        """Of each class for each query, `(tasks, queries, outputs)`, by the `eval` settings.

        They are the softmax of the candidates' mean outputs. Raises DivergedError if those are not
        finite.
        """
        bn_stats = self.experiment.eval.bn_stats
        looks = Looks((self.steps,), bn_stats)
        outputs = [self.learner.predict(c, episodes, looks) for c in candidates]
        mean = torch.stack(outputs).mean(0)[:, -1]
        if not mean.isfinite().all():
            raise DivergedError(
                f"the outputs are not finite after {self.steps} inner steps with eval.bn_stats="
                f"{bn_stats}: adaptation diverges; take fewer eval.inner_steps or the "
                "eval.bn_stats that the run was validated with"
            )
        return mean.softmax(-1)

    def curves(self, params: MetaParameters) -> Curves | None:
        """Fits to some test tasks, to draw; None if inputs are no numbers."""
        return fitted_curves(
            self.learner,
            params,
            self.source,
            steps=self.steps,
            bn_stats=self.experiment.eval.bn_stats,
        )

    def facts(self, params: MetaParameters) -> dict[str, Any]:
        """Those entries of the results that are known before any episode."""
        experiment, run = self.experiment, self.experiment.run
        return {
            "algo": experiment.algo.name,
            "dataset": experiment.dataset.name,
            "ways": run.ways,
            "shots": run.shots,
            "queries": run.queries,
            "train_ways": run.ways_in("train"),
            "train_shots": run.shots_in("train"),
            "train_queries": run.queries_in("train"),
            "seed": run.seed,
            "toggles": experiment.algo.toggles(),
            "metric": self.source.objective.metric_name,
            "device": device_name(self.device),
            "backbone": experiment.backbone.name,
            "task_pool": experiment.train.task_pool,
            "tasks_per_batch": experiment.train.tasks_per_batch,
            "parameters": sum(t.numel() for t in params.theta.values()),
            "engine": self.engine.name,
            "remarks": list(self.source.remarks),
            "command": experiment.command,
            **environment(),
        }

    def info(
        self,
        facts: Mapping[str, Any],
        *,
        iteration: int,
        epoch: int,
        notes: Sequence[str],
        output_dir: Path,
    ) -> RunInfo:
        """The same for those who listen to the run, which begins after that iteration and epoch."""
        named = (
            *("algo", "dataset", "ways", "shots", "queries", "seed", "toggles", "metric"),
            *("tasks_per_batch", "device", "threads", "engine", "parameters", "command"),
        )
        return RunInfo(
            **{name: facts[name] for name in named},
            higher_is_better=self.source.objective.higher_is_better,
            epochs=self.experiment.train.epochs,
            iterations_per_epoch=self.experiment.train.iterations_per_epoch,
            remarks=tuple(facts["remarks"]),
            notes=tuple(notes),
            start_iteration=iteration,
            start_epoch=epoch,
            output_dir=output_dir,
            hparams={
                key.removesuffix(".name"): value if isinstance(value, int | float) else str(value)
                for key, value in flat(yaml.safe_load(self.experiment.resolved)).items()
                if not key.endswith("._target_")  # `algo` and the like, the names, say it already
            },
        )

    def tested(self, scores: Scores, candidates: int) -> dict[str, Any]:
        """Those entries of the results that a test adds: how it was done, what came of it."""
        objective = self.source.objective
        return {
            "inner_steps": self.steps,
            "bn_stats": self.experiment.eval.bn_stats if self.normalises else None,
            "test": summary(objective, scores.steps, scores.ensemble) | {"ensemble": candidates},
            "test_single": summary(objective, scores.steps, scores.single),
            "test_per_step": course(scores.steps, scores.ensemble),
        }


def assemble(experiment: Experiment, source: TaskSource, device: torch.device) -> Assembly:
    """The learner of an experiment, for the episodes of a source that is on the device."""
    weights = experiment.backbone.init(source.input_shape, source.output_size, torch.Generator())
    convolutional = any(weight.ndim == 4 for weight in weights.values())
    name = choose_engine(experiment.run.engine, device, convolutional=convolutional)
    engine = make_engine(name)
    if together():
        engine = Ranked(engine)
    build = partial(experiment.algo.build, experiment.backbone, source, experiment.train)
    return Assembly(
        experiment=experiment,
        device=device,
        source=source,
        engine=engine,
        learner=computed_by(name, engine, build, device, splits=experiment.algo.splits),
        normalises=any(".norm." in name for name in weights),
    )


def choose_device(name: str) -> torch.device:
    """The named device; `auto` is cuda where there is one. Raises UsageError.

    Each of several processes on a machine has a GPU of its own.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("device=cuda, but torch finds no usable GPU: choose device=cpu")
    if not available or name == "cpu":
        return torch.device("cpu")
    index, count = ranks.local_rank(), torch.cuda.device_count()
    if index >= count:
        raise UsageError(
            f"--nproc-per-node is above {count}, the number of GPUs of this machine: lower it, or "
            "choose device=cpu"
        )
    torch.cuda.set_device(index)
    # else cuDNN rounds to TF32, and a second-order gradient amplifies rounding
    torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]
    return torch.device("cuda", index)


def device_name(device: torch.device) -> str:
    """`cpu`, or the model of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
