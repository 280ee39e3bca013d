"""The command line of `maml-train`: read, check, hand to Hydra; errors become exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser

from maml_cli import __version__
from maml_cli.commands.job import Command, Left, job, report, write_sweep_table_of
from maml_cli.commands.machine import machine_error, require_machine
from maml_cli.commands.streams import lasting
from maml_cli.config import check, resolvers
from maml_cli.config.begun import MODES, beside_resume, changed, require_begun, resumed_folder
from maml_cli.config.compose import CONFIG_NAME, VERSION_BASE, understood
from maml_cli.config.module_path import split_module_paths, use_module_paths
from maml_cli.config.paths import conf_dir
from maml_cli.config.sweep import SweepFolder
from maml_cli.config.typed_words import readable
from maml_cli.core.errors import StorageError, UsageError, UserError
from maml_cli.distributed import ranks, torchrun
from maml_cli.storage.run_folder import RunFolder

INTERRUPTED = 130


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
        return report(error)
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        refused = machine_error(error)
        if refused is None:
            raise
        return report(refused)
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
    )(job)
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
                print(write_sweep_table_of(SweepFolder.noted).read_text(encoding="utf-8"), end="")
