"""Our side of `bench.py`: an outer iteration, and the predictions of a batch."""

from collections.abc import Callable

import torch
from bench_cases import Case

from maml_cli.core.algorithm import MetaParameters, flat
from maml_cli.core.types import Episode, Evaluation, Progress
from maml_cli.engines.choice import choose_engine, make_engine
from maml_cli.engines.engine import Engine

Step = Callable[[Episode], float]
FIRST_EPOCH = Progress(iteration=0, epoch=0, iterations=50_000, epochs=100)


def our_engine(case: Case, engine: str) -> Engine:
    """The engine of a case, with its algorithm."""
    experiment, source = case.experiment, case.source
    network = experiment.backbone.build(source.input_shape)
    algorithm = experiment.algo.build(network, source, experiment.train)
    cpu = torch.device("cpu")
    form = {"convolutional": network.convolutional, "batches": network.batches}
    return make_engine(choose_engine(engine, cpu, **form), algorithm, cpu)


def our_predictions(case: Case, engine: str) -> Step:
    """The queries of a batch answered after the last inner step, as at a test."""
    held = our_engine(case, engine)
    params = held.algorithm.init(0)
    evaluation = Evaluation((held.algorithm.steps,), "batch")

    def predict(episodes: Episode) -> float:
        return held.predict(params, episodes, evaluation).sum().item()

    return predict


def our_step(case: Case, engine: str) -> tuple[MetaParameters, Step]:
    """Our outer iteration, Adam step included, and the weights it starts from."""
    held = our_engine(case, engine)
    params = held.algorithm.init(0)
    theta = flat(params.theta)
    optimizer = held.algorithm.optimizer(list(theta.values()))

    def step(episodes: Episode) -> float:
        nonlocal params
        found = held.meta_gradient(params, episodes, FIRST_EPOCH)
        gradient = flat(found.gradient)
        for name, tensor in theta.items():
            tensor.grad = gradient[name]
        optimizer.step()
        params = MetaParameters(theta=params.theta, state=found.state)
        return found.loss.item()

    return params, step
