"""Paths as people type them, and Hydra's grammar."""

from pathlib import Path

import pytest

from maml_cli.config.compose import parse
from maml_cli.config.typed_words import readable


@pytest.mark.parametrize(
    "value",
    [
        *(
            "plain/path-1.0",
            "Meine Bilder (neu)",
            "ü [1]",
            "a,b",
            "it's",
            "{x}",
            "a=b",
            "nan",
            "2024",
        ),
        *("1e5", "true", "C:/x", "", "with $dollar"),
    ],
)
@pytest.mark.parametrize("key", ["dataset.path", "hydra.run.dir", "resume", "data_dir"])
def test_a_path_arrives_as_it_was_typed(key, value):
    (word,) = readable([f"{key}={value}"])
    read = parse(word).value()
    assert ("" if read is None else read) == value
    assert readable([word]) == [word]


def test_the_home_folder_stands_for_its_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert readable(["data_dir=~/x", "resume=~", "ways=5"]) == [
        "data_dir=/home/somebody/x",
        "resume=/home/somebody",
        "ways=5",
    ]


def test_what_is_no_path_stays_as_it_is(tmp_path):
    words = ["backbone.hidden=[40,20]", "~seed", "--help", "seed=0,1", "x='a b'", "a=${b}"]
    assert readable(words) == words
    assert readable(["dataset.path=a,b"], multirun=True) == ["dataset.path=a,b"]
    there = Path(tmp_path, "a (b)")
    there.mkdir()
    assert readable([f"other={there}"]) == [f"other='{there}'"]
