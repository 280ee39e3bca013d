"""Glyphs: characters that every machine can draw, that differ to the eye and fill the splits."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from maml_cli.data.glyph_characters import CHARACTERS, SCRIPTS
from maml_cli.data.glyph_renderer import FACES, load_faces, rendered
from maml_cli.data.glyphs import SPLIT_SIZES, Glyphs, split_classes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def faces():
    return dict(zip(FACES, load_faces(), strict=True))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """All pictures of all characters: `(characters, 20, 28, 28)`."""
    return np.concatenate(list(rendered(CHARACTERS, 20)))[:, :, 0]


def test_the_splits_share_no_class_and_use_all():
    classes = split_classes()
    assert {split: len(chosen) for split, chosen in classes.items()} == SPLIT_SIZES
    assert sorted(np.concatenate(list(classes.values()))) == list(range(len(CHARACTERS)))
    assert len(CHARACTERS) == len(set(CHARACTERS)) >= 300
    assert SPLIT_SIZES["train"] >= 200
    assert min(SPLIT_SIZES.values()) >= 20
    assert len(SCRIPTS) >= 10


def test_every_character_is_in_the_fonts(faces):
    points = {ord(character) for character in CHARACTERS}
    assert points <= faces["DejaVuSans"].points & faces["DejaVuSans-Bold"].points


def shapes(character: str, font) -> np.ndarray:
    """The shape in three widths, as the rule in `glyph_characters` says: `(3, 784)`, length 1."""
    canvas = Image.new("L", (256, 256))
    ImageDraw.Draw(canvas).text((128, 128), character, 255, font=font, anchor="mm")
    cut = canvas.crop(canvas.getbbox())
    rows = []
    for widening in (1, 1.25, 1.5):
        scale = 24 / max(cut.size) * widening
        width, height = (max(1, min(24, round(side * scale))) for side in cut.size)
        picture = Image.new("L", (28, 28))
        small = cut.resize((width, height), Image.Resampling.BOX)
        picture.paste(small, ((28 - width) // 2, (28 - height) // 2))
        blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(1)), float).ravel()
        rows.append(blurred / np.linalg.norm(blurred))
    return np.stack(rows)


def test_no_two_characters_look_alike(faces):
    font = faces["DejaVuSans"].font
    each = np.stack([shapes(character, font) for character in CHARACTERS])
    alike = np.einsum("iap,jbp->ijab", each, each).max((2, 3))
    np.fill_diagonal(alike, 0)
    assert alike.max() < 0.91  # 0.9, and room for another version of the font renderer
    # the measure sees what it should: Latin A, Greek Alpha and Cyrillic A are one
    twins = [shapes(character, font)[0] for character in "AΑА"]  # noqa: RUF001
    assert min(twins[0] @ twins[1], twins[0] @ twins[2]) > 0.99


def test_pictures_are_whole_dark_enough_and_different(pictures):
    assert pictures.shape == (len(CHARACTERS), 20, 28, 28)
    assert pictures.dtype == np.uint8
    ink = pictures.sum((2, 3), dtype=float) / 255
    assert ink.min() > 10  # pixels: nothing is blank
    assert ink.max() < 0.6 * 28 * 28
    border = np.ones((28, 28), bool)
    border[1:-1, 1:-1] = False
    assert (pictures[..., border].max(-1) > 128).mean() < 0.01  # hardly any touches the edge
    for character in pictures:
        assert len(np.unique(character.reshape(20, -1), axis=0)) == 20


def test_pictures_are_drawn_the_same_every_time(pictures):
    again = np.concatenate(list(rendered(CHARACTERS[:10], 20)))[:, :, 0]
    assert np.array_equal(again, pictures[:10])


def test_classes_can_be_told_apart_by_nearest_neighbour(pictures):
    """A sanity check of the data: far above chance, 1 in 400, and not trivial."""
    flat = pictures.reshape(len(CHARACTERS), 20, -1) / 255.0
    references, queries = flat[:, :12].mean(1), flat[:, 12:].reshape(-1, 784)
    nearest = ((references**2).sum(-1) - 2 * queries @ references.T).argmin(-1)
    accuracy = (nearest == np.arange(len(CHARACTERS)).repeat(8)).mean()
    assert 0.3 < accuracy < 0.99


def test_tasks_come_from_the_cache_the_second_time(run_settings, capsys):
    glyphs, run = Glyphs(name="glyphs"), run_settings(ways=20, shots=1, queries=1)
    first = glyphs.load(run, CPU)
    assert "Drawing" in capsys.readouterr().err
    second = glyphs.load(run, CPU)
    assert capsys.readouterr().err == ""
    assert first.input_shape == (1, 28, 28)
    for split in SPLIT_SIZES:
        left, right = first.episodes(split, 0, 4), second.episodes(split, 0, 4)
        assert torch.equal(left.support_x, right.support_x)
        assert 0 <= left.support_x.min() < left.support_x.mean() < 0.5  # ink is 1, paper 0
        assert left.support_x.max() == 1


def test_what_an_episode_needs_is_checked_without_drawing(run_settings, tmp_path):
    glyphs = Glyphs(name="glyphs")
    assert glyphs.check(run_settings(ways=20, shots=5, queries=15)) == []
    assert glyphs.check(run_settings(ways=41, shots=20, queries=1)) == [
        'ways=41 needs 41 classes, but split "val" of glyphs has 40: lower ways to at most 40.',
        "shots=20 + queries=1 needs 21 images per class, but glyphs has 20: lower one of them.",
    ]
    assert not (tmp_path / "cache").exists()
