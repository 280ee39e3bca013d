"""Random episodes of every split as one picture, to be looked at before a long run."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maml_cli.core.types import Episode
from maml_cli.reporting.images import episode_grid

SHOWN = 3
"""The most support images, and the most query images, that are shown of a class."""
SMALLEST_CELL = 56
"""Smaller images are enlarged to at least this many pixels."""
MARGIN = 24


def contact_sheet(episodes: Mapping[str, Sequence[Episode]]) -> Image.Image:
    """A row of episodes per split, under its name: a column per class, support above queries.

    Takes image episodes without a batch dimension, class-sorted.
    """
    rows = {
        split: [_grid(_shortened(episode)) for episode in some] for split, some in episodes.items()
    }
    width = max(sum(g.width + MARGIN for g in grids) for grids in rows.values()) + MARGIN
    height = sum(max(g.height for g in grids) + 2 * MARGIN for grids in rows.values())
    sheet = Image.new("RGB", (width, height + MARGIN // 2), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=MARGIN * 0.6)
    top = 0
    for split, grids in rows.items():
        draw.text(
            (MARGIN, top + MARGIN), f"{split}: support above the line, queries below",
            "black", font, anchor="lm",
        )  # fmt: skip
        left = MARGIN
        for grid in grids:
            sheet.paste(grid, (left, top + 2 * MARGIN))
            left += grid.width + MARGIN
        top += max(grid.height for grid in grids) + 2 * MARGIN
    return sheet


def _shortened(episode: Episode) -> Episode:
    """The same with no more than SHOWN images of each class, and pixels as numbers."""
    ways = len(episode.classes)
    support_x, query_x = (
        x.reshape(ways, -1, *x.shape[1:])[:, :SHOWN].flatten(0, 1).float()
        for x in (episode.support_x, episode.query_x)
    )
    return episode._replace(support_x=support_x, query_x=query_x)


def _grid(episode: Episode) -> Image.Image:
    pixels = episode_grid(episode).mul(255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    times = -(-SMALLEST_CELL // episode.support_x.shape[-1])
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
