"""Every mistake on a command line is said, all at once, and nothing is run."""

from collections.abc import Callable
from pathlib import Path

import pytest

import maml_cli.runs.train
from maml_cli.config.check import problems
from maml_cli.config.paths import conf_dir


@pytest.fixture(autouse=True)
def _no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        pytest.fail("the run was started")

    monkeypatch.setattr(maml_cli.runs.train, "run", run)


def test_three_mistakes_are_three_messages(maml_train: Callable) -> None:
    outcome = maml_train("algo=mamlp", "ways=200", "shots=-1")
    assert outcome.code == 2
    group, shots, ways = outcome.errors
    assert group.startswith("algo=mamlp: no such algo; did you mean mamlpp?")
    assert "finetune, fomaml" in group
    assert shots == "shots=-1: must be a whole number, at least 1 (support examples per class)"
    assert ways.startswith("ways=200 needs 200 classes, but ")
    assert not any(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("algo.inner_lrr=1", "algo.inner_lrr: no such key; did you mean algo.inner_lr?"),
        ("inner_lr=1", "inner_lr: no such key; did you mean algo.inner_lr?"),
        ("wayz=5", "wayz: no such key; did you mean ways?"),
        ("+wayz=5", "wayz: no such key; did you mean ways?"),
        ("++wayz=5", "wayz: no such key; did you mean ways?"),
        ("+ways=5", "+ways=5: ways is set already; write ways=5"),
        ("~ways", "~ways: every key is needed; write ways=VALUE to change it"),
        ("ways=???", "ways is missing: must be a whole number, at least 1"),
        ("train_ways=0", "train_ways=0: must be a whole number, at least 1, or null"),
        ("ways=null", "ways=null: must be a whole number, at least 1"),
        ("ways=five", "ways=five: must be a whole number, at least 1"),
        ("ways=5.0", "ways=5.0: must be a whole number, at least 1"),
        ("ways=true", "ways=true: must be a whole number, at least 1"),
        ("ways=[5]", "ways=[5]: must be a whole number, at least 1"),
        ("seed=4294967296", "seed=4294967296: must be a whole number, at least 0 and at most"),
        ("download=1", "download=1: must be true or false"),
        (
            "device=gpu",
            "device=gpu: must be auto, cpu, cuda or mps, or text, of the form ^cuda:",
        ),
        ("data_dir=''", "data_dir=: must be text, at least 1 long"),
        ("data_dir=${oc.env:NO_SUCH_ENV}", "data_dir: KeyError raised while resolving"),
        ("train.outer_lr=0", "train.outer_lr=0: must be a number, above 0 and at most 10"),
        ("train.outer_lr=nan", "train.outer_lr=nan: must be a number, above 0 and at most 10"),
        ("train.outer_lr=-inf", "train.outer_lr=-inf: must be a number, above 0 and at most 10"),
        ("train.task_pool=0", "train.task_pool=0: must be a whole number, at least 1, or null"),
        ("train.grad_clip=0", "train.grad_clip=0: must be a number, above 0, or null"),
        ("train.min_outer_lr=0.5", "train.min_outer_lr=0.5 is above train.outer_lr=0.001"),
        (
            "eval.bn_stats=none",
            "eval.bn_stats=none: must be batch, support, support_and_query or running",
        ),
        ("algo=null", "algo=null: a run needs one; choose algo="),
        ("algo=5", "algo=5: no such algo; "),
        ("~algo", "~algo: a run needs one; choose algo="),
        ("~algo=5", "~algo=5: a run needs one; choose algo="),
        ("+algo=maml", "+algo=maml: a run has one algo already; write algo=maml"),
        ("experiment=null", "experiment=null: write ~experiment to leave it out"),
        ("~experiment=5", "~experiment=5: write ~experiment to leave it out"),
        ("experiment=nothing", "experiment=nothing: no such experiment; "),
        ("+experiment=nothing", "experiment=nothing: no such experiment; "),
        ("algo._target_=no.Such", "algo._target_=no.Such: is not part of the program"),
        ("algo._target_=os.system", "algo._target_=os.system: is not part of the program"),
        ("algo._target_=null", "algo._target_=None: is no name of a class"),
        ("algo._target_=${no_such}", "algo._target_ names no class: Interpolation key 'no_such'"),
        ("ways", "ways: not an override; write key=value, such as ways=5"),
        ("ways==5", "ways==5: cannot be read (extraneous input '='"),
        ("ways=5,20", "ways=5,20: several values; add --multirun to run each"),
        ("hydra.output_subdir=???", "hydra.output_subdir: Missing mandatory value"),
        ("hydra.no_such=1", "hydra.no_such=1: Could not override 'hydra.no_such'"),
        ("hydra.run.dir=${no_such}", "hydra.run.dir: Interpolation key 'no_such' not found"),
        ("hydra/launcher=none", "hydra/launcher=none: no such hydra/launcher; "),
        ("--no-such-flag", "unrecognized arguments: --no-such-flag"),
        ("--config-name=x", "--config-path, --config-name, --experimental-rerun: the root"),
    ],
)
def test_one_mistake(maml_train: Callable, argument: str, message: str) -> None:
    outcome = maml_train(argument)
    assert outcome.code == 2
    assert len(outcome.errors) == 1
    assert outcome.errors[0].startswith(message)
    assert "Traceback" not in outcome.err


