"""The contracts between algorithms, networks and engines, as checks."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._pytree import tree_leaves, tree_map

from maml_cli.core.algorithm import Algorithm, MetaParameters, MetaStep, flat
from maml_cli.core.network import Network
from maml_cli.core.norms import GivenStats
from maml_cli.core.settings import BatchNormStats
from maml_cli.core.types import Episode, Evaluation, Progress
from maml_cli.engines.engine import Engine
from maml_cli.engines.per_task import lean_loop, loop, threads
from maml_cli.engines.processes import AVAILABLE, Processes
from maml_cli.engines.recorded import Recorded, traced
from maml_cli.engines.vmap import Vmap
from maml_cli.testing.gpu import GPU_ENGINES
from maml_cli.testing.problems import Problem, Source, classification
from maml_cli.testing.traps import TRAPS

Build = Callable[[Network, Any], Algorithm]
"""Makes an algorithm for a network and a source, as a settings class's `build` does."""
EngineOf = Callable[[Algorithm], Engine]

ENGINES: Mapping[str, EngineOf] = {
    "loop": loop,
    "lean loop": lean_loop,
    "threads": threads,
    "vmap": Vmap,
    "graph": lambda algorithm: Recorded(Vmap(algorithm), traced),
    **(
        GPU_ENGINES  # once a GPU has computed gradients, a forked process cannot
        if torch.cuda.is_available()
        else {"processes": lambda algorithm: Processes(algorithm, processes=2)}
        if AVAILABLE
        else {}
    ),
}
"""Every engine that can be compared on this machine, by the name that `engine=` takes."""

EPOCHS = 100
MOMENTS = (0, 50, 99)
"""Epochs at which a step is compared: what training's progress changes shows in one of them."""


def check_algorithm(
    build: Build,
    problem: Problem | None = None,
    *,
    engines: Mapping[str, EngineOf] = ENGINES,
    bn_stats: Iterable[BatchNormStats] = ("batch", "support", "support_and_query"),
) -> None:
    """Assert that every engine computes what the loop computes, at any moment of training.

    Compared are meta-gradient, state, loss and predictions. Also asserted: `init` repeats,
    evaluation changes nothing, a task's outputs do not depend on the others of its batch.
    `bn_stats` are those that the algorithm offers at evaluation.
    """
    problem = problem or classification()
    algorithm = build(problem.network, problem.source)
    params = _double(algorithm.init(0))
    _same("init(0) does not repeat", params, _double(algorithm.init(0)))
    reference, modes = loop(algorithm), [Evaluation((0, 1, 3), mode) for mode in bn_stats]
    moments = {(algorithm.phase(_at(e)), *algorithm.inputs(_at(e)).items()): e for e in MOMENTS}
    steps = {e: _step(reference, params, problem.episodes, e) for e in moments.values()}
    outputs = [reference.predict(params, problem.episodes, mode) for mode in modes]
    before = tree_map(torch.clone, (params.theta, params.state))
    for name, make in engines.items():
        engine = make(algorithm)
        for epoch, expected in steps.items():
            step = _step(engine, params, problem.episodes, epoch)
            _same(f"engine {name} differs from the loop at epoch {epoch}", step, expected)
        for mode, expected_outputs in zip(modes, outputs, strict=True):
            found = engine.predict(params, problem.episodes, mode)
            message = f"engine {name} predicts otherwise than the loop with bn_stats="
            _same(f"{message}{mode.bn_stats}", found, expected_outputs)
        _same("predict changes its parameters", (params.theta, params.state), before)
        one = Episode(*(field[1:2] for field in problem.episodes))
        alone = engine.predict(params, one, modes[0])
        message = f"engine {name}: a task's outputs depend on the other tasks of its batch"
        _same(message, alone, outputs[0][1:2])


def check_engine(make: EngineOf, problem: Problem | None = None) -> None:
    """Assert that an engine computes the traps as the loop does.

    A trap is an algorithm whose work a wrong engine gets wrong without a word (`testing/traps.py`).
    """
    for name, trap in TRAPS.items():
        check_algorithm(trap, problem, engines={f"of {name}": make}, bn_stats=("batch",))


