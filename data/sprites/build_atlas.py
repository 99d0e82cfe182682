"""Rebuild ``atlas.png`` and ``atlas.json`` from the npm packages that carry the artwork.

Fetch and unpack the packages (any folder will do), then name the folder::

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 @lobehub/fluent-emoji-3d@1.1.0
    for f in *.tgz; do mkdir -p "${f%.tgz}" && tar -xzf "$f" -C "${f%.tgz}"; done
    python data/sprites/build_atlas.py .

The atlas has one row per art style and one column per noun; each cell is CELL x CELL pixels, RGBA.
"""

import json
import sys
from pathlib import Path

from PIL import Image

CELL = 48
HERE = Path(__file__).parent

# style -> path of a sprite inside the unpacked package, by Unicode code point
STYLES = {
    "noto": "emoji-datasource-google-16.0.0/package/img/google/64/{code}.png",
    "twemoji": "emoji-datasource-twitter-16.0.0/package/img/twitter/64/{code}.png",
    "fluent": "lobehub-fluent-emoji-3d-1.1.0/package/assets/{code}.webp",
}
# nouns of a single hue, which a caption may colour
TINTED = {
    "car": "1f697", "heart": "2764-fe0f", "star": "2b50", "balloon": "1f388", "book": "1f4d5", "fish": "1f41f",
    "shirt": "1f455", "umbrella": "2602-fe0f", "cap": "1f9e2", "dress": "1f457", "bell": "1f514", "key": "1f511",
}  # fmt: skip
# nouns that keep their own colours
NATURAL = {
    "cat": "1f431", "dog": "1f436", "tree": "1f333", "house": "1f3e0", "mushroom": "1f344", "panda": "1f43c",
    "penguin": "1f427", "frog": "1f438", "sun": "2600-fe0f", "moon": "1f319", "cactus": "1f335", "pizza": "1f355",
}  # fmt: skip


def main(packages: Path) -> None:
    codes = TINTED | NATURAL
    atlas = Image.new("RGBA", (CELL * len(codes), CELL * len(STYLES)))
    for row, pattern in enumerate(STYLES.values()):
        for column, code in enumerate(codes.values()):
            sprite = Image.open(packages / pattern.format(code=code)).convert("RGBA")
            sprite = sprite.crop(sprite.getbbox())  # boxes are tight around what is drawn
            scale = CELL / max(sprite.size)
            size = [max(1, round(side * scale)) for side in sprite.size]
            sprite = sprite.resize(size, Image.Resampling.LANCZOS)
            left, top = (column * CELL + (CELL - size[0]) // 2, row * CELL + (CELL - size[1]) // 2)
            atlas.paste(sprite, (left, top))
    atlas.save(HERE / "atlas.png", optimize=True)
    names = {"cell": CELL, "styles": list(STYLES), "tinted": list(TINTED), "natural": list(NATURAL)}
    (HERE / "atlas.json").write_text(json.dumps(names, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
