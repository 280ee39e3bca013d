"""Every number on the command line, out of its range: refused, or taken on purpose; never a bug."""

from collections.abc import Callable

import pytest
from omegaconf import DictConfig

import maml_cli.runs.train
from maml_cli.config.compose import Composer, keys

VALUES = ("-1", "0", "1000000000", "nan", "inf")


def numeric_keys() -> list[str]:
    """The keys whose defaults are numbers, of the default run and of one on sinusoids."""
    found: dict[str, None] = {}
    for arguments in ([], ["dataset=sinusoid"], ["dataset=image_folder"]):
        config: DictConfig = Composer().compose(arguments)
        for key in keys(config):
            node = config
            for part in key.split("."):
                node = node[part]
            if isinstance(node, int | float) and not isinstance(node, bool):
                found[key] = None
    return list(found)


def test_there_are_numbers_to_test() -> None:
    assert {"ways", "seed", "algo.inner_lr", "train.outer_lr"} <= set(numeric_keys())
    assert len(numeric_keys()) >= 20


@pytest.mark.parametrize("key", numeric_keys())
def test_a_number_out_of_range(
    maml_train: Callable, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(maml_cli.runs.train, "run", lambda *_: {})
    dataset = ["dataset=image_folder"] if key.startswith("dataset.") else []
    codes = {}
    for value in VALUES:
        outcome = maml_train(*dataset, f"{key}={value}")
        assert outcome.code in (0, 2), outcome
        assert "Traceback" not in outcome.err
        assert all(error.startswith(key) or key in error for error in outcome.errors)
        codes[value] = outcome.code
    assert (codes["nan"], codes["inf"]) == (2, 2)
