"""Pictures for the page: montages of small images and heat maps of labels, as PNG data addresses within a budget."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from decoct.report.contents import Column, Gallery, Heat, Pixels

PER_CELL = 10
ACROSS = 5
PNG_BUDGET = 1_700_000
"""Bytes of all PNGs of a page; in base64 they grow by a third, and the page stays under 3 MB."""
POSITIVE, NEGATIVE = (47, 127, 214), (224, 108, 26)
HEAT_SIDE = 420


@dataclass(frozen=True)
class Quality:
    """How finely tiles are drawn: the longest side in pixels, colours in a palette (0: all), images in a cell."""

    side: int
    colours: int
    images: int


LADDER = (
    Quality(64, 0, PER_CELL), Quality(48, 0, PER_CELL), Quality(32, 0, PER_CELL), Quality(32, 64, PER_CELL),
    Quality(24, 32, PER_CELL), Quality(16, 16, PER_CELL), Quality(16, 16, ACROSS), Quality(12, 16, 2), Quality(8, 8, 1),
)  # fmt: skip


def gallery_pngs(galleries: Sequence[Gallery], budget: int = PNG_BUDGET) -> dict[tuple[int, int, int], bytes]:
    """A PNG for each (gallery, column, class), drawn as finely as `budget` bytes in all allow."""
    cells = {
        (g, c, k): pictures
        for g, gallery in enumerate(galleries)
        for c, column in enumerate(gallery.columns)
        for k, pictures in enumerate(column.pictures)
    }
    drawn = (_drawn(cells, quality, budget) for quality in LADDER)
    return next(
        (pngs for pngs in drawn if pngs is not None), {key: montage(p[:0], LADDER[-1]) for key, p in cells.items()}
    )


def _drawn(cells: Mapping[tuple[int, int, int], Pixels], quality: Quality, budget: int) -> dict | None:
    """All cells at this quality, or None as soon as they are more than `budget` bytes."""
    pngs: dict[tuple[int, int, int], bytes] = {}
    left = budget
    for key, pictures in cells.items():
        pngs[key] = montage(pictures, quality)
        left -= len(pngs[key])
        if left < 0:
            return None
    return pngs


def montage(pictures: Pixels, quality: Quality) -> bytes:
    """A PNG of `[k, h, w, c]` pictures side by side, `ACROSS` in a row, with clear gaps between."""
    tiles = [_tile(picture, quality.side) for picture in pictures[: quality.images]]
    if not tiles:
        return _png(np.zeros((1, 1, 4), np.uint8), 0)
    height, width = tiles[0].shape[:2]
    gap = max(1, max(height, width) // 14)
    across = min(ACROSS, len(tiles))
    down = -(-len(tiles) // across)
    sheet = np.zeros((down * (height + gap) - gap, across * (width + gap) - gap, 4), np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // across * (height + gap), place % across * (width + gap)
        sheet[top : top + height, left : left + width, :3] = tile
        sheet[top : top + height, left : left + width, 3] = 255
    return _png(sheet, quality.colours)


def _tile(picture: Pixels, side: int) -> Pixels:
    """One picture `[h, w, c]` as `[h', w', 3]`, made smaller where it is larger than `side`."""
    colour = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[:, :, :3]
    height, width = colour.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return colour
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(colour).resize(size, Image.Resampling.BOX))


def _png(sheet: NDArray[np.uint8], colours: int) -> bytes:
    image = Image.fromarray(sheet)
    if (sheet[..., 0] == sheet[..., 1]).all() and (sheet[..., 1] == sheet[..., 2]).all():
        image = image.convert("LA")
    elif colours:
        image = image.quantize(colours, Image.Quantize.FASTOCTREE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def data_address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def gallery_html(gallery: Gallery, pngs: dict[tuple[int, int], bytes]) -> str:
    """One table: a row for each class, a column for the real pictures and one for each set."""
    heads = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in gallery.columns)
    rows = []
    for k, name in enumerate(gallery.class_names):
        cells = "".join(_cell(column, name, k, pngs[c, k]) for c, column in enumerate(gallery.columns))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    left_out = f"{gallery.left_out} more classes are not shown. " if gallery.left_out else ""
    caption = f"{left_out}At most {PER_CELL} images of a class are shown."
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="Images, {escape(gallery.title)}">'
        f'<table class="gallery"><caption class="aside">{escape(caption)}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(column: Column, name: str, place: int, png: bytes) -> str:
    shown, count = len(column.pictures[place]), column.counts[place]
    if not shown:
        return "<td>–</td>"
    words = f"{column.title}, class {name}: {shown} of {count:,} image{'s' if count != 1 else ''}"
    kind = "one" if shown == 1 else "many" if shown >= ACROSS else "few"
    return f'<td><img class="tiles {kind}" style="--n:{shown}" src="{data_address(png)}" alt="{escape(words)}"></td>'


def heat_png(heat: Heat) -> bytes:
    """One pixel for each label entry; strength is opacity, so the map reads on light and on dark paper."""
    values = heat.values.astype(np.float64)
    largest = np.abs(values).max() or 1.0
    sheet = np.zeros((*values.shape, 4), np.uint8)
    sheet[..., :3] = np.where(values[..., None] >= 0, POSITIVE, NEGATIVE)
    sheet[..., 3] = np.round(255 * np.abs(values) / largest)
    return _png(sheet, 0)


def heat_html(heat: Heat) -> str:
    """The soft labels of one set as a figure: images down, classes across."""
    low, high = float(heat.values.min()), float(heat.values.max())
    words = f"{heat.title}: {len(heat.names)} images down, {len(heat.class_names)} classes across"
    height = int(np.clip(HEAT_SIDE * len(heat.names) / max(len(heat.class_names), 1), 120, HEAT_SIDE))
    left_out = f" {heat.left_out:,} more images are not shown." if heat.left_out else ""
    what = "probability" if heat.kind == "probabilities" else "score"
    zero = f'<span class="swatch minus"></span>{low:.2f}' if low < 0 else '<span class="swatch zero"></span>0'
    return (
        '<figure class="heat"><div class="heatgrid">'
        f'<div class="across" aria-hidden="true">{_ticks(heat.class_names)}</div>'
        f'<div class="down" aria-hidden="true" style="height:{height}px">{_groups(heat.names)}</div>'
        f'<img style="height:{height}px" src="{data_address(heat_png(heat))}" alt="{escape(words)}"></div>'
        f"<figcaption><b>{escape(heat.title)}</b> {escape(what.capitalize())} of each class (across) for each image "
        f'(down). {zero} to <span class="swatch plus"></span>{high:.2f}.{left_out}</figcaption></figure>'
    )


def _ticks(names: Sequence[str]) -> str:
    if len(names) > 20:
        return f"<span>{len(names)} classes</span>"
    return "".join(f"<span>{escape(name)}</span>" for name in names)


def _groups(names: Sequence[str]) -> str:
    """One label for each run of rows of the same class, as high as the run."""
    runs: list[list[str]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1].append(name)
        else:
            runs.append([name])
    if len(runs) > 25:
        return f"<span>{len(names)} images</span>"
    return "".join(f'<span style="flex:{len(run)}">{escape(run[0])}</span>' for run in runs)
