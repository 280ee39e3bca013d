import pytest
import torch

from maml_cli.core.types import Episode
from maml_cli.reporting.images import BAND, GAP, episode_grid, spread

KEY = torch.zeros(2, dtype=torch.int64)


def test_classes_are_columns_with_the_support_above_the_queries():
    """2 ways, 1 shot, 2 queries of 3x4 pixels; each image is a constant, class-sorted."""
    grey = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 10.0])
    images = grey.view(-1, 1, 1, 1).expand(-1, 1, 3, 4)
    labels = torch.tensor([0, 1])
    episode = Episode(images[:2], labels, images[2:], labels.repeat_interleave(2), labels, KEY)

    grid = episode_grid(spread(episode))

    row, column = 3 + GAP, 4 + GAP
    assert grid.shape == (3, 3 * row + 2 * GAP + BAND, 2 * column + GAP)
    below = row + GAP + BAND
    tops = {0: 0, 1: 0, 2: below, 3: below + row, 4: below, 5: below + row}
    columns = {0: 0, 1: 1, 2: 0, 3: 0, 4: 1, 5: 1}
    for image, top in tops.items():
        left = columns[image] * column
        pixels = grid[:, top + GAP : top + row, left + GAP : left + column]
        assert pixels.eq(grey[image] / 10).all()
        assert grid[:, top + 1, left + 1].eq(0.5).all()  # its frame


def test_colours_are_kept_and_an_even_image_is_no_error():
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    label = torch.tensor([0])
    grid = episode_grid(Episode(red, label, red, label, label, KEY))
    assert grid[:, GAP, GAP].tolist() == [1, 0, 0]
    even = torch.full((1, 1, 2, 2), 7.0)
    assert episode_grid(spread(Episode(even, label, even, label, label, KEY))).isfinite().all()


def test_dark_images_stay_dark():
    dark = torch.full((1, 1, 2, 2), 0.1)
    dark[..., 0] = 0.05
    label = torch.tensor([0])
    grid = episode_grid(Episode(dark, label, dark, label, label, KEY))
    assert grid[0, GAP, [GAP, GAP + 1]].tolist() == pytest.approx([0.05, 0.1])
