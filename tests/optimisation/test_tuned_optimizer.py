"""Optimisers made by hand: against torch's own and the closed form, and the choice of the rate."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from problems import CPU, RUN, TRAIN, shipped

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.types import Evaluation, Progress
from maml_cli.engines.per_task import loop
from maml_cli.engines.vmap import Vmap
from maml_cli.testing import check_algorithm
from maml_cli.testing.problems import Problem

STEPS = 4
AT = Progress(iteration=0, epoch=0, iterations=10, epochs=1)
TORCHS = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
}


def quadratics(tasks=3):
    data = shipped("dataset", "quadratics", coordinates=3, start=1.0).load(
        replace(RUN, ways=1), CPU
    )
    batch = data.episodes("train", 0, tasks)
    return data, batch._replace(
        support_x=batch.support_x.double(), support_y=batch.support_y.double()
    )


def built(name, data, **changes):
    form = shipped("algo", name, **{"inner_steps": STEPS} | changes)
    return form.build(data.network, data, TRAIN)


def double(params):
    def wide(sections):
        return {s: {n: t.double() for n, t in ts.items()} for s, ts in sections.items()}

    return MetaParameters(theta=wide(params.theta), state=wide(params.state))


def losses(algorithm, params, batch, after):
    found = loop(algorithm).predict(params, batch, Evaluation(after, "batch"))
    return found.view(len(batch.key), len(after))


def by_torch(name, data, batch, task, rate, steps=STEPS):
    """The losses before each of the steps, and after the last."""
    x = data.start(batch.key[task])["x"].clone().requires_grad_()
    kind, options = TORCHS[name]
    optimizer, found = kind([x], lr=rate, **options), []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        loss = (batch.support_x[task] @ x - batch.support_y[task]).square().sum()
        loss.backward()
        found.append(loss.item())
        optimizer.step()
    return found


@pytest.mark.parametrize("name", TORCHS)
def test_the_steps_are_torchs(name):
    data, batch = quadratics()
    algorithm = built(name, data)
    params = double(algorithm.init(0))
    grid = params.state["grid"]["loss"]
    grid.fill_(1.0)
    grid[8] = 0.0  # the best one
    found = losses(algorithm, params, batch, tuple(range(STEPS + 1)))
    for task in range(3):
        expected = by_torch(name, data, batch, task, algorithm.rates[8])
        assert found[task].tolist() == pytest.approx(expected, rel=1e-7)


def test_gradient_descent_has_its_closed_form():
    # x_t - x* = (I - 2 a W^T W)^t (x_0 - x*), with W x* = y
    data, batch = quadratics(1)
    algorithm = built("sgd", data)
    params = double(algorithm.init(0))  # of equal sums the first rate is used
    w, y, a = batch.support_x[0], batch.support_y[0], algorithm.rates[0]
    solution = torch.linalg.solve(w, y)
    power = torch.linalg.matrix_power(torch.eye(3, dtype=torch.float64) - 2 * a * w.T @ w, STEPS)
    x = solution + power @ (data.start(batch.key[0])["x"] - solution)
    found = losses(algorithm, params, batch, (STEPS,))
    assert found.item() == pytest.approx((w @ x - y).square().sum().item(), rel=1e-9)


def test_the_rate_is_the_best_on_training_problems():
    data, batch = quadratics()
    algorithm = built(
        "sgd", data, rate_min=0.01, rate_max=1000.0, rates_per_decade=1, inner_steps=60
    )
    params = double(algorithm.init(0))
    step = Vmap(algorithm).meta_gradient(params, batch, AT)
    by_rate = torch.tensor(
        [
            [by_torch("sgd", data, batch, task, r, steps=60)[-1] for task in range(3)]
            for r in algorithm.rates
        ],
        dtype=torch.float64,
    ).mean(1)
    by_rate = torch.where(by_rate.isfinite(), by_rate, math.inf)
    found = step.state["grid"]["loss"]
    assert found[:3].tolist() == pytest.approx(by_rate[:3].tolist(), rel=1e-6)
    assert found[-1] == math.inf  # the largest rate: worst, but not the end of the run
    assert step.loss.isfinite()
    best = int(by_rate.argmin())
    after = MetaParameters(theta=params.theta, state=step.state)
    assert algorithm.learned_rates(after) == {"all": [algorithm.rates[best]]}
    twice = algorithm.next_state(step.state, step.state)
    assert twice["grid"]["loss"][0] == 2 * found[0]


@pytest.mark.parametrize(("place", "at_the_end"), [(0, True), (1, False), (-1, True)])
def test_the_end_of_the_grid_is_told(place, at_the_end):
    data, _ = quadratics()
    algorithm = built("adam", data)
    params = algorithm.init(0)
    grid = params.state["grid"]["loss"]
    grid.fill_(1.0)
    grid[place] = 0.5
    [said] = algorithm.remarks(params)
    assert f"rate {algorithm.rates[place]:.4g}, the best of 41 from 0.0001 to 10" in said
    assert ("it is at the end of the grid" in said) == at_the_end


def test_the_grid_is_even_in_the_logarithm():
    data, _ = quadratics()
    rates = built("sgd", data, rate_min=0.01, rate_max=1.0, rates_per_decade=8).rates
    assert len(rates) == 17
    ratios = [b / a for a, b in pairwise(rates)]
    assert ratios == pytest.approx([10**0.125] * 16)
    assert rates[-1] == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", ["nesterov", "rmsprop"])
def test_every_engine_computes_them(name):
    data, batch = quadratics()
    problem = Problem(network=data.network, source=data, episodes=batch)
    check_algorithm(lambda _, source: built(name, source), problem, bn_stats=("batch",))
