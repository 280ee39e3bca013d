"""A whole command line, checked before any work: every mistake in it, each as one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, product

from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.types import RunMode
from omegaconf import DictConfig

from maml_cli.config import messages
from maml_cli.config.build import SECTIONS, inspect
from maml_cli.config.compose import Composer, apply, keys, parse, understood
from maml_cli.config.own_yaml import hydra_problems
from maml_cli.config.trust import Untrusted
from maml_cli.core.errors import UsageError

SWEEP_LIMIT = 200
"""So many jobs of a sweep are checked before the first starts; later ones when their turn comes."""


def problems(
    arguments: Sequence[str],
    *,
    multirun: bool = False,
    extra_dir: str | None = None,
    values: bool = True,
) -> list[str]:
    """Everything that is wrong with these overrides.

    With `values=False` only groups and keys are looked at, which needs no torch.
    """
    found: dict[str, None] = {}  # an ordered set: the jobs of a sweep share mistakes
    readable = []
    for argument in arguments:
        try:
            parse(argument)
            readable.append(argument)
        except UsageError as error:
            found[unreadable(argument, error)] = None
    try:
        composer = Composer(readable, extra_dir=extra_dir)
    except UsageError as error:
        return [*found, *error.messages]
    program = Composer() if composer.has_own_folders else None
    changes = [composer.parse(argument) for argument in readable]
    swept = [change for change in changes if change.is_sweep_override()]
    if swept and not multirun and not _sweeps_by_mode(composer, changes):
        for change in swept:
            found[f"{change.input_line}: several values; add --multirun to run each"] = None
        changes = [change for change in changes if change not in swept]
    choices = []
    for change in changes:
        try:
            choices.append(_choices(composer, change))
        except UsageError as error:
            found[f"{change.input_line}: {error}"] = None
    if program is not None:
        found |= dict.fromkeys(_hydra_problems(composer, program, choices))
        if found:  # the values of a stranger's files are not looked at further
            return list(found)
    for job in islice(product(*choices), SWEEP_LIMIT):
        found |= dict.fromkeys(_job_problems(composer, job, values=values))
    return list(found)


def _hydra_problems(
    composer: Composer, program: Composer, choices: Sequence[Sequence[Override]]
) -> list[str]:
    """What the user's folders may not set, for each option that is chosen and for the first job."""
    chosen = [
        str(change.input_line)
        for options in choices
        for change in options
        if composer.options(change.key_or_group)
    ]
    first = [str(o[0].input_line) for o in choices if composer.options(o[0].key_or_group)]
    found: dict[str, None] = {}
    for lines in [first, *([line] for line in chosen)]:
        try:
            found |= dict.fromkeys(hydra_problems(composer, program, lines))
        except UsageError:  # found again, and reported, for the job
            continue
    return list(found)


def unreadable_words(arguments: Sequence[str]) -> list[str]:
    """Those that cannot be read."""
    found = []
    for argument in arguments:
        try:
            parse(argument)
        except UsageError:
            found.append(argument)
    return found


def unreadable(argument: str, error: UsageError) -> str:
    """That the argument is no override, or none that can be read."""
    if "=" not in argument:
        return f"{argument}: not an override; write key=value, such as ways=5"
    reason = str(error).splitlines()[0]
    return f"{argument}: cannot be read ({reason}); quote special characters: \"key='a value'\""


def _sweeps_by_mode(composer: Composer, changes: Sequence[Override]) -> bool:
    """Whether `hydra.mode` asks for a sweep that `--multirun` did not."""
    lines = [str(c.input_line) for c in changes if not c.is_sweep_override()]
    try:
        with understood():
            return bool(composer.compose(lines, sweep=True).hydra.mode == RunMode.MULTIRUN)
    except UsageError:  # found again, and reported, for the job
        return False


def _choices(composer: Composer, change: Override) -> list[Override]:
    """The overrides that a sweep makes of one, in Hydra's order; raises UsageError."""
    if not change.is_sweep_override():
        return [change]
    key, value = change.get_key_element(), change.value()
    if isinstance(value, IntervalSweep):  # for a sweeper that draws from it
        return [composer.parse(f"{key}={end}") for end in (value.start, value.end)]
    with understood():
        values = list(islice(change.sweep_string_iterator(), SWEEP_LIMIT))
    if not values:
        raise UsageError("a sweep over no values")
    return [composer.parse(f"{key}={value}") for value in values]


def _job_problems(composer: Composer, changes: Sequence[Override], *, values: bool) -> list[str]:
    found: list[str] = []
    groups: list[str] = []
    settings: list[Override] = []
    for change in changes:
        options = composer.options(change.key_or_group)
        if not options:
            settings.append(change)
        elif problem := group_problem(change, options):
            found.append(problem)
        else:
            groups.append(str(change.input_line))
    try:
        chosen = composer.compose(groups)
    except UsageError as error:
        return [*found, ": ".join(filter(None, [" ".join(groups), str(error)]))]
    config = chosen.copy() if settings else chosen
    for change in settings:
        if problem := setting_problem(config, change):
            found.append(problem)
    if not values:
        return found
    try:
        experiment, problems = inspect(config, fallback=chosen)
    except Untrusted as error:
        return [*found, *error.messages]
    missing = [] if experiment is None else experiment.run.check_logger()
    return found + problems + missing


def group_problem(change: Override, options: list[str]) -> str | None:
    """What is wrong with the choice of a group's option."""
    group, line = change.key_or_group, str(change.input_line)
    value = change.value()
    if group in SECTIONS and (change.is_delete() or value is None):
        return f"{line}: a run needs one; choose {group}={messages.alternatives(options)}"
    if group in SECTIONS and (change.is_add() or change.is_force_add()):
        return f"{line}: a run has one {group} already; write {line.lstrip('+')}"
    if change.is_delete() and value is None:
        return None
    if change.is_delete() or value is None:
        return f"{line}: write ~{group} to leave it out"
    for option in value if isinstance(value, list) else [value]:
        if option not in options:
            return messages.unknown_option(group, option, options)
    return None


def setting_problem(config: DictConfig, change: Override) -> str | None:
    """What is wrong with the key or its value; where nothing is, the configuration has it now."""
    key, line = change.key_or_group, change.input_line
    if not change.is_hydra_override():
        known = keys(config)
        if key not in known:
            return messages.unknown_key(key, known)
        if change.is_delete():
            return f"{line}: every key is needed; write {key}=VALUE to change it"
        if change.is_add():
            return f"{line}: {key} is set already; write {str(line).lstrip('+')}"
    try:
        apply(config, change)
    except UsageError as error:
        return f"{line}: {error}"
    return None
