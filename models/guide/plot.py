"""Draws the loss of a training: ``python -m models.guide.plot`` writes ``loss.svg`` from ``loss.csv``."""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

FOLDER = Path(__file__).parent
WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 720, 400, 60, 50, 40
MEAN_OVER = 25  # steps
LEVELS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)


def smoothed(losses: list[float]) -> list[float]:
    """The mean of each step and those just before it."""
    return [sum(part) / len(part) for at in range(len(losses)) if (part := losses[max(0, at - MEAN_OVER + 1) : at + 1])]


def drawing(losses: list[float]) -> str:
    """An SVG picture: steps to the right, the loss upwards on a logarithmic scale."""
    levels = [level for level in LEVELS if level >= min(losses) / 3]
    top, bottom = math.log(levels[0]), math.log(levels[-1])

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * step / len(losses)

    def y(loss: float) -> float:
        return ABOVE + (HEIGHT - ABOVE - BELOW) * (top - math.log(max(loss, levels[-1]))) / (top - bottom)

    def line(values: list[float], style: str) -> str:
        points = " ".join(f"{x(step + 1):.1f},{y(value):.1f}" for step, value in enumerate(values))
        return f'<polyline points="{points}" fill="none" {style}/>'

    grid = [
        f'<path d="M{LEFT} {y(level):.1f}H{WIDTH - 20}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{y(level) + 4:.1f}" text-anchor="end">{level:g}</text>'
        for level in levels
    ]
    marks = [
        f'<text x="{x(part * len(losses) / 5):.1f}" y="{HEIGHT - BELOW + 20}" text-anchor="middle">'
        f"{part * len(losses) // 5}</text>"
        for part in range(6)
    ]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            'font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{LEFT}" y="22" font-size="14">Loss over the words of the answers: each step, and the mean of '
            f"{MEAN_OVER}</text>",
            *grid,
            *marks,
            f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 10}" text-anchor="middle">step</text>',
            line(losses, 'stroke="#b8cbe0" stroke-width="0.7"'),
            line(smoothed(losses), 'stroke="#1f4e79" stroke-width="1.8"'),
            "</svg>\n",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the loss of a training.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    with (folder / "loss.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    (folder / "loss.svg").write_text(drawing(losses))


if __name__ == "__main__":
    main()
