"""What an engine promises to an algorithm, and an algorithm to its engine, by algorithms made here.

Every engine must give the gradient, state and predictions of the plainest one, whatever they depend
on: the phase, numbers that change every iteration, noise, the other tasks of the batch.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import pytest
import torch
from problems import (
    TRAIN,
    FakeSource,
    Line,
    at_epoch,
    conv4,
    evaluated,
    image_batch,
    images,
    maml,
    points,
    shipped,
)

from maml_cli.algos.gradient_learner import GradientLearner
from maml_cli.core import noise
from maml_cli.core.algorithm import LOG, Algorithm, MetaParameters, Phase
from maml_cli.core.types import Progress
from maml_cli.engines import processes
from maml_cli.engines.per_task import loop, threads
from maml_cli.engines.processes import Processes
from maml_cli.engines.recorded import Recorded, traced
from maml_cli.engines.vmap import Vmap
from maml_cli.inner.outer_loss import InnerLoopPhase

pytestmark = [
    pytest.mark.skipif(not processes.AVAILABLE, reason="needs Linux"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # pytest has threads too
]
ENGINES = {
    "loop": loop,
    "threads": threads,
    "vmap": Vmap,
    "graph": lambda algorithm: Recorded(Vmap(algorithm), traced),
    "processes": lambda algorithm: Processes(algorithm, processes=2),
}
MLP = shipped("backbone", "mlp", hidden=[8], batch_norm=True, weight_init="uniform")


@dataclass(frozen=True, kw_only=True)
class AnnealedPhase(InnerLoopPhase):
    """With a weight of a penalty."""

    penalty: float


@dataclass(frozen=True, kw_only=True)
class Annealed(GradientLearner):
    """MAML with `penalty * |head|^2`, where the penalty grows from epoch to epoch to 1."""

    def phase(self, progress):
        inner = super().phase(progress)
        return AnnealedPhase(
            bn_stats=inner.bn_stats,
            order=inner.order,
            step_weights=inner.step_weights,
            penalty=progress.epoch / 99,
        )

    def loss(self, params, episode, phase, ops):
        loss, outputs = super().loss(params, episode, phase, ops)
        return loss + phase.penalty * params.theta["model"]["head.weight"].square().sum(), outputs


@dataclass(frozen=True, kw_only=True)
class Warmed(GradientLearner):
    """MAML whose loss is multiplied by a number that grows at every iteration."""

    def inputs(self, progress):
        return {"warmth": progress.iteration / progress.iterations}

    def loss(self, params, episode, phase, ops):
        loss, outputs = super().loss(params, episode, phase, ops)
        return params.inputs["warmth"] * loss, outputs


@dataclass(frozen=True, kw_only=True)
class Noisy(GradientLearner):
    """MAML from weights with noise; predictions are four samples."""

    def loss(self, params, episode, phase, ops):
        return super().loss(self._sampled(params, episode, 0), episode, phase, ops)

    def predict(self, params, episode, evaluation, ops):
        samples = [
            super(Noisy, self).predict(self._sampled(params, episode, i), episode, evaluation, ops)
            for i in range(4)
        ]
        return torch.cat(samples, dim=1)

    def _sampled(self, params, episode, number):
        moved = {}
        for name, tensor in params.theta["model"].items():
            shape = tuple(tensor.shape)
            moved[name] = tensor + 0.1 * noise.normal(
                episode.key, name, shape, start=number * tensor.numel()
            ).to(tensor.dtype)
        return replace(params, theta={**params.theta, "model": moved})


def made(kind, settings, network, source):
    """The algorithm of the settings, of one of these kinds."""
    plain = settings.build(network, source, TRAIN)
    return kind(**{f.name: getattr(plain, f.name) for f in fields(plain)})


def on_paper(kind):
    return made(kind, maml(), Line(), FakeSource())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_depends_on_the_epoch(engine):
    # 0.3584 without a penalty (test_meta_gradient), and 2 * 3 * epoch / 99; one engine for all
    # epochs, back and forth
    found = ENGINES[engine](on_paper(Annealed))
    params = found.algorithm.init(0)
    for epoch in (0, 50, 99, 0):
        step = found.meta_gradient(params, points((1.0, 2.0), (1.0, 2.0)), at_epoch(epoch))
        expected = 0.3584 + 6 * epoch / 99
        assert step.gradient["model"]["head.weight"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_number_that_changes_every_iteration(engine):
    found = ENGINES[engine](on_paper(Warmed))
    params = found.algorithm.init(0)
    for iteration in (0, 1, 2, 40_000):
        progress = Progress(iteration=iteration, epoch=0, iterations=50_000, epochs=100)
        step = found.meta_gradient(params, points((1.0, 2.0), (1.0, 2.0)), progress)
        expected = 0.3584 * iteration / 50_000
        assert step.gradient["model"]["head.weight"].item() == pytest.approx(expected, rel=1e-5)


def recordings(kind, moments):
    """How often such an algorithm is recorded in these iterations and epochs."""
    made = []

    def record(function, example):
        made.append(function)
        return traced(function, example)

    engine = Recorded(Vmap(on_paper(kind)), record)
    params = engine.algorithm.init(0)
    for iteration, epoch in moments:
        progress = Progress(iteration=iteration, epoch=epoch, iterations=50_000, epochs=100)
        engine.meta_gradient(params, points((1.0, 2.0)), progress)
    return len(made)


def test_only_a_change_of_the_phase_costs_a_recording():
    moments = [(0, 0), (1, 0), (2, 0), (500, 1), (501, 1)]
    assert recordings(Warmed, moments) == 1
    assert recordings(Annealed, moments) == 2


@pytest.mark.parametrize("kind", [Annealed, Warmed, Noisy])
@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "loop"])
def test_a_network_s_gradient_and_predictions_are_those_of_the_loop(engine, kind):
    source = images(3)
    batch = image_batch(3, 3, 1, 2, source)  # two tasks for one process, one for the other
    network = MLP if engine == "graph" else conv4()  # a recording of conv4 takes seconds
    algorithm = made(kind, maml(), network.build(source.input_shape), source)
    params = algorithm.init(0)
    params = MetaParameters(
        theta={"model": {n: t.double() for n, t in params.theta["model"].items()}},
        state={"running": {n: t.double() for n, t in params.state.get("running", {}).items()}},
    )
    one, other = loop(algorithm), ENGINES[engine](algorithm)
    for epoch in (0, 50):
        expected, step = (e.meta_gradient(params, batch, at_epoch(epoch)) for e in (one, other))
        torch.testing.assert_close(step.gradient, expected.gradient, rtol=1e-8, atol=1e-11)
        torch.testing.assert_close(step.state, expected.state, rtol=1e-8, atol=1e-11)
    outputs = [e.predict(params, batch, evaluated((0, 2), "support")) for e in (one, other)]
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-11)
    samples = 4 if kind is Noisy else 1
    assert outputs[1].shape == (3, 2, samples, 6, 3)
    assert len(outputs[1][0, 0, :, 0, 0].unique()) == samples


class Tallies(Algorithm):
    """Two sections of state that are no means: a counter, and a row for every task."""

    merges: ClassVar[dict[str, Any]] = {"counters": "last", "table": "rows"}

    def init(self, seed):
        state = {
            "counters": {"last_word": torch.tensor(0)},
            "table": {"keys": torch.zeros(5, 2, dtype=torch.int64), "loss": torch.zeros(5)},
        }
        return MetaParameters(theta={"model": {"w": torch.tensor([3.0])}}, state=state)

    def outer_lr(self, progress):
        return 1.0

    def loss(self, params, episode, phase, ops):
        loss = (params.theta["model"]["w"] - episode.query_y).square().mean()
        value = loss.detach()
        log = {"query_loss": value.unsqueeze(0), "query_metric": value.unsqueeze(0)}
        # what state holds is seen by every task
        word = params.state["counters"]["last_word"] + episode.key[1]
        return loss, {
            LOG: log,
            "counters": {"last_word": word},
            "table": {"keys": episode.key, "loss": value},
        }

    def next_state(self, state, outputs):
        return {name: outputs[name] for name in state}

    def predict(self, params, episode, evaluation, ops):
        return params.theta["model"]["w"].expand(len(evaluation.after), 1, 1, 1)


FIVE = points(*((0.0, float(i)) for i in range(5)))


@pytest.mark.parametrize("engine", ENGINES)
def test_state_that_is_no_mean_comes_back_whole(engine):
    found = ENGINES[engine](Tallies())  # processes: three tasks and two
    params = found.algorithm.init(0)
    for iteration in (1, 2):
        step = found.meta_gradient(params, FIVE, at_epoch(0))
        # gradients 2 (3 - q) for q = 0 to 4
        assert step.gradient["model"]["w"].tolist() == pytest.approx([2.0])
        assert step.state["table"]["keys"].tolist() == FIVE.key.tolist()
        assert step.state["table"]["loss"].tolist() == [9.0, 4.0, 1.0, 0.0, 1.0]
        word = step.state["counters"]["last_word"]
        assert word.dtype == torch.int64
        assert word.item() == 9 * iteration  # the last task's second word is 9
        params = MetaParameters(theta=params.theta, state=step.state)


class Undeclared(Tallies):
    """Says nothing of its table."""

    merges: ClassVar[dict[str, Any]] = {"counters": "last"}


class Averaged(Tallies):
    """Would average a counter."""

    merges: ClassVar[dict[str, Any]] = {"counters": "mean", "table": "rows"}


class Growing(Tallies):
    """Adds rows to its state."""

    def next_state(self, state, outputs):
        rows = {n: torch.cat([t, outputs["table"][n]]) for n, t in state["table"].items()}
        return {**state, "table": rows}


class Forgetful(Tallies):
    """Drops a section of its state."""

    def next_state(self, state, outputs):
        return {"counters": outputs["counters"]}


class Rounded(Tallies):
    """Turns an integer into a floating-point number."""

    def next_state(self, state, outputs):
        return {**state, "counters": {"last_word": outputs["counters"]["last_word"].float()}}


@dataclass(frozen=True, kw_only=True)
class ListPhase(Phase):
    """Cannot be the key of a recording."""

    weights: list[float] = field(default_factory=list)


class Unhashable(Tallies):
    """Its phase holds a list."""

    def phase(self, progress):
        return ListPhase()


REFUSALS = {
    Undeclared: r"section 'table'.*`merges`",
    Averaged: r"counters\.last_word is torch\.int64.*no mean",
    Growing: r"next_state changes.*state\.table\.keys.*5, 2.*10, 2",
    Forgetful: r"next_state changes.*state\.table\.keys.*None",
    Rounded: r"next_state changes.*state\.counters\.last_word.*int64.*float32",
    Unhashable: r"ListPhase: a phase must be hashable",
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_breach_of_the_contract_is_a_sentence(engine, kind):
    found = ENGINES[engine](kind())
    with pytest.raises(TypeError, match=REFUSALS[kind]):
        found.meta_gradient(found.algorithm.init(0), FIVE, at_epoch(0))
