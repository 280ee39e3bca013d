import io
import subprocess
import sys
from dataclasses import replace

import pytest

from maml_cli.reporting.console import Console


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def run(console, info, iteration_record, epoch_record, results):
    console.start(info, None)
    console.iteration(iteration_record)
    console.evaluating("val", 300, 600)
    console.epoch(epoch_record)
    console.evaluating("test", 300, 600)
    console.finish(results, None)
    console.close()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_without_a_terminal_there_are_plain_lines(
    capsys, info, iteration_record, epoch_record, results
):
    run(Console(seconds_per_line=0), info, iteration_record, epoch_record, results)
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "run         mamlpp on omniglot, 5-way 1-shot, seed 7",
        "toggles     msl on, ca off, order 2 from epoch 3",
        "schedule    2 epochs of 10 iterations of 8 tasks",
        "device      cpu, 2 threads, engine threads",
        "parameters  112,345 learned",
        f"output      {info.output_dir}",
        "remark      960 of 964 characters",
        "iteration 10/20  loss 0.5000  accuracy 87.50 %  4.0 it/s  left 0:00:00",
        "epoch 1/2  validation accuracy 97.65 ± 0.31 %  best so far",
        "test  300/600 episodes",
        f"written to {info.output_dir / 'table.md'}",
    ]
    assert out.startswith("\nmamlpp on omniglot, 5-way 1-shot, seed 7\n\n| algo ")
    assert not {c for c in out + err if ord(c) < ord(" ")} - {"\n"}


def test_plain_lines_are_rare(capsys, info, iteration_record, epoch_record, results):
    run(Console(seconds_per_line=1000), info, iteration_record, epoch_record, results)
    assert "iteration 10/20" not in capsys.readouterr().err


def test_the_time_left_is_that_of_the_whole_run(monkeypatch, capsys, info, iteration_record):
    now = 0.0
    monkeypatch.setattr("maml_cli.reporting.console.monotonic", lambda: now)
    console = Console()
    console.start(replace(info, epochs=400), None)
    now = 100.0
    console.iteration(iteration_record)  # 10 of 4000 iterations took 100 s: 39,900 s are left
    assert "left 11:05:00" in capsys.readouterr().err


def test_a_terminal_has_a_progress_bar_and_the_cursor_returns(
    monkeypatch, info, iteration_record, epoch_record, results
):
    screen = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "120")
    run(Console(), info, iteration_record, epoch_record, results)
    shown = screen.getvalue()
    assert "━" in shown
    assert "loss 0.5000" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_brackets_are_not_markup(capsys, info):
    console = Console()
    console.start(
        replace(info, protocol=replace(info.protocol, remarks=("[bold]as it is[/bold]",))), None
    )
    assert "[bold]as it is[/bold]" in capsys.readouterr().err


def test_the_console_waits_for_no_plotting_library():
    code = (
        "import sys, maml_cli.reporting.console\n"
        "sys.exit(not {'matplotlib', 'tensorboard'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
