"""The conflict map as a picture for a model card: layers down, modules across, at one density."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from merge_core.interference.map_layout import arrange
from merge_core.interference.report import InterferenceReport, TensorInterference

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FILE = "conflict-map.png"
MOST_ROWS, MOST_COLUMNS = 120, 24
WIDTH, HEIGHT, GAP = 66, 20, 2  # pixels of a cell
LEFT, TOP, FOOT = 120, 34, 46
INK, PAPER, EMPTY = "#171a21", "#ffffff", "#eceef2"
FEW = 100  # contested entries; below this a share is mostly luck: hatched, and no measure for the colours
APART = 6  # pixels between the lines of a hatching
# Perceptually uniform and told apart by everybody: five points of matplotlib's inferno, by its published values.
_SCALE = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))


def map_picture(report: InterferenceReport, density: float) -> bytes | None:
    """A PNG of the share of contested entries that are in conflict; None where no tensor lies in a layer.

    Args:
        report: the counts.
        density: the one of its grid that is nearest is shown.
    """
    from PIL import Image, ImageDraw, ImageFont

    at = min(range(len(report.density)), key=lambda i: abs(report.density[i] - density))
    layout = arrange([tensor.name for tensor in report.tensors])
    rows, columns = layout.rows[:MOST_ROWS], layout.columns[:MOST_COLUMNS]
    cells = {
        (cell.row, cell.column): [report.tensors[i] for i in cell.tensors]
        for cell in layout.cells
        if 0 <= cell.row < len(rows) and cell.column < len(columns)
    }
    shares = {key: share for key, part in cells.items() if (share := _share(part, at)) is not None}
    if not rows or not shares:
        return None
    poor = {key for key in shares if sum(tensor.contested[at] for tensor in cells[key]) < FEW}
    firm = [share for key, share in shares.items() if key not in poor] or list(shares.values())
    low, high = min(firm), max(firm)
    size = (LEFT + len(columns) * WIDTH + GAP, TOP + len(rows) * HEIGHT + FOOT)
    picture = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for x, column in enumerate(columns):
        words = _fitting(column.label, WIDTH - GAP, font)
        draw.text((LEFT + x * WIDTH, TOP - 18), words, fill=INK, font=font)
    for y, row in enumerate(rows):
        words = _fitting(row.label, LEFT - 16, font)
        draw.text((LEFT - 8, TOP + y * HEIGHT + 2), words, fill=INK, font=font, anchor="ra")
        for x in range(len(columns)):
            share = shares.get((y, x))
            box = (
                LEFT + x * WIDTH,
                TOP + y * HEIGHT,
                LEFT + (x + 1) * WIDTH - GAP,
                TOP + (y + 1) * HEIGHT - GAP,
            )
            draw.rectangle(box, fill=EMPTY if share is None else _colour(share, low, high))
            if (y, x) in poor:
                _hatch(draw, box)
    _legend(draw, font, low, high, TOP + len(rows) * HEIGHT + 12, hatched=bool(poor))
    stored = io.BytesIO()
    picture.save(stored, "PNG", optimize=True)
    return stored.getvalue()


def _share(tensors: Sequence[TensorInterference], at: int) -> float | None:
    contested = sum(tensor.contested[at] for tensor in tensors)
    return sum(tensor.conflicted[at] for tensor in tensors) / contested if contested else None


def _colour(share: float, low: float, high: float) -> tuple[int, int, int]:
    part = min(max((share - low) / (high - low), 0.0), 1.0) if high > low else 0.0
    place = part * (len(_SCALE) - 1)
    left = min(int(place), len(_SCALE) - 2)
    one, other = _SCALE[left], _SCALE[left + 1]
    red, green, blue = (round(a + (b - a) * (place - left)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _hatch(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """Slanted lines over a cell; ends of `box` belong to it."""
    left, top, right, bottom = box
    for start in range(left - (bottom - top), right, APART):
        points = [
            (x, bottom - (x - start)) for x in range(max(start, left), min(start + bottom - top, right) + 1)
        ]
        if len(points) > 1:
            draw.line([points[0], points[-1]], fill=PAPER)


def _legend(
    draw: ImageDraw.ImageDraw, font: Font, low: float, high: float, top: int, *, hatched: bool
) -> None:
    for step in range(100):
        draw.rectangle((LEFT + step, top, LEFT + step + 1, top + 10), fill=_colour(step / 99, 0.0, 1.0))
    draw.text((LEFT - 8, top - 2), f"{100 * low:.0f} %", fill=INK, font=font, anchor="ra")
    words = f"{100 * high:.0f} % of contested" + ("; hatched: too few entries to tell" if hatched else "")
    draw.text((LEFT + 110, top - 2), words, fill=INK, font=font)


def _fitting(text: str, width: int, font: Font) -> str:
    """A stranger's words, printable and cut to a width in pixels."""
    clean = "".join(c for c in text if c.isprintable())[:40]
    while clean and font.getlength(clean) > width:
        clean = clean[:-1]
    return clean
