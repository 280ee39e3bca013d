"""The entry point: compose, check, run; turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from maml_cli import __version__
from maml_cli.commands.machine import machine_error, require_machine
from maml_cli.commands.streams import lasting
from maml_cli.config import check, resolvers
from maml_cli.config.begun import (
    MODES,
    beside_resume,
    changed,
    require_begun,
    resumed_folder,
)
from maml_cli.config.build import COMPONENTS, build
from maml_cli.config.compose import CONFIG_NAME, VERSION_BASE, understood
from maml_cli.config.module_path import (
    FLAG,
    needs_current_folder,
    split_module_paths,
    use_module_paths,
)
from maml_cli.config.paths import conf_dir
from maml_cli.config.sweep import SweepFolder
from maml_cli.config.typed_words import readable
from maml_cli.core.errors import Interrupted, StorageError, UsageError, UserError
from maml_cli.core.experiment import Experiment
from maml_cli.distributed import ranks, torchrun
from maml_cli.storage.run_folder import RunFolder

INTERRUPTED = 130


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


@lasting()
def main(argv: Sequence[str] | None = None) -> int:
    """Run `maml-train` with these arguments; returns the exit code (see core/errors.py).

    Without arguments it takes those of the process, and a signal ends the process in here.
    """
    try:
        words, paths = split_module_paths(sys.argv[1:] if argv is None else argv)
        with torchrun.joined():
            return _main(_normalised(words), paths)
    except UserError as error:
        return _report(error)
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        refused = machine_error(error)
        if refused is None:
            raise
        return _report(refused)
    except Left as end:
        if argv is None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(end.code or 0))  # not waiting for threads at tasks that were given up
        raise
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _main(argv: list[str], module_paths: list[str]) -> int:
    require_machine()
    use_module_paths(module_paths)
    Command.module_paths = module_paths
    flags = _flags(argv)
    if flags.version:
        print(f"maml-train {__version__}")
        return 0
    if flags.help:
        from maml_cli.config.help import show

        show(extra_dir=flags.config_dir)
        return 0
    Command.beside_resume = None
    if not (flags.shell_completion or flags.hydra_help):
        runs = not (flags.cfg or flags.info)
        if runs and not flags.multirun and (argv_left := _resumed(flags.overrides, argv)):
            _hand_to_hydra(torchrun.own_arguments(argv_left, multirun=False))
            return 0
        problems = check.problems(
            flags.overrides, multirun=flags.multirun, extra_dir=flags.config_dir, values=runs
        )
        if problems:
            raise UsageError(*problems)
        if runs and ranks.is_first():
            require_begun(flags.overrides)
    _hand_to_hydra(torchrun.own_arguments(argv, multirun=flags.multirun))
    return 0


def _resumed(overrides: Sequence[str], argv: Sequence[str]) -> list[str]:
    """For `resume=DIR` and keys beside it: the words without those keys, which are checked here."""
    if any(check.unreadable_words(overrides)) or (folder := resumed_folder(overrides)) is None:
        return []
    if ranks.is_first():
        require_begun(overrides)
    if not RunFolder(folder).config.is_file():  # of another process of the same run
        return []
    typed = beside_resume(overrides)
    if typed is None:
        return []
    changed(folder, typed)
    Command.beside_resume = typed
    return [word for word in argv if word not in typed]


def _normalised(argv: Sequence[str]) -> list[str]:
    """What is typed out of habit or for short, as Hydra takes it.

    `+experiment=x` is the habit, `experiment=x` is what a group with a default takes. `resume=DIR`
    goes on in DIR, so it is the run's folder too.
    """
    multirun = "-m" in argv or "--multirun" in argv
    words = readable(argv, multirun=multirun)
    words = [w.removeprefix("+") if w.startswith("+experiment=") else w for w in words]
    resumed = [w.removeprefix("resume=") for w in words if w.startswith("resume=")]
    return words + [f"hydra.run.dir={path}" for path in resumed if path not in MODES]


def _flags(argv: list[str]) -> argparse.Namespace:
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UsageError(message)

    parser.error = refuse  # type: ignore[method-assign]
    if "--version" in argv:  # Hydra would answer with its own
        return argparse.Namespace(version=True)
    flags = parser.parse_args(argv, argparse.Namespace(version=False))
    if flags.config_path or flags.config_name or flags.experimental_rerun:
        raise UsageError(
            "--config-path, --config-name, --experimental-rerun: the root configuration is fixed; "
            "put a file into DIR/experiment and write --config-dir DIR experiment=NAME"
        )
    return flags


def _hand_to_hydra(argv: list[str]) -> None:
    """Let Hydra do what the arguments ask for: run, sweep, show or complete."""
    resolvers.register()
    sys.argv[1:] = argv
    os.environ["HYDRA_FULL_ERROR"] = "1"  # its exceptions reach us, instead of being printed
    application = hydra.main(
        version_base=VERSION_BASE, config_path=str(conf_dir()), config_name=CONFIG_NAME
    )(_job)
    SweepFolder.noted = None
    with understood():
        try:
            application()
        except OSError as error:
            if error.errno is None:
                raise
            raise StorageError(
                f"{error.filename or 'output'}: {error.strerror}; choose another place with "
                "hydra.run.dir=DIR"
            ) from error
        finally:
            if SweepFolder.noted is not None:
                print(_write_sweep_table(SweepFolder.noted).read_text(encoding="utf-8"), end="")


@lasting()  # again, for a worker of a sweep
def _job(config: DictConfig) -> float | None:
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
        raise Left(_report(error)) from None
    except UserError as error:
        _clear(output_dir)
        _fail(_report(error))
    except Exception as error:
        refused = machine_error(error)
        _fail(_report(refused) if refused else _report_bug(error, output_dir))
    finally:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            _write_sweep_table(Path(HydraConfig.get().sweep.dir))


def _begun(config: DictConfig) -> DictConfig:
    """The configuration, or with `resume=DIR` that of the run in DIR, as far as nothing else is."""
    folder = resumed_folder(_overrides())
    if folder is None or Command.beside_resume is None:
        return config
    return changed(folder, Command.beside_resume)


def _run(config: DictConfig, output_dir: Path) -> None:
    """Run what the configuration describes, unless the folder holds it, done."""
    from maml_cli.distributed.collectives import from_first
    from maml_cli.runs.train import run
    from maml_cli.storage.files import require_own_files
    from maml_cli.training.signals import end_with_parent

    from_first(lambda: require_own_files(RunFolder(output_dir)))
    experiment = build(config, _command(config))
    if not from_first(lambda: _show_finished(experiment, output_dir)):
        end_with_parent()
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


def _write_sweep_table(directory: Path) -> Path:
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


def _report(error: UserError) -> int:
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
