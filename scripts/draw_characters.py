"""Draws five invented characters, as two people might write them, to try `maml-adapt` with.

    python scripts/draw_characters.py drawn
    maml-adapt run=zoo/NAME support=drawn/known query=drawn/unknown

`known` has one labelled picture of each character by the first hand, `unknown` one of each by the
second hand, without labels, in another order. The same command draws the same pictures.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maml_cli.core.errors import UserError
from maml_cli.runs.trained import claim

Stroke = list[tuple[float, float]]
CHARACTERS: dict[str, list[Stroke]] = {
    "anchor": [
        [(0.5, 0.15), (0.5, 0.85)],
        [(0.3, 0.3), (0.7, 0.3)],
        [(0.2, 0.6), (0.3, 0.8), (0.5, 0.87), (0.7, 0.8), (0.8, 0.6)],
    ],
    "door": [
        [(0.25, 0.85), (0.25, 0.2), (0.75, 0.2), (0.75, 0.85)],
        [(0.58, 0.5), (0.62, 0.56)],
    ],
    "fish": [
        [(0.85, 0.3), (0.5, 0.75), (0.2, 0.5), (0.5, 0.25), (0.85, 0.7)],
    ],
    "ladder": [
        [(0.35, 0.12), (0.3, 0.88)],
        [(0.65, 0.12), (0.7, 0.88)],
        [(0.33, 0.35), (0.67, 0.35)],
        [(0.31, 0.62), (0.69, 0.62)],
    ],
    "wave": [
        [(0.12, 0.4), (0.3, 0.25), (0.5, 0.4), (0.7, 0.55), (0.88, 0.4)],
        [(0.12, 0.7), (0.3, 0.55), (0.5, 0.7), (0.7, 0.85), (0.88, 0.7)],
    ],
}
"""Points that the pen passes, from the upper left corner; units of the picture's side."""
SIZE = 105
OVERSAMPLING = 4
HANDS = 1, 2
"""The seeds of each hand's slant, size and unsteadiness."""


def drawing(strokes: list[Stroke], random: np.random.Generator) -> Image.Image:
    """The character by an unsteady hand, dark on white, 105 x 105 pixels like Omniglot's."""
    side = SIZE * OVERSAMPLING
    picture = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(picture)
    turn, shear = random.uniform(-0.15, 0.15, 2)
    slant = np.array([[np.cos(turn), shear - np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    slant *= random.uniform(0.8, 1.05, 2)[:, None]
    for stroke in strokes:
        points = (
            (np.array(stroke) - 0.5) @ slant.T + 0.5 + random.normal(0, 0.015, (len(stroke), 2))
        )
        line = [(float(x), float(y)) for x, y in side * smooth(points)]
        pen.line(line, fill=0, width=2 * OVERSAMPLING + OVERSAMPLING // 2, joint="curve")
    return picture.resize((SIZE, SIZE), Image.Resampling.BOX)


def smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points with their corners cut twice (Chaikin 1974)."""
    for _ in range(2):
        first, second = points[:-1], points[1:]
        inner = np.stack([0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second], 1)
        points = np.concatenate([points[:1], inner.reshape(-1, 2), points[-1:]])
    return points


def draw(folder: Path) -> None:
    """Draw into a new folder; raises UsageError if there is something in it."""
    claim(folder)
    (folder / "unknown").mkdir()
    first, second = map(np.random.default_rng, HANDS)
    for number, (name, strokes) in enumerate(CHARACTERS.items()):
        place = folder / "known" / name
        place.mkdir(parents=True)
        drawing(strokes, first).save(place / "1.png")
        order = (2 * number + 3) % len(CHARACTERS) + 1
        drawing(strokes, second).save(folder / "unknown" / f"{order}.png")


def main() -> None:
    """Draw into the folder that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="new or empty")
    folder = parser.parse_args().folder
    try:
        draw(folder)
    except UserError as error:
        raise SystemExit("\n".join(error.messages)) from None
    print(f"{folder}/known, {folder}/unknown")


if __name__ == "__main__":
    main()
