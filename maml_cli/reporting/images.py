"""An episode as one picture."""

import torch
from torch import Tensor

from maml_cli.core.types import Episode

IMAGE_BATCH = 4
"""Dimensions of images (examples, channels, height, width); points of a curve have two."""
GAP = 2
"""Pixels between images."""
BAND = 8
"""Pixels between support and queries."""
GAP_COLOUR = 0.5, 0.5, 0.5
BAND_COLOUR = 0.0, 0.447, 0.698


def episode_grid(episode: Episode) -> Tensor:
    """The episode's images, one column per class: support above, queries below a blue band.

    Takes one image episode, class-sorted, with pixels between 0 and 1, of which none is stretched;
    returns `(3, height, width)` float. The images have a grey frame of `GAP` pixels.
    """
    ways = len(episode.classes)
    support, queries = (
        _columns(images.clamp(0, 1), ways) for images in (episode.support_x, episode.query_x)
    )
    band = torch.tensor(BAND_COLOUR).view(3, 1, 1).expand(3, BAND, support.shape[-1])
    return torch.cat([support, band, queries], dim=-2)


def spread(episode: Episode) -> Episode:
    """The same with the range of its pixels spread over 0 to 1, where nobody says what it is."""
    pixels = torch.cat([episode.support_x.flatten(), episode.query_x.flatten()])
    low, high = pixels.min(), pixels.max()
    width = (high - low).clamp_min(torch.finfo(pixels.dtype).eps)
    return episode._replace(
        support_x=(episode.support_x - low) / width, query_x=(episode.query_x - low) / width
    )


def _columns(images: Tensor, ways: int) -> Tensor:
    images = images.cpu().expand(-1, 3, -1, -1)
    count, _, height, width = images.shape
    rows = count // ways
    cells = torch.tensor(GAP_COLOUR).view(1, 1, 3, 1, 1)
    cells = cells.repeat(ways, rows, 1, height + GAP, width + GAP)
    cells[..., GAP:, GAP:] = images.view(ways, rows, 3, height, width)
    grid = cells.permute(2, 1, 3, 0, 4).reshape(3, rows * (height + GAP), ways * (width + GAP))
    frame = torch.tensor(GAP_COLOUR).view(3, 1, 1)
    framed = frame.repeat(1, grid.shape[1] + GAP, grid.shape[2] + GAP)
    framed[:, : grid.shape[1], : grid.shape[2]] = grid
    return framed
