"""Every row of the table of exit codes in docs/reliability.md."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maml_cli.storage.checkpoint import Checkpoints

ROOT = Path(__file__).parents[2]
TINY = (
    *("algo=maml", "dataset=sinusoid", "train.epochs=1", "train.iterations_per_epoch=2"),
    *("train.tasks_per_batch=2", "eval.val_episodes=2", "eval.test_episodes=2", "eval.ensemble=1"),
    *("engine=loop", "hydra.run.dir=run"),
)
ROWS = {
    0: ((), None),
    1: ((), "bug"),
    2: (("ways=0",), None),
    3: (("dataset=omniglot", "data_dir=nowhere"), None),
    4: (("resume=nowhere",), None),
    5: (("algo.inner_lr=10", "algo.inner_steps=50"), None),
    6: (("hydra.run.dir=/proc/nowhere",), None),
    143: (("train.max_time=0.0000001",), None),
    130: ((), "interrupt"),
}
"""What is typed, or what is injected, for each code."""


@pytest.mark.parametrize("code", ROWS)
def test_each_exit_code_has_its_cause(
    maml_train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    words, fault = ROWS[code]

    real = Checkpoints.save

    def save(*arguments: Any) -> None:
        if fault == "bug":
            raise KeyError("injected")
        real(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    if fault is not None:
        monkeypatch.setattr(Checkpoints, "save", save)
    ended = maml_train(*TINY, *words)
    assert ended.code == code, ended.err
    assert code == 0 or ended.err


def test_the_table_has_these_codes() -> None:
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    section = text.partition("## Exit codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", section, flags=re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(",")} == set(ROWS)


@pytest.mark.parametrize("command", ["train", "evaluate", "adapt", "data", "report"])
def test_a_folder_that_is_gone_is_the_same_clear_end_everywhere(
    tmp_path: Path, command: str
) -> None:
    code = (
        "import os, sys\n"
        f"os.chdir({str(tmp_path)!r}); os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        f"from maml_cli.commands.{command} import main\n"
        "sys.exit(main(['dataset=sinusoid'] if 'report' not in main.__module__ else ['x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert done.stderr == "error: the folder you are in is gone: cd to one that is there\n"
