"""Run folders of other people, fuzzed: each ends well or in words, and none takes all memory.

The readers run in this process, so that hundreds of files take seconds.
"""

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from faults.mutations import TENSORS, VALUES, mutated
from faults.processes import arguments_for, done

from maml_cli.config.begun import saved_config
from maml_cli.config.build import build
from maml_cli.core.algorithm import flat
from maml_cli.core.errors import UserError
from maml_cli.core.metric import MSE
from maml_cli.data.record import read_record
from maml_cli.report import formats
from maml_cli.report.analysis import analyse
from maml_cli.report.collect import collect
from maml_cli.report.page import page
from maml_cli.runs.assembly import assemble
from maml_cli.storage.checkpoint import Checkpoints, read, write
from maml_cli.storage.run_folder import RunFolder
from maml_cli.training.state import RunState

CPU = torch.device("cpu")
QUICK, FULL = 300, 5000
SPREAD = 60
"""Quick mutations of each seed, so that a failure is found again by its number."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of two epochs, by another person."""
    folder = tmp_path_factory.mktemp("another") / "run"
    few = ("train.epochs=2", "eval.test_episodes=4", "eval.val_episodes=4", "eval.ensemble=1")
    done(folder, *arguments_for("maml", "sinusoid"), *few)
    return RunFolder(folder)


@pytest.fixture(scope="module")
def readers(run: RunFolder) -> dict[str, Callable[[RunFolder, random.Random], str]]:
    """Changes one file of a copy and reads it as the commands do; returns what was changed."""
    experiment = build(saved_config(run.path), command="")
    parts = assemble(experiment, experiment.dataset.load(experiment.run, CPU), device=CPU)

    def state() -> RunState:
        params = parts.fresh()
        theta = list(flat(params.theta).values())
        return RunState(params=params, optimizer=parts.engine.algorithm.optimizer(theta))

    def report(copy: RunFolder, file: Path, randomness: random.Random) -> str:
        said, content = mutated(json.loads(file.read_text()), randomness, VALUES)
        file.write_text(json.dumps(content))
        analysed = analyse(collect([copy.path.parent]))
        for form in formats.TEXTS.values():
            form(analysed)
        return said

    def records(copy: RunFolder, randomness: random.Random) -> str:
        lines = copy.metrics.read_text().splitlines()
        place = randomness.randrange(len(lines))
        said, content = mutated(json.loads(lines[place]), randomness, VALUES)
        lines[place] = json.dumps(content)
        copy.metrics.write_text("\n".join(lines))
        page(analyse(collect([copy.path])))
        return said

    def configuration(copy: RunFolder, randomness: random.Random) -> str:
        said, content = mutated(yaml.safe_load(copy.config.read_text()), randomness, VALUES)
        copy.config.write_text(yaml.safe_dump(content))
        collect([copy.path])
        saved_config(copy.path)
        return said

    def data(copy: RunFolder, randomness: random.Random) -> str:
        said, content = mutated(json.loads(copy.data.read_text()), randomness, VALUES)
        copy.data.write_text(json.dumps(content))
        read_record(copy.data)
        return said

    def checkpoint(copy: RunFolder, randomness: random.Random) -> str:
        file = copy.checkpoints / "epoch-0002.pt"
        said, content = mutated(read(file), randomness, [*VALUES, *TENSORS])
        if not isinstance(content, dict):
            return said
        write(file, {key: value for key, value in content.items() if key != "format"})
        found = Checkpoints(copy.checkpoints, keep=1, metric=MSE).newest()
        assert found is not None
        state().restore(found.content)
        return said

    return {
        "results": lambda copy, r: report(copy, copy.results, r),
        "scores": lambda copy, r: report(copy, copy.scores, r),
        "records": records,
        "configuration": configuration,
        "data": data,
        "checkpoint": checkpoint,
    }


WEIGHTS = {
    **{"results": 8, "scores": 4, "configuration": 8},
    **{"data": 2, "checkpoint": 8, "records": 0.4},
}
"""How often each reader is chosen; a page, for the records, takes a second."""
QUICK_WEIGHTS = {**WEIGHTS, "results": 12, "scores": 8, "data": 4, "configuration": 1}
"""A configuration takes a third of a second, the others hundredths."""


def fuzz(
    run: RunFolder,
    readers: dict[str, Any],
    folder: Path,
    seed: int,
    count: int,
    weights: Mapping[str, float] = WEIGHTS,
) -> list[str]:
    """What ended in anything but an error in words."""
    randomness, lost = random.Random(seed), []
    for number in range(count):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run.path, folder / "run", ignore=shutil.ignore_patterns("tensorboard"))
        name = randomness.choices(list(weights), weights=list(weights.values()))[0]
        try:
            readers[name](RunFolder(folder / "run"), randomness)
        except UserError:
            continue
        except Exception as error:
            lost.append(f"{name}, seed {seed}, number {number}: {type(error).__name__}: {error}")
    return lost


@pytest.mark.parametrize("seed", range(QUICK // SPREAD))
def test_a_few_hundred_changed_files_end_in_words(
    run: RunFolder, readers: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    assert fuzz(run, readers, tmp_path / "copy", seed, SPREAD, QUICK_WEIGHTS) == []


@pytest.mark.faults_full
@pytest.mark.parametrize("seed", range(1000, 1000 + FULL // 500))
def test_thousands_of_changed_files_end_in_words(
    run: RunFolder, readers: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    assert fuzz(run, readers, tmp_path / "copy", seed, 500) == []
