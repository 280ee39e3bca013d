"""Times evaluation: the answers of one model to the queries of a batch of episodes, in turn.

    python scripts/bench_evaluation.py --htym PATH

A row has two sides that do the same work: looks after every inner step against the last look alone
(ours both), the official MAML++ code in your own checkout (--htym), and Reptile's 50 steps against
a plain loop with torch's own modules. Sides of equal work must find the same loss first. Quoted are
medians per episode, and the median of the pairs' ratios with the smallest and the largest.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from bench import paired
from bench_cases import CASES, MINI, STEPS, Case, batch_of
from bench_ours import our_engine
from bench_peers import Step, body_of, tasks_of
from official_code import official_system, validate
from tabulate import tabulate
from torch import nn

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.types import Episode, Evaluation
from maml_cli.engines.engine import Engine

REPTILE_STEPS = 50
CHECKED_STEPS = 2
"""Longer paths of Adam amplify rounding, so equal losses are asked for after these."""
TOLERANCE = 5e-3
REPTILE = Case(
    name="reptile-50-steps",
    algo="reptile",
    switches={"inner_optimizer": "adam", "inner_lr": 1e-3, "eval_inner_batch": 5},
    ways=5,
    **{**MINI, "queries": 1, "tasks": 4, "filters": 32},
)


def ours(engine: Engine, params: MetaParameters, after: tuple[int, ...]) -> Step:
    """Looks after so many steps each, by batch statistics; the loss after the last."""
    evaluation = Evaluation(after, "batch")

    def answer(episodes: Episode) -> float:
        outputs = engine.predict(params, episodes, evaluation)[:, -1, 0]
        return F.cross_entropy(outputs.flatten(0, 1), episodes.query_y.flatten()).item()

    return answer


def official(case: Case, params: MetaParameters, path: Path) -> Step:
    """The official MAML++ code's validation of a batch."""
    system = official_system(path, case.experiment, case.image, params)
    return lambda episodes: validate(system, episodes, case.ways)[0]


def plain_loop(case: Case, params: MetaParameters, steps: int) -> Step:
    """Reptile's test with torch's own network and Adam; a minibatch is the whole support set."""
    weight, bias = (params.theta["model"][f"head.{part}"] for part in ("weight", "bias"))

    def fresh() -> nn.Module:
        head = nn.Linear(weight.shape[1], weight.shape[0])
        head.weight.data, head.bias.data = weight.clone(), bias.clone()
        return nn.Sequential(body_of(case, params), head)

    def answer(episodes: Episode) -> float:
        losses = []
        for task in tasks_of(episodes):
            network = fresh()
            adam = torch.optim.Adam(
                network.parameters(), lr=case.switches["inner_lr"], betas=(0.0, 0.999)
            )
            for _ in range(steps):
                adam.zero_grad()
                F.cross_entropy(network(task.support_x), task.support_y).backward()
                adam.step()
            with torch.no_grad():
                losses.append(F.cross_entropy(network(task.query_x), task.query_y).item())
        return statistics.mean(losses)

    return answer


def row(name: str, case: Case, sides: tuple[Step, Step], pairs: int) -> list[str]:
    """A line of the table; both sides are timed in turn."""
    seconds = paired(*sides, batch_of(case), pairs)
    ratios = [t / o for o, t in zip(seconds["ours"], seconds["theirs"], strict=True)]
    medians = [statistics.median(seconds[side]) / case.tasks for side in ("ours", "theirs")]
    speed = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return [name, *(f"{second:.4f}" for second in medians), speed]


def require_equal(name: str, case: Case, sides: tuple[Step, Step]) -> None:
    """Raise SystemExit where the two sides do not do the same work."""
    batch = batch_of(case)
    found, expected = (side(batch) for side in sides)
    if abs(found - expected) > TOLERANCE * abs(expected):
        raise SystemExit(f"{name}: losses differ, {found} and {expected}")


def main() -> None:
    """Time every row that can be; print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--htym", type=Path, help="a checkout of the official MAML++ code")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--tasks", type=int, default=8, help="episodes of a batch")
    parser.add_argument("--engine", default="auto")
    arguments = parser.parse_args()
    rows = []
    for name in ("mini-imagenet-5way-mamlpp", "omniglot-20way-mamlpp"):
        case = replace(CASES[name], tasks=arguments.tasks)
        engine = our_engine(case, arguments.engine)
        params = engine.algorithm.init(0)
        last, every = (ours(engine, params, after) for after in ((STEPS,), tuple(range(STEPS + 1))))
        require_equal(name, case, (last, every))
        rows.append(row(f"{name}: last look, every look", case, (last, every), arguments.pairs))
        if arguments.htym:
            sides = last, official(case, params, arguments.htym)
            require_equal(name, case, sides)
            rows.append(row(f"{name}: ours, official", case, sides, arguments.pairs))
    engine = our_engine(REPTILE, arguments.engine)
    params = engine.algorithm.init(0)
    checked = ours(engine, params, (CHECKED_STEPS,)), plain_loop(REPTILE, params, CHECKED_STEPS)
    require_equal(REPTILE.name, REPTILE, checked)
    sides = ours(engine, params, (REPTILE_STEPS,)), plain_loop(REPTILE, params, REPTILE_STEPS)
    rows.append(row(f"{REPTILE.name}: ours, plain loop", REPTILE, sides, arguments.pairs))
    header = ["row", "first, s per episode", "second, s per episode", "speed-up (min to max)"]
    print(tabulate(rows, header, tablefmt="github", disable_numparse=True))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
