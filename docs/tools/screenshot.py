"""Makes docs/figures/report.png, the front page's view of an executed report.

python docs/tools/screenshot.py docs/examples/swiss_roll.html [--top 0] [--height 1030] [--out FILE]

Needs Chromium. The page is 1280 px wide; few colours keep the file small.
"""

import argparse
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 1280


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--top", type=int, default=0, help="first line of pixels that is shown")
    parser.add_argument("--height", type=int, default=1030)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures" / "report.png")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        seen = Path(folder) / "page.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        size = [f"--window-size={WIDTH},{asked.top + asked.height}", f"--screenshot={seen}"]
        subprocess.run(["chromium", *options, *size, asked.page.resolve().as_uri()], check=True, capture_output=True)
        part = Image.open(seen).convert("RGB").crop((0, asked.top, WIDTH, asked.top + asked.height))
    part.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(asked.out, optimize=True)
    print(f"{asked.out}: {asked.out.stat().st_size // 1000} KB")


if __name__ == "__main__":
    main()