def check_network(network: Network, input_shape: tuple[int, ...]) -> None:
    """Assert that a network declares its norms and parts, and is a function of its arguments."""
    params = network.init(Generator().manual_seed(0))
    _same("init does not repeat", params, network.init(Generator().manual_seed(0)))
    head = network.init_head(4, Generator().manual_seed(0))
    assert not params.keys() & head.keys(), "the body and the head share names"
    everything = {n: t.double() for n, t in (params | head).items()}
    x = torch.rand(5, *input_shape, generator=Generator().manual_seed(1), dtype=torch.float64)
    statistics = {n: t.double() for n, t in network.init_statistics().items()}

    def features(x: Tensor) -> Tensor:
        return network.features(everything, x, GivenStats(statistics))

    found = features(x)
    assert found.shape == (5, *network.feature_shape), (
        f"features have the shape {tuple(found.shape[1:])}, but feature_shape says "
        f"{network.feature_shape}"
    )
    assert network.head(everything, found).shape == (5, 4), "the head has another width"
    apart = torch.cat([features(one.unsqueeze(0)) for one in x])
    _same("examples see each other by a norm that `norms` does not declare", apart, found)
    _same("features do not repeat", features(x), found)
    batched = torch.func.vmap(features)(x.unsqueeze(1)).squeeze(1)
    _same("features differ under torch.func.vmap", batched, found)
    parts = {network.part(name) for name in params}
    assert parts <= {"body", "norm"}, f"parameters of the body have the parts {parts}"


def on_meta(algorithm: Algorithm, problem: Problem, make: EngineOf) -> MetaStep:
    """A step on torch's meta device, where a tensor elsewhere or a value read back raises."""
    meta = torch.device("meta")
    params = algorithm.init(0).to(meta)
    narrow = (t.float() if t.is_floating_point() else t for t in problem.episodes)
    episodes = Episode(*(t.to(meta) for t in narrow))
    engine = make(algorithm)
    evaluation = Evaluation((0, 2), "batch")
    engine.predict(params, episodes, evaluation)
    return engine.meta_gradient(params, episodes, _at(0))


def _at(epoch: int) -> Progress:
    return Progress(iteration=epoch * 500, epoch=epoch, iterations=EPOCHS * 500, epochs=EPOCHS)


def _step(engine: Engine, params: MetaParameters, episodes: Episode, epoch: int) -> dict[str, Any]:
    step = engine.meta_gradient(params, episodes, _at(epoch))
    log = {"loss": step.loss, "query_loss": step.query_loss, "query_metric": step.query_metric}
    assert step.query_loss.shape == (len(step.query_steps),), (
        f"query_loss has the shape {tuple(step.query_loss.shape)}, but query_steps is "
        f"{step.query_steps}"
    )
    gradient = flat(step.gradient)
    assert gradient.keys() == flat(params.theta).keys(), "the gradient is not keyed as theta"
    return {"gradient": gradient, "state": flat(step.state), **log}


def _double(params: MetaParameters) -> MetaParameters:
    def wide(t: Tensor) -> Tensor:
        return t.double() if t.is_floating_point() else t

    return MetaParameters(theta=tree_map(wide, params.theta), state=tree_map(wide, params.state))


def _same(message: str, found: Any, expected: Any) -> None:
    if isinstance(found, MetaParameters):
        found, expected = ((p.theta, p.state) for p in (found, expected))
    for one, other in zip(*(tree_leaves(values) for values in (found, expected)), strict=True):
        torch.testing.assert_close(
            one,
            other,
            rtol=1e-7,
            atol=1e-6 if one.dtype == torch.float32 else 1e-9,  # an accuracy is always float32
            msg=lambda details: f"{message}: {details}",
        )


__all__ = ["ENGINES", "Source", "check_algorithm", "check_engine", "check_network", "on_meta"]
