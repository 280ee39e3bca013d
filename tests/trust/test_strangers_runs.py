"""Runs and folders of YAML files of other people: they are data, and run nothing."""

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from maml_cli.commands.evaluate import main as evaluate
from maml_cli.storage.checkpoint import read, write

TINY = (
    *("algo=maml", "dataset=sinusoid", "train.epochs=1", "train.iterations_per_epoch=2"),
    *("train.tasks_per_batch=2", "eval.val_episodes=2", "eval.test_episodes=2", "eval.ensemble=1"),
    *("engine=loop",),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template") / "run"


@pytest.fixture
def stranger(template: Path, tmp_path: Path, maml_train: Callable[..., Any]) -> Path:
    """A finished run, to be changed as its sender may have done."""
    if not template.exists():
        assert maml_train(*TINY, f"hydra.run.dir={template}").code == 0
    return Path(shutil.copytree(template, tmp_path / "stranger"))


def configured(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the configuration, and the copy of it in the checkpoint, with a right checksum."""
    settings = yaml.safe_load((run / "config.yaml").read_text())
    change(settings)
    text = yaml.safe_dump(settings, sort_keys=False)
    (run / "config.yaml").write_text(text)
    stored(run, lambda content: content.update(config=text))


def stored(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = run / "checkpoints" / "epoch-0001.pt"
    content = read(file)
    change(content)
    write(file, {k: v for k, v in content.items() if k != "format"})


def evaluated(run: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = evaluate([f"run={run}", *words])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.mark.parametrize(
    "target",
    ["venv.__main__:x", "antigravity:x", "antigravity.geohash", "os.system", "maml_cli.__main__.x"],
)
def test_a_class_that_is_not_the_programs_is_not_imported(
    stranger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setenv("BROWSER", f"touch {stranger}/opened %s")
    configured(stranger, lambda c: c["algo"].update(_target_=target))
    code, said = evaluated(stranger, capsys)
    assert code == 4
    assert f"algo._target_={target}" in said
    assert "not a configuration of this version" not in said
    assert not (stranger / "opened").exists()


def test_a_refusal_of_trust_is_the_only_message(
    stranger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network beside the run, with a setting that this version does not have."""
    (stranger / "their_network.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(stranger)
    theirs = {"_target_": "maml_cli.backbones.module.Module", "name": "module"}
    theirs |= {"module": "their_network.Net", "of_another_version": "1"}
    configured(stranger, lambda c: c.update(backbone=theirs))
    code, said = evaluated(stranger, capsys)
    assert code == 4
    (error,) = [line for line in said.splitlines() if not line.startswith("note: ")]
    assert f"{stranger}/config.yaml: backbone.module=their_network.Net: is not part of" in error
    assert "name its folder with --module-path DIR" in error


@pytest.mark.parametrize("named", [False, True])
def test_a_module_beside_the_run_is_imported_only_if_it_was_named(
    stranger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    (stranger / f"theirs{named}.py").write_text(
        f"import os; os.mkdir({str(stranger / 'CODE_RAN')!r})\n"
    )
    configured(stranger, lambda c: c["algo"].update(_target_=f"theirs{named}.MAML"))
    monkeypatch.chdir(stranger)
    code, said = evaluated(stranger, capsys, *([f"--module-path={stranger}"] if named else []))
    assert code == 4
    assert (stranger / "CODE_RAN").exists() == named
    assert named or "--module-path DIR" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["dataset"].update(name="${oc.env:HOME}"), "has an interpolation"),
        (lambda c: c.update(backbone="${x}"), "has an interpolation"),
        (lambda c: c["algo"].update(name="../../x"), "algo.name='../../x'"),
        (lambda c: c["algo"].update(name="a\x1b[2J"), "algo.name='a\\x1b[2J'"),
        (lambda c: c["dataset"].update(_target_="maml_cli.algos.maml.MAML"), "is no dataset"),
        (lambda c: c.update(algo=[[]]), "algo: must be a mapping of keys to values"),
    ],
    ids=["interpolation", "section", "separator", "control character", "other part", "list"],
)
def test_a_saved_configuration_is_plain_values(
    stranger: Path, capsys: pytest.CaptureFixture[str], change: Any, said: str
) -> None:
    configured(stranger, change)
    code, printed = evaluated(stranger, capsys)
    assert code == 4
    assert said in printed
    assert "\x1b" not in printed


def test_where_to_read_and_write_is_the_users_own(
    stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = stranger.parent / "theirs"
    own = {"data_dir": str(elsewhere), "cache_dir": str(elsewhere), "download": True}
    configured(stranger, lambda c: c.update(own))
    code, said = evaluated(stranger, capsys)
    assert code == 0
    assert f"is yours; the run had data_dir={elsewhere}" in said
    assert not elsewhere.exists()
    (kept,) = stranger.glob("eval/*/config.yaml")
    assert str(elsewhere) not in kept.read_text()


@pytest.mark.parametrize(
    "name", ["checkpoints", "eval", "metrics.jsonl", ".lock", "error.log", "curves.png", "table.md"]
)
@pytest.mark.parametrize("command", ["maml-eval", "maml-train"])
def test_a_link_in_a_run_is_neither_read_nor_written_through(
    stranger: Path,
    capsys: pytest.CaptureFixture[str],
    maml_train: Callable[..., Any],
    name: str,
    command: str,
) -> None:
    outside, entry = stranger.parent / "outside", stranger / name
    if entry.is_dir():
        shutil.move(entry, outside)
    else:
        entry.unlink(missing_ok=True)
        outside.write_text("precious")
    entry.symlink_to(outside)
    before = sorted(outside.iterdir()) if outside.is_dir() else outside.read_text()
    if command == "maml-eval":
        code, said = evaluated(stranger, capsys)
    else:
        ended = maml_train(f"resume={stranger}")
        code, said = ended.code, ended.err
    assert code == 4
    assert f"{name}: is a link, and should be a f" in said
    assert before == (sorted(outside.iterdir()) if outside.is_dir() else outside.read_text())


def _theta(run: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    stored(run, lambda c: c.update(theta={n: change(t) for n, t in c["theta"].items()}))


def _packed(run: Path) -> None:
    """A checkpoint whose archive would grow a thousandfold."""
    file = run / "checkpoints" / "epoch-0001.pt"
    source, target = zipfile.ZipFile(io.BytesIO(file.read_bytes()[:-32])), io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for info in source.infolist():
            archive.writestr(info.filename, source.read(info.filename) + bytes(10**6))
    data = target.getvalue()
    file.write_bytes(data + hashlib.sha256(data).digest())


CONTENTS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "scores missing": (lambda r: stored(r, lambda c: c.pop("scores")), 4, "scores is missing"),
    "threads": (lambda r: stored(r, lambda c: c["machine"].update(threads="x")), 4, "machine must"),
    "epoch": (lambda r: stored(r, lambda c: c.update(epoch=True)), 4, "epoch must be"),
    "types": (
        lambda r: stored(
            r, lambda c: c.update(theta={n: t.double() for n, t in c["theta"].items()})
        ),
        2,
        "would have to be torch.float32",
    ),
    "expanded": (
        lambda r: stored(r, lambda c: c["theta"].update(x=torch.zeros(1).expand(10**9))),
        4,
        "theta.x is larger than its values",
    ),
    "nan": (
        lambda r: stored(
            r, lambda c: c.update(theta={n: t * torch.nan for n, t in c["theta"].items()})
        ),
        5,
        "the outputs are not finite in all 2 episodes",
    ),
    "packed": (_packed, 4, "it is packed, which a checkpoint is not"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_content_of_a_checkpoint_is_checked(
    stranger: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damage, expected, said = CONTENTS[name]
    damage(stranger)
    code, printed = evaluated(stranger, capsys)
    assert (code, said in printed) == (expected, True), printed


def test_threads_are_no_more_than_the_machine_has(
    stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(stranger, lambda c: c["machine"].update(threads=5000))
    assert evaluated(stranger, capsys)[0] == 0
    assert torch.get_num_threads() <= (os.cpu_count() or 1)


OPTIONS = {
    "experiment/nice.yaml": "# @package hydra\ncallbacks:\n  x:\n    _target_: os.system",
    "hydra/job_logging/theirs.yaml": "version: 1\nformatters:\n  x:\n    (): os.system",
    "experiment/loud.yaml": "# @package hydra\nrun:\n  dir: /tmp/elsewhere",
    "experiment/list.yaml": "# @package _global_\ndefaults:\n  - override /hydra/launcher: theirs",
}


@pytest.mark.parametrize("file", OPTIONS)
def test_a_folder_of_yaml_files_sets_nothing_that_runs(
    tmp_path: Path, maml_train: Callable[..., Any], file: str
) -> None:
    (tmp_path / "theirs" / file).parent.mkdir(parents=True)
    (tmp_path / "theirs" / file).write_text(OPTIONS[file] + "\n")
    options = [f"{Path(file).parent}={Path(file).stem}"]
    ended = maml_train("--config-dir", str(tmp_path / "theirs"), *options, *TINY)
    assert ended.code == 2
    assert "hydra" in ended.err
    assert not (tmp_path / "outputs").exists()
