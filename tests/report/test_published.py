"""The file of published numbers, and which of its numbers stand beside a run."""

import re
from pathlib import Path

import pytest

from maml_cli.report.collect import collect
from maml_cli.report.group import Group, grouped
from maml_cli.report.published import literature

from .conftest import SIX, MakeRun

CONF = Path(__file__).parents[2] / "conf"


def group(folder: Path) -> Group:
    [found], _ = grouped(collect([folder]).runs)
    return found


@pytest.mark.parametrize(
    ("algo", "switches", "name"),
    [
        ("maml", {}, "MAML"),
        ("maml", {"msl": True}, "MAML + MSL"),
        ("maml", {"bnrs": True, "bnwb": True}, "MAML + BNRS + BNWB"),
        ("maml", {"second_order": False}, "MAML, first order"),
        ("maml", SIX, "MAML++"),
        ("maml", {"adapts": "head"}, "ANIL"),
        ("maml", {"adapts": "norm"}, "MAML, adapts norm"),
        ("fomaml", {"second_order": False}, "MAML, first order"),
        ("mamlpp", SIX, "MAML++"),
        ("mamlpp", SIX | {"da": False}, "MAML++ − DA"),
        ("metasgd", {"rate_per_weight": True}, "Meta-SGD"),
        ("protonet", {"distance": "cosine"}, "Prototypical Nets, distance cosine"),
        (
            "matching",
            {"attention": "classes", "fce": True},
            "Matching Nets, attention classes + FCE",
        ),
        ("mine", {"msl": True}, "mine"),
    ],
)
def test_approaches_are_named_by_their_switches(
    make_run: MakeRun, algo: str, switches: dict[str, bool | str], name: str
) -> None:
    assert (
        literature().approach(group(make_run("run", algo=algo, switches=switches)).protocol) == name
    )


def test_other_algorithms_are_no_kin_of_maml(make_run: MakeRun) -> None:
    run = make_run("run", algo="finetune", toggles={"adapts": "body and head"})
    assert (
        literature().approach(group(run).protocol) == "fine-tuning baseline, adapts body and head"
    )


def values(folder: Path) -> list[float | None]:
    return [number.value for number in literature().for_group(group(folder))]


def test_numbers_of_the_papers(make_run: MakeRun) -> None:
    """From table 1 of the MAML paper and table 1 of the MAML++ paper."""
    assert values(make_run("5way")) == [98.7]
    assert values(make_run("20way", ways=20)) == [95.8, 91.27]
    assert values(make_run("no conv", backbone="no_conv")) == [89.7]
    assert values(make_run("another network", backbone="resnet12")) == []
    mamlpp = {"algo": "mamlpp", "switches": SIX, "ways": 20}
    assert values(make_run("mamlpp", **mamlpp, backbone="conv4_48")) == [97.65]
    assert values(make_run("as released", **mamlpp | {"switches": SIX | {"da": False}})) == [97.65]
    assert values(make_run("7way", ways=7)) == []


def test_reptile_is_compared_with_the_same_batch_norm(make_run: MakeRun) -> None:
    reptile = {"algo": "reptile", "toggles": {}}
    assert values(make_run("transductive", **reptile)) == [97.68]
    assert values(make_run("not", **reptile, bn_stats="support_and_query")) == [95.39]
    assert values(make_run("support", **reptile, bn_stats="support")) == []


def test_the_sinusoid_numbers_are_of_a_model_trained_with_ten_points(sinusoid: Path) -> None:
    [number] = literature().for_group(group(sinusoid))
    assert number.steps == {1: 0.67, 5: 0.38, 10: 0.35}


def test_every_number_is_a_value_or_a_course() -> None:
    for number in literature().numbers:
        assert (number.value is None) == bool(number.steps), number
        assert number.source


def test_no_number_is_there_twice() -> None:
    keys = [
        (n.approach, n.setting, n.source, n.backbone, tuple(n.where.items()))
        for n in literature().numbers
    ]
    assert len(set(keys)) == len(keys)


def presets() -> list[tuple[str, str]]:
    """Name and first line of each preset that reproduces one accuracy."""
    lines = {
        file.stem: next(line for line in file.read_text().splitlines() if "@package" not in line)
        for file in sorted((CONF / "experiment").glob("*.yaml"))
    }
    return [(name, line) for name, line in lines.items() if re.search(r": [^,]+\d %", line)]


@pytest.mark.parametrize(("name", "line"), presets())
def test_the_presets_name_the_same_numbers(name: str, line: str) -> None:
    dataset, ways, shots = re.findall(r"(omniglot|mini_imagenet)_(\d+)way_(\d+)shot", name)[0]
    setting = (dataset, int(ways), int(shots))
    published = {number.value for number in literature().numbers if number.setting == setting}
    shown = re.search(r"(\d+\.\d+)(?: \+- [\d.]+)? %", line)
    assert shown is not None
    assert float(shown[1]) in published
