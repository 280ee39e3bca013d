"""Nonsense on the command line ends in a message, never in a traceback."""

import random
from collections.abc import Callable

import pytest

import maml_cli.runner

KEYS = (
    "ways shots seed device data_dir algo dataset backbone train eval experiment protocol "
    "algo.inner_lr algo.order algo._target_ algo.msl train.epochs train.outer_lr eval.inner_steps "
    "backbone.hidden dataset.name hydra.run.dir hydra.job.name hydra.output_subdir hydra/launcher "
    "hydra.mode hydra hydra.searchpath nope a.b.c algo@x train. .train _target_ defaults 5 null"
)
VALUES = (
    "5 -1 0 1e400 nan inf -inf null ??? true maml mamlpp sinusoid [] [1,2] {} {a:1} {a:{b:[c]}} "
    "'' 'x' ${ways} ${nope} ${oc.env:NOPE} ${share:1} ${now:%Y} ${a ${algo.inner_lr} a,b 1,2 "
    "range(3) range(0,9,0) choice() interval(0,1) glob(*) sort(3,2) shuffle(1,2) int(x) \\, = == "
    "a=b \x00 \t é 💥 [ { ( \" ' # %s 999999999999999999999 0x10 1_000 RUN MULTIRUN ../.. "
    "/dev/null ./x a/b @ + ~ - -- *"
)
FLAGS = "-m --multirun --cfg --cfg=job --info --resolve --package=algo -p -r --nope -x --help"


def malformed(seed: int) -> list[str]:
    """One to four arguments, drawn from the pieces above."""
    draw = random.Random(seed)
    keys, values, flags = KEYS.split(), VALUES.split(" "), FLAGS.split()

    def argument() -> str:
        if draw.random() < 0.1:
            return draw.choice(flags)
        prefix = draw.choice(["", "", "", "", "+", "++", "~"])
        middle = draw.choice(["=", "=", "=", "=", "=", "=", "", "==", ":"])
        return f"{prefix}{draw.choice(keys)}{middle}{draw.choice(values)}"

    return [argument() for _ in range(draw.randint(1, 4))]


@pytest.mark.parametrize("seed", range(100))
def test_a_malformed_command_line(
    maml_train: Callable, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(maml_cli.runner, "run", lambda *_: {})
    outcome = maml_train(*malformed(seed))
    assert outcome.code in (0, 2), (malformed(seed), outcome)
    assert "Traceback" not in outcome.err
    assert bool(outcome.errors) == (outcome.code == 2)
