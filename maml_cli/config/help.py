"""The text of `maml-train --help`, generated from the settings classes and the YAML files."""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import OmegaConf
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from maml_cli import __version__
from maml_cli.config.build import COMPONENTS, SECTIONS, SETTINGS
from maml_cli.config.compose import Composer
from maml_cli.config.messages import fields, rule, typed

EXAMPLES = {
    "maml-train": "MAML++ on characters drawn from fonts, 5 ways 1 shot; needs no data set",
    "maml-train algo=maml dataset=omniglot ways=20 shots=1": "MAML on Omniglot",
    "maml-train --multirun algo=maml,mamlpp ways=5,20 seed=0,1,2": "twelve runs, one after another",
}
MORE = {
    "--cfg job [--resolve]": "show every key and value of this command and run nothing",
    "--multirun, -m": "run every combination of values given as a,b or range(0,3)",
    "--config-dir DIR": "take YAML files from DIR too: DIR/algo/mine.yaml becomes algo=mine",
    "--module-path DIR": "find modules of your own in DIR too, beside the current folder",
    "--hydra-help": "everything else that Hydra understands",
    'eval "$(maml-train -sc install=bash)"': "complete keys and options with the Tab key",
}
RESULTS = (
    "Each run makes a folder outputs/DATASET/ALGO/NAME with its table, results, metrics, "
    "checkpoints and TensorBoard events; hydra.run.dir=DIR chooses another. Exit codes: 0 done, "
    "1 bug, 2 usage, 3 data, 4 checkpoint, 5 diverged, 6 storage, 130 interrupted."
)


def show(*, extra_dir: str | None = None) -> None:
    """Print the help; imports no torch, and so answers at once."""
    composer = Composer(extra_dir=extra_dir)
    console = Console(highlight=False)
    console.print(
        Text(f"maml-train {__version__}: from a few-shot learner to its table with one command"),
        _section("Usage", Text("maml-train [KEY=VALUE ...] [--multirun]")),
        _section("Examples", _columns(EXAMPLES.items(), beside=False)),
        _section("Groups: choose one option of each, as algo=maml does (* is the default)"),
        *_groups(composer),
        *_keys(composer),
        _section("More", _columns(MORE.items())),
        _section("Results", Text(RESULTS)),
        sep="\n",
    )


def _groups(composer: Composer) -> Iterable[RenderableType]:
    choices = composer.compose(()).hydra.runtime.choices
    for group in (*SECTIONS, *(g for g in composer.groups() if g not in SECTIONS)):
        options = {
            f"{option} *" if option == choices.get(group) else option: composer.about(group, option)
            for option in composer.options(group)
        }
        yield Padding(Group(Text(group, "bold"), _columns(options.items())), (0, 0, 0, 2))


def _keys(composer: Composer) -> Iterable[RenderableType]:
    """The keys that every run has, with default, rule and meaning; where to see the others."""
    config = composer.compose(())
    for section, cls in SETTINGS.items():
        prefix = "" if section == "run" else f"{section}."
        rows = [
            (
                f"{prefix}{name}={typed(OmegaConf.select(config, prefix + name))}",
                f"{rule(field.annotation, field.metadata)}: {field.description}",
            )
            for name, field in fields(cls).items()
        ]
        title = f"Keys of {section}" if prefix else "Keys, with their defaults"
        yield _section(title, _columns(rows))
    some = " ".join(f"{name}.*" for name in COMPONENTS)
    yield _section(f"Keys of {some}", Text("depend on the choice: maml-train algo=maml --cfg job"))


def _section(title: str, *body: RenderableType) -> RenderableType:
    return Group(Text(f"\n{title}", "bold"), *(Padding(part, (0, 0, 0, 2)) for part in body))


def _columns(rows: Iterable[tuple[str, str]], *, beside: bool = True) -> RenderableType:
    """Names and their explanations, beside each other or below."""
    if not beside:
        return Group(*(Text(f"{name}\n    {what}") for name, what in rows))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for name, what in rows:
        table.add_row(Text(f"  {name}"), Text(what))
    return table
