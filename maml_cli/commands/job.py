"""One run, alone or as a job of a sweep: build it, run it, say how it ended."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from maml_cli.commands.machine import machine_error
from maml_cli.commands.streams import lasting
from maml_cli.config.begun import changed, resumed_folder
from maml_cli.config.build import COMPONENTS, build
from maml_cli.config.module_path import FLAG, needs_current_folder
from maml_cli.core.errors import Interrupted, StorageError, UsageError, UserError
from maml_cli.core.experiment import Experiment
from maml_cli.distributed import ranks, torchrun
from maml_cli.storage.run_folder import RunFolder


class JobFailed(UserError):
    """One job of a sweep ended with this exit code, and has said why."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


class Command:
    """What of the command line Hydra does not know."""

    module_paths: ClassVar[list[str]] = []
    beside_resume: ClassVar[list[str] | None] = None
    """What is typed beside `resume=DIR`, which changes the configuration in DIR."""


class Left(SystemExit):
    """A signal ended the run, and a sweep that it is a job of."""


@lasting()  # again, for a worker of a sweep
def job(config: DictConfig) -> float | None:
    """One run, alone or as a job of a sweep; says what went wrong.

    Returns what a search maximises: the best validation score, or minus it where less is better.
    """
    from maml_cli.distributed.collectives import from_first
    from maml_cli.reporting.sweep import search_value

    output_dir = own_dir = Path(HydraConfig.get().runtime.output_dir)
    os.chdir(HydraConfig.get().runtime.cwd)  # paths are from there, also with hydra.job.chdir
    try:
        output_dir = from_first(lambda: own_dir)
        _run(from_first(lambda: _begun(config)), output_dir)
        return search_value(output_dir)
    except Interrupted as error:
        raise Left(report(error)) from None
    except UserError as error:
        _clear(output_dir)
        _fail(report(error))
    except Exception as error:
        refused = machine_error(error)
        _fail(report(refused) if refused else _report_bug(error, output_dir))
    finally:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            write_sweep_table_of(Path(HydraConfig.get().sweep.dir))


def _begun(config: DictConfig) -> DictConfig:
    """The configuration, or with `resume=DIR` that of the run in DIR, as far as nothing else is."""
    folder = resumed_folder(_overrides())
    if folder is None or Command.beside_resume is None:
        return config
    return changed(folder, Command.beside_resume)


def _run(config: DictConfig, output_dir: Path) -> None:
    """Run what the configuration describes, unless the folder holds it, done."""
    from maml_cli.core.machine import keep_memory
    from maml_cli.distributed.collectives import from_first
    from maml_cli.runs.train import run
    from maml_cli.storage.files import require_own_files
    from maml_cli.training.signals import end_with_parent

    from_first(lambda: require_own_files(RunFolder(output_dir)))
    experiment = build(config, _command(config))
    if not from_first(lambda: _show_finished(experiment, output_dir)):
        end_with_parent()
        keep_memory()
        run(experiment, output_dir)


def _clear(output_dir: Path) -> None:
    """Take away a folder in which a run that could not begin has left its lock alone."""
    lock = RunFolder(output_dir).lock
    chosen = any(o.startswith("hydra.run.dir=") for o in HydraConfig.get().overrides.hydra)
    with suppress(OSError):
        if ranks.is_first() and {path.name for path in output_dir.iterdir()} <= {lock.name}:
            lock.unlink(missing_ok=True)
            if not chosen:
                output_dir.rmdir()


def _fail(exit_code: int) -> NoReturn:
    """End the job: a single run at once, a job of a sweep so that the others go on."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise JobFailed(exit_code)
    raise SystemExit(exit_code)


def _show_finished(experiment: Experiment, output_dir: Path) -> bool:
    """Whether the folder holds this very run, done; then its table is shown again."""
    from maml_cli.storage.resume import finished

    if experiment.run.resume == "never" or not (table := finished(output_dir, experiment.resolved)):
        return False
    print(f"{output_dir} holds this run, finished", file=sys.stderr)
    print(table, end="")
    return True


def write_sweep_table_of(directory: Path) -> Path:
    """Write the table of a sweep's jobs, and say where it is."""
    from maml_cli.reporting.sweep import write_sweep_table

    path = write_sweep_table(directory)
    print(f"all jobs: {path}", file=sys.stderr)
    return path


def _overrides() -> list[str]:
    """What was typed, but for keys of Hydra; in a sweep, for this job."""
    return list(HydraConfig.get().overrides.task)


def _command(config: DictConfig) -> str:
    settings = HydraConfig.get()
    sources = settings.runtime.config_sources
    extra = [("--config-dir", s.path) for s in sources if s.provider == "command-line"]
    extra += [(FLAG, path) for path in Command.module_paths]
    if needs_current_folder(config.get(name) for name in COMPONENTS):
        extra.append((FLAG, str(Path.cwd())))
    words = ["maml-train", *(word for pair in extra for word in pair), *_overrides()]
    return shlex.join(words)


def report(error: UserError) -> int:
    """Say what is wrong; returns the exit code."""
    if torchrun.leaves_it_unsaid(error):
        return error.exit_code
    for message in error.messages:
        print(f"error: {message}", file=sys.stderr)
    if isinstance(error, UsageError):
        print("maml-train --help lists every group and key", file=sys.stderr)
    return error.exit_code


def _report_bug(error: Exception, output_dir: Path) -> int:
    """Say where the traceback is: in a file, or if that cannot be written, here."""
    from maml_cli.storage.files import write_atomically

    log = RunFolder(output_dir).error_log(ranks.rank())
    details = traceback.format_exc()
    try:
        write_atomically(log, details)
    except StorageError:
        print(details, file=sys.stderr, end="")
        place = "above"
    else:
        place = f"in {log}"
    print(f"bug: {type(error).__name__}: {error}; details {place}", file=sys.stderr)
    return 1