def test_a_failing_interpolation_does_not_hide_its_cause(maml_train: Callable) -> None:
    # algo.msl_epochs and algo.da_epochs are shares of train.epochs
    outcome = maml_train("train.epochs=ten")
    [message] = outcome.errors
    assert message.startswith("train.epochs=ten: must be a whole number, at least 1")


def test_settings_that_contradict_each_other(maml_train: Callable) -> None:
    outcome = maml_train("algo=fomaml", "algo.da=true", "dataset=sinusoid", "ways=5")
    assert outcome.code == 2
    assert {e.partition(" ")[0] for e in outcome.errors} == {"ways=5", "algo.da=true"}


ONE_OUTPUT_PER_WAY = (
    *("maml", "fomaml", "mamlpp", "metasgd", "anil", "boil", "reptile"),
    *("pretrained", "oracle", "scratch"),
)


@pytest.mark.parametrize("algo", ONE_OUTPUT_PER_WAY)
def test_an_output_per_way_needs_the_same_ways_in_training(maml_train: Callable, algo: str) -> None:
    dataset = "sinusoid" if algo in ("pretrained", "oracle", "scratch") else "glyphs"
    ways = 1 if dataset == "sinusoid" else 5
    outcome = maml_train(f"algo={algo}", f"dataset={dataset}", f"ways={ways}", "train_ways=20")
    assert outcome.code == 2
    assert outcome.errors[-1] == (
        f"train_ways=20 and ways={ways} differ, but algo={algo} has one output for each way, in "
        "training and at the test: give both the same value, as train_ways=null does, or choose "
        "algo=protonet or algo=finetune"
    )
    assert outcome.errors[:-1] == [
        "train_ways=20 asks for classes, but sinusoid is regression: set train_ways=null."
        for _ in range(dataset == "sinusoid")
    ]


@pytest.mark.parametrize("algo", ["nearest_neighbour", "finetune"])
def test_a_classifier_of_all_training_classes_takes_other_ways(algo: str) -> None:
    arguments = [f"algo={algo}", "dataset=glyphs", "ways=5", "train_ways=20"]
    assert problems(arguments) == []
    assert problems([*arguments, "train_ways=281"]) == [
        'train_ways=281 needs 281 classes, but split "train" of glyphs has 280: '
        "lower train_ways to at most 280."
    ]


def test_the_same_ways_said_twice() -> None:
    assert problems(["algo=maml", "dataset=glyphs", "ways=7", "train_ways=7"]) == []


def test_a_sweep_is_checked_before_its_first_job(maml_train: Callable) -> None:
    outcome = maml_train("-m", "algo=maml,mamlx", "ways=5,300", "shots=0,1", "seed=range(0,2)")
    assert outcome.code == 2
    assert [error.split()[0] for error in outcome.errors] == ["shots=0:", "ways=300", "algo=mamlx:"]
    assert not any(Path.cwd().iterdir())


@pytest.mark.parametrize("sweep", ["seed=range(3,3)", "algo=glob(zzz*)", "seed=range(0,9,0)"])
def test_a_sweep_over_nothing(maml_train: Callable, sweep: str) -> None:
    outcome = maml_train("-m", sweep, "ways=0")
    assert outcome.code == 2
    assert [error.partition(":")[0] for error in outcome.errors] == [sweep, "ways=0"]


def test_show_the_configuration_refuses_unknown_keys_too(maml_train: Callable) -> None:
    outcome = maml_train("--cfg", "job", "algo.inner_lrr=1", "algo=mamlp")
    assert outcome.code == 2
    assert len(outcome.errors) == 2


def test_a_file_that_the_program_hides_is_refused(maml_train: Callable, tmp_path: Path) -> None:
    own = tmp_path / "mine" / "algo"
    own.mkdir(parents=True)
    for name in ("maml", "protonet"):
        (own / f"{name}.yaml").write_text(f"_target_: mine.Learner\nname: {name}\n")
    (own / "reptile.yaml").write_text((conf_dir() / "algo" / "reptile.yaml").read_text())
    refused = maml_train("--config-dir", "mine", "algo=protonet", "dataset=glyphs")
    assert refused.code == 2
    said = ": the program has a file of this name, and takes its own"
    assert refused.errors == [
        *(f"{own / name}.yaml{said}" for name in ("maml", "protonet")),
        "give your file another name, and choose it by that name",
    ]
