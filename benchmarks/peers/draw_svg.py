"""Draw an SVG file as a PNG file. Has an environment of its own: see environments.py.

python draw_svg.py SVG PNG WIDTH
"""

import sys
from pathlib import Path

import resvg_py


def main() -> None:
    svg, png, width = sys.argv[1:]
    text = Path(svg).read_bytes().decode("utf-8", "replace")  # some decks hold a byte that is no UTF-8
    Path(png).write_bytes(bytes(resvg_py.svg_to_bytes(svg_string=text, width=int(width))))


if __name__ == "__main__":
    main()
