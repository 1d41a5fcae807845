"""A folder of your own images, one folder a class: compare methods and write a report, in five lines of decoct."""

import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw


def draw_folder(root: Path) -> Path:
    """Discs and squares of many sizes, where you have no images at hand."""
    for number in range(80):
        name, side = ("disc", "square")[number % 2], 20 + number % 17
        picture = Image.new("RGB", (side, side + number % 5), (number, 40, 90))
        draw = ImageDraw.Draw(picture)
        (draw.ellipse if name == "disc" else draw.rectangle)((4, 4, side - 5, side - 5), fill=(200, 160, number * 3))
        (root / name).mkdir(parents=True, exist_ok=True)
        picture.save(root / name / f"{number}.png")
    return root


out = Path(tempfile.mkdtemp(prefix="decoct-example-"))
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else draw_folder(out / "images")

import decoct  # noqa: E402
from decoct.report.html import write_report  # noqa: E402

data = decoct.open(f"imagefolder:{folder}", size=32)
found = decoct.compare(data, ["random", "k-means", "dm"], [1], steps=8, networks=["convnet3-w8"], seeds=2, out=out)
print(found.table(), write_report(out / "report.html", found, data), sep="\n")
