"""The YAML files under conf/: each says what it is and composes into a valid run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from maml_cli.config import check
from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.config.paths import conf_dir
from maml_cli.core.experiment import Experiment

FILES = sorted(conf_dir().rglob("*.yaml"))
OPTIONS = [
    f"{file.parent.relative_to(conf_dir())}={file.stem}"
    for file in FILES
    if file.relative_to(conf_dir()).parts[0] not in (file.name, "protocol", "local", "hydra")
]
ALGORITHMS = [option for option in OPTIONS if option.startswith("algo=")]
DATASETS = [option for option in OPTIONS if option.startswith("dataset=")]


def experiment(*arguments: str) -> Experiment:
    return build(Composer().compose(arguments), command="")


def test_the_files_are_found() -> None:
    assert {"algo=maml", "algo=mamlpp", "dataset=omniglot", "backbone=conv4"} <= set(OPTIONS)
    assert len(ALGORITHMS) >= 3
    assert len(DATASETS) >= 3
    assert len(FILES) >= 15


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(conf_dir())))
def test_a_file_opens_with_a_sentence(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    if lines[0].startswith("# @"):  # Hydra reads its header from the first lines only
        del lines[0]
    assert lines[0].startswith("# ")
    assert not any(line.startswith("# @") for line in lines)


NEEDS = {"backbone=module": ["backbone.module=torch.nn.Flatten"]}
"""Keys that an option leaves to its user."""


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_valid(option: str) -> None:
    # a convolution cannot read a number, nor a baseline for regression tell classes apart; an
    # optimiser needs problems, and problems an optimiser
    words = [option, *NEEDS.get(option, [])]
    beside = [[], ["dataset=sinusoid"], ["dataset=quadratics"], ["algo=adam"]]
    beside.append(["dataset=quadratics", "algo=adam"])
    assert any(check.problems([*words, *others]) == [] for others in beside)


KINDS = ("dataset=omniglot", "dataset=sinusoid", "dataset=quadratics")
"""A data set of each kind: classes, curves, problems."""
PAIRS = [
    (a, d) if d in KINDS or a == "algo=maml" else pytest.param(a, d, marks=pytest.mark.faults_full)
    for a in ALGORITHMS
    for d in DATASETS
]


@pytest.mark.parametrize(("algorithm", "dataset"), PAIRS)
def test_every_algorithm_fits_every_dataset_or_says_why_not(algorithm: str, dataset: str) -> None:
    if problems := check.problems([algorithm, dataset]):
        assert all(problem.startswith(f"{algorithm} ") for problem in problems)
        return
    built = experiment(algorithm, dataset)
    assert algorithm == f"algo={built.algo.name}"
    assert dataset == f"dataset={built.dataset.name}"


def test_a_dataset_brings_its_backbone_and_the_command_line_wins() -> None:
    assert experiment("dataset=sinusoid").backbone.name == "mlp"
    assert experiment("dataset=sinusoid").run.ways == 1
    assert experiment("dataset=sinusoid", "backbone=conv4").backbone.name == "conv4"
    assert experiment("dataset=sinusoid", "shots=7").run.shots == 7


def test_a_protocol_belongs_to_one_algorithm_on_one_dataset() -> None:
    assert experiment("algo=maml", "dataset=sinusoid").algo.inner_steps == 1
    assert experiment("algo=maml", "dataset=omniglot").algo.inner_steps == 5
    assert experiment("algo=maml", "dataset=sinusoid", "algo.inner_steps=3").algo.inner_steps == 3
    assert experiment("algo=maml", "dataset=sinusoid", "~protocol").algo.inner_steps == 5


def test_schedules_are_shares_of_the_epochs() -> None:
    assert experiment("train.epochs=100").algo.msl_epochs == 10
    assert experiment("train.epochs=26").algo.msl_epochs == 3  # 2.6, rounded
    assert experiment("train.epochs=2").algo.msl_epochs == 1  # at least one
    assert experiment("train.epochs=2", "algo.msl_epochs=2").algo.msl_epochs == 2


def test_the_resolved_configuration_repeats_the_run() -> None:
    arguments = ["algo=maml", "dataset=sinusoid", "train.epochs=30", "shots=7"]
    text = experiment(*arguments).resolved
    assert "${" not in text
    content = yaml.safe_load(text)
    assert (content["shots"], content["algo"]["msl_epochs"]) == (7, 3)
    assert "hydra" not in content


@pytest.fixture
def own_files(tmp_path: Path) -> Callable[[str, str], None]:
    """Writes DIR/experiment/mine.yaml and such."""

    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    return write


def test_an_experiment_of_ones_own(tmp_path: Path, own_files: Callable) -> None:
    own_files(
        "experiment/mine.yaml",
        "# @package _global_\n"
        "# Mine.\n"
        "defaults:\n"
        "  - override /algo: maml\n"
        "  - override /dataset: sinusoid\n"
        "shots: 3\n"
        "algo:\n"
        "  inner_lr: 0.5\n",
    )
    composer = Composer(extra_dir=str(tmp_path))
    built = build(composer.compose(["experiment=mine"]), command="")
    assert (built.algo.name, built.dataset.name, built.backbone.name) == ("maml", "sinusoid", "mlp")
    assert built.run.shots == 3  # of the experiment, where the data set says 10
    assert built.algo.inner_lr == 0.5  # of the experiment, where the protocol says 0.01
    assert built.algo.inner_steps == 1  # of the protocol
    again = build(composer.compose(["experiment=mine", "algo=fomaml", "shots=4"]), command="")
    assert (again.algo.name, again.run.shots) == ("fomaml", 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\n  b: 2\n", "mine.yaml, line 2: mapping values are not allowed here"),
        ("a:\n\t- 1\n", "mine.yaml, line 2: found character '\\t'"),
        ("a: [1,\n", "mine.yaml, line 2: expected the node content"),
        ("a: 1\na: 2\n", "mine.yaml, line 2: found duplicate key a"),
        (
            "a: !!python/object:os.system x\n",
            "mine.yaml, line 1: could not determine a constructor",
        ),
        ("a: \0\n", "mine.yaml"),
        ("- 1\n", "algo: must be a mapping of keys to values"),
        ("5\n", "algo=mine: Invalid loaded object type: int"),
        ("", "algo._target_=None: is no name of a class"),
        ("defaults: 5\n", "algo=mine: Invalid defaults list in 'algo/mine'"),
        ("defaults:\n  - none: x\n", "algo=mine: In 'algo/mine': Could not find 'algo/none/x'"),
        ("defaults:\n  - mine\n", "algo=mine: maximum recursion depth exceeded"),
        ("a: ${b\n", "algo=mine: a: no viable alternative"),
        ("null: 1\n", "algo=mine: Incompatible key type"),
        ("_target_: maml_cli.algos.maml.MAML\n", "algo.name is missing: must be text"),
        (
            "_target_: maml_cli.algos.maml.MAML\nordr: 1\n",
            "algo.ordr: no such key; did you mean algo.order?",
        ),
    ],
)
def test_a_malformed_file_is_named(
    tmp_path: Path, own_files: Callable, content: str, message: str
) -> None:
    own_files("algo/mine.yaml", content)
    problems = check.problems(["algo=mine"], extra_dir=str(tmp_path))
    assert any(message in problem for problem in problems)
    assert not any("\n" in problem for problem in problems)
