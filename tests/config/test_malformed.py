"""Nonsense on the command line ends in a message, never in a traceback."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import maml_cli.runs.train

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


@pytest.fixture
def refused_or_taken(
    maml_train: Callable, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str]], None]:
    """Types a command line whose run does nothing, and looks at how it ended."""
    monkeypatch.setattr(maml_cli.runs.train, "run", lambda *_: {})

    def type_in(arguments: list[str]) -> None:
        outcome = maml_train(*arguments)
        assert outcome.code in (0, 2, 6), (arguments, outcome)  # 6: a folder that cannot be made
        assert "Traceback" not in outcome.err, (arguments, outcome)
        assert bool(outcome.errors) == (outcome.code > 0), (arguments, outcome)
        assert ("maml-train --help" in outcome.err) == (outcome.code == 2), (arguments, outcome)

    return type_in


def test_the_lines_are_malformed(maml_train: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maml_cli.runs.train, "run", lambda *_: {})
    assert sum(maml_train(*malformed(seed)).code == 2 for seed in range(20)) >= 15


@pytest.mark.parametrize("ten", range(10))
def test_a_malformed_command_line(refused_or_taken: Callable, ten: int) -> None:
    for seed in range(10 * ten, 10 * ten + 10):
        refused_or_taken(malformed(seed))


@pytest.mark.faults_full
@pytest.mark.parametrize("hundred", range(50))
def test_five_thousand_malformed_command_lines(refused_or_taken: Callable, hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        refused_or_taken(malformed(seed))


@given(st.lists(st.one_of(st.text(), st.from_regex(r"[+~]{0,2}[a-z_./]+=.*")), max_size=3))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_at_all(refused_or_taken: Callable, arguments: list[str]) -> None:
    refused_or_taken(arguments)


BROKEN_PIECES = (
    "a: 1\n", "  b: 2\n", "\t- 1\n", "- 1\n", "a: [1,\n", "a: {b\n", "a: 1\na: 2\n", "\0", "\ufeff",
    "defaults: 5\n", "defaults:\n  - mine\n", "defaults:\n  - none: x\n", "a: *b\n", "a: !x 1\n",
    "defaults:\n  - /algo: maml\n", "_target_: os.system\n", "_target_: [1]\n", "name: ${name}\n",
    "_target_: maml_cli.algos.maml.MAML\n", "name: ${x:1}\n", "name: ${\n", "null: 1\n", "1: 1\n",
    "? [a]\n: 1\n", "&a a: *a\n", "a: !!python/object:os.system x\n", "inner_lr: .nan\n", "...\n",
    "inner_lr: abc\n", "inner_steps: -1\n", "adapts: 5\n", "adapts: [[[]]]\n", "hydra: 1\n", "'",
    "# @package _global_\n", "# @package a.b\n", "---\n", '"', "%YAML 9\n", "\x1b[0m", "é: é\n",
    "a: 2026-13-45\n", f"long: {'x' * 1_000_000}\n",
)  # fmt: skip


def broken_file(folder: Path, seed: int) -> None:
    """One file of one to six of the pieces above, as an algorithm of one's own."""
    draw = random.Random(seed)
    text = "".join(draw.choices(BROKEN_PIECES, k=draw.randint(1, 6)))
    path = folder / "algo" / f"mine.{'yml' if seed % 20 == 0 else 'yaml'}"
    path.parent.mkdir(parents=True)
    encoding = draw.choice(["utf-8", "utf-8", "utf-8", "utf-16", "cp1252"])
    path.write_bytes(text.encode(encoding, errors="ignore"))


@pytest.mark.parametrize(
    "twenty", [0, *(pytest.param(n, marks=pytest.mark.faults_full) for n in range(1, 10))]
)
def test_a_folder_with_a_broken_file(
    maml_train: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, twenty: int
) -> None:
    monkeypatch.setattr(maml_cli.runs.train, "run", lambda *_: {})
    for seed in range(20 * twenty, 20 * twenty + 20):
        folder = tmp_path / str(seed)
        broken_file(folder, seed)
        outcome = maml_train("--config-dir", str(folder), "algo=mine")
        assert outcome.code == 2, (seed, outcome)
        assert "Traceback" not in outcome.err, (seed, outcome)
        assert all("algo" in error for error in outcome.errors), (seed, outcome)
