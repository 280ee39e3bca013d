"""Predictions as tables and as a picture, by hand."""

import numpy as np
import pytest
from PIL import Image

from maml_cli.reporting.predictions import Predictions, csv_text, markdown, score, terminal_table
from maml_cli.reporting.predictions_figure import predictions_figure, write_figure

PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])


def predictions(truth=None, **changes) -> Predictions:
    facts = {
        "classes": ["cat", "a|b", "dog, wet"],
        "pictures": ["x.png", "[red]/y.png"],
        "probabilities": PROBABILITIES,
        "spread": None,
        "truth": truth,
    }
    return Predictions(**facts | changes)


def pixels(count: int, channels: int = 1) -> np.ndarray:
    return np.full((count, channels, 8, 8), 100, np.uint8)


def figure(made: Predictions, *, names: int = 3):
    queries = pixels(len(made.pictures))
    return predictions_figure(
        made, support=pixels(names + 1), labels=[0, *range(names)], queries=queries
    )


def texts(made) -> list[str]:
    """Everything that is written in a figure: headings, then above and below each picture."""
    found = [text.get_text() for text in made.texts]
    for axes in made.axes:
        found += [axes.get_title(), axes.get_xlabel()]
    return [text for text in found if text]


def test_the_csv_has_every_probability():
    assert csv_text(predictions()).splitlines() == [
        "picture,predicted,probability,probability of cat,probability of a|b,"
        '"probability of dog, wet"',
        "x.png,a|b,0.500000,0.200000,0.500000,0.300000",
        "[red]/y.png,cat,0.600000,0.600000,0.100000,0.300000",
    ]


def test_the_csv_has_the_classes_if_they_are_known():
    header, first, second = csv_text(predictions([1, 2])).splitlines()
    assert header.startswith("picture,class,predicted,probability,")
    assert first.startswith("x.png,a|b,a|b,0.5")
    assert second.startswith('[red]/y.png,"dog, wet",cat,0.6')


def test_the_table_has_the_classes_by_falling_probability():
    cells = [
        [cell.strip() for cell in line.replace("\\|", "/").split("|")[1:-1]]
        for line in markdown(predictions()).splitlines()
    ]
    assert cells[0] == ["picture", "predicted", "probability", "then"]
    assert cells[2] == ["x.png", "a/b", "50.0 %", "dog, wet 30.0 %, cat 20.0 %"]
    assert cells[3] == ["[red]/y.png", "cat", "60.0 %", "dog, wet 30.0 %, a/b 10.0 %"]


def test_the_score_counts_what_is_right():
    assert score(predictions()) == ""
    assert score(predictions([1, 2])) == "1 of 2 right (50.00 %)"


def test_the_terminal_shows_names_as_they_are_and_colours():
    table = terminal_table(predictions([1, 2]))
    names, _, predicted, *_ = zip(*table.rows, strict=True)
    assert [cell.plain for cell in names] == ["x.png", "[red]/y.png"]
    assert [cell.style for cell in predicted] == ["green", "red"]


def test_the_figure_says_what_was_predicted_and_what_it_is():
    assert texts(figure(predictions([1, 2]))) == [
        "Support: the first picture of each class",
        "Query: the predicted class and its probability; 1 of 2 right (50.00 %)",
        *("cat\n2 given", "a|b\n1 given", "dog, wet\n1 given"),
        *("a|b\n✓ 50.0 %", "cat\n✗ 60.0 %", "is dog, wet"),
    ]
    assert texts(figure(predictions()))[-2:] == ["a|b\n50.0 %", "cat\n60.0 %"]


def test_long_names_are_cut():
    long = ["x" * 30, "ab " * 30, "y" * 90]
    made = texts(figure(predictions([2, 2], classes=long)))
    assert f"{'x' * 18}\n{'x' * 12}\n2 given" in made
    assert f"{'y' * 18}\n{'y' * 17}…\n1 given" in made
    assert f"is {'y' * 14}…" in made
    wrong = texts(figure(predictions([2, 2], classes=["cat", "dog", "Tagalog character07"])))
    assert wrong[-1] == "is Tagalog charac…"


@pytest.mark.parametrize(
    ("count", "shown", "rows"), [(1, 1, 1), (7, 7, 1), (40, 40, 5), (90, 80, 10)]
)
def test_any_number_of_queries(count, shown, rows):
    many = predictions(
        pictures=[f"{n}.png" for n in range(count)],
        probabilities=np.tile(PROBABILITIES[:1], (count, 1)),
    )
    made = figure(many)
    # the band, three classes, and the queries, none beside another
    places = {tuple(np.round(axes.get_position().p0, 4)) for axes in made.axes}
    assert len(made.axes) == len(places) == 1 + 3 + shown
    assert len({place[1] for place in places}) == 2 + rows
    limited = [text for text in texts(made) if "the first 80 of 90" in text]
    assert bool(limited) == (count > 80)


def test_colour_and_scripts_that_the_font_lacks(tmp_path):
    classes = ["漢字", "$x^2$", "plain"]
    write_figure(
        tmp_path / "figure.png",
        predictions(classes=classes),
        support=pixels(3, 3),
        labels=[0, 1, 2],
        queries=pixels(2, 3),
    )
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size == (round((0.2 + 5 * 1.5) * 150), image.height)
        assert (100, 100, 100) in {colour for _, colour in image.convert("RGB").getcolors(2**20)}


def test_samples_have_their_spread_in_every_form():
    spread = np.array([[0.01, 0.125, 0.02], [0.25, 0.03, 0.04]])
    made = predictions([1, 2], spread=spread)
    assert csv_text(made).splitlines()[1].startswith("x.png,a|b,a|b,0.500000,0.125000,0.2")
    assert "| spread" in markdown(made)
    assert "± 12.5 %" in markdown(made)
    assert "a|b\n✓ 50 ± 12 %" in texts(figure(made))
