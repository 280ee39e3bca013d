"""Puts the best weights of a finished run into `zoo/`, and writes the table of its README anew.

    python scripts/zoo.py outputs/omniglot/mamlpp/NAME omniglot_5way_1shot_mamlpp
    python scripts/zoo.py                                            the table alone

An entry is a run's folder: maml-adapt, maml-eval and maml_cli.load take it. It keeps the weights of
the best epoch by validation, the settings, the results and the record of the data, and leaves out
the state of the optimiser and the folders of the machine.
"""

import argparse
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

import maml_cli
from maml_cli.config.begun import USERS_OWN
from maml_cli.core.errors import UserError
from maml_cli.core.limits import CONFIG_BYTES
from maml_cli.core.regular_files import read_text
from maml_cli.core.results import RunResults
from maml_cli.core.yaml_text import read_mapping
from maml_cli.report.cells import budget_cell, interval, joined, value
from maml_cli.report.collect import Run, collect
from maml_cli.report.group import Group
from maml_cli.report.published import literature
from maml_cli.report.run_files import read_results
from maml_cli.report.section import label, title
from maml_cli.storage.checkpoint import Checkpoints, whole, write
from maml_cli.storage.files import write_atomically
from maml_cli.storage.run_folder import RunFolder

ZOO = Path(__file__).parents[1] / "zoo"
MARK = "<!-- table -->\n"
OWN_PLACE = re.compile(r"(?:^|[\s=:'\"\[,])([/~][\w.~-]*/[^\s'\"]*)", re.MULTILINE)
"""A path from the root or from somebody's home."""


def add(run: Path, name: str) -> None:
    """Make the entry; raises SystemExit or UserError, and then nothing was written."""
    source, target = RunFolder(run), RunFolder(ZOO / name)
    if target.path.exists():
        raise SystemExit(f"{target.path}: is there already; choose another name")
    results = read_results(source.results) if source.results.is_file() else None
    if results is None:
        raise SystemExit(f"{run}: holds no finished run (it has no {source.results.name})")
    maml_cli.load(run)
    command = results.protocol.command
    results = _without_places(results)
    table = source.table.read_text(encoding="utf-8")
    table = table.replace(command, results.protocol.command)
    config = _without_machine(read_mapping(read_text(source.config, CONFIG_BYTES)))
    if places := OWN_PLACE.findall(f"{config}\n{results.to_json()}\n{table}"):
        raise SystemExit(
            f"{run}: its settings or results name places of this machine, which mean nothing "
            f"elsewhere: {', '.join(dict.fromkeys(places))}"
        )
    for path, content in _weights(source, target, results, config):
        write(path, content)
    write_atomically(target.config, config)
    write_atomically(target.table, table)
    write_atomically(target.results, results.to_json())
    if source.data.exists():
        shutil.copyfile(source.data, target.data)
    maml_cli.load(target.path)


def _weights(
    source: RunFolder, target: RunFolder, results: RunResults, config: str
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The checkpoint of the best epoch; and of the last one its history, without tensors."""
    theirs = Checkpoints(source.checkpoints, keep=1, metric=results.metric)
    ours = Checkpoints(target.checkpoints, keep=1, metric=results.metric)
    found = theirs.newest()
    if found is None:
        raise SystemExit(f"{source.path}: has no checkpoint")
    kept = {"config": config, "command": results.protocol.command, "optimizer": None, "recent": []}
    [best] = theirs.best(found.content["scores"])
    last = found.content["epoch"] - 1
    if last != best:
        yield ours.path(last), {**found.content, **kept, "theta": {}, "state": {}}
    yield ours.path(best), {**whole(theirs.path(best)), **kept}


def _without_machine(config: dict[str, Any]) -> str:
    """The settings but for what is each user's own, with an ensemble of the one kept epoch."""
    kept = {key: setting for key, setting in config.items() if key not in USERS_OWN}
    kept["eval"] = {**kept["eval"], "ensemble": 1}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def _without_places(results: RunResults) -> RunResults:
    """The results, whose command does not say where on this machine it read and wrote."""
    words = shlex.split(results.protocol.command)
    command = shlex.join(word for word in words if not re.match(r"[\w.]+=[/~]", word))
    return replace(results, protocol=replace(results.protocol, command=command))


def write_table() -> None:
    """Write what stands below the mark in the README of the zoo."""
    readme = ZOO / "README.md"
    text, mark, _ = readme.read_text(encoding="utf-8").partition(MARK)
    runs = sorted(collect([ZOO]).runs, key=lambda run: run.folder.name)
    write_atomically(readme, text + mark + _table([r for r in runs if r.folder.parent == ZOO]))


def _table(runs: list[Run]) -> str:
    header = ("entry", "learner", "task", "these weights", "whole run", "published")
    header = (*header, "iterations × tasks", "MB")
    rows, commands = [], []
    for run in runs:
        group = Group((run,))
        published, test = literature().for_group(group), run.results.test
        size = sum(file.stat().st_size for file in RunFolder(run.folder).checkpoints.glob("*.pt"))
        rows.append(
            (
                f"[zoo/{run.folder.name}]({run.folder.name})",
                label(group),
                title(group.setting),
                interval(group, test.single.last),
                f"{interval(group, test.ensemble.last)} (ensemble of {test.ensemble_size})",
                joined(value(number) for number in published if number.value is not None),
                budget_cell(group, published),
                f"{size / 1e6:.1f}",
            )
        )
        commands.append(f"{run.results.protocol.command}   # {run.folder.name}\n")
    table = tabulate(rows, header, tablefmt="github", disable_numparse=True)
    return f"{table}\n\n## Commands\n\n```\n{''.join(commands)}```\n" if rows else ""


def main() -> None:
    """Add the run, if one is named; write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", type=Path, help="the folder of a finished run")
    parser.add_argument("name", nargs="?", help="of the entry, such as omniglot_5way_1shot_mamlpp")
    arguments = parser.parse_args()
    try:
        if arguments.run is not None:
            if not re.fullmatch(r"\w+", arguments.name or ""):
                parser.error("a run needs a name of letters, digits and _ for its entry")
            add(arguments.run, arguments.name)
        write_table()
    except UserError as error:
        raise SystemExit("\n".join(error.messages)) from None


if __name__ == "__main__":
    main()
