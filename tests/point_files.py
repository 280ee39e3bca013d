"""CSV files of points, as users have them."""

from pathlib import Path

import numpy as np


def write_lines(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def write_waves(path: Path, *, tasks: int = 10, points: int = 8, first: int = 0) -> Path:
    """`task,x,y`: waves of random phase, x in [100, 160] and y around 1000."""
    random = np.random.default_rng(first)
    lines = ["task,x,y"]
    for task in range(first, first + tasks):
        phase = random.uniform(0, np.pi)
        for x in random.uniform(100, 160, points):
            lines.append(f"t{task:02d},{x:.4f},{1000 + 50 * np.sin((x - 130) / 6 - phase):.4f}")
    return write_lines(path, *lines)


def write_fields(path: Path, *, sites: int = 4, years: int = 3, points: int = 8) -> Path:
    """Two keys, two inputs and two outputs, with semicolons and a byte order mark."""
    random = np.random.default_rng(0)
    lines = ["site;year;t;depth;flow;heat"]
    for site in range(sites):
        for year in range(1990, 1990 + years):
            a, b = random.uniform(-2, 2, 2)
            for t, d in random.uniform(-1, 1, (points, 2)):
                lines.append(f"{site};{year};{t:.4f};{d:.4f};{a * t + b * d:.4f};{a * t * d:.4f}")
    return write_lines(path, *lines, encoding="utf-8-sig")
