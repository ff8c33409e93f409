"""`data card`: figures that sum a data set up, and a sheet of plots."""

from pathlib import Path
from typing import Annotated

import typer

from learner.cli.data.printing import print_counts
from learner.cli.data.showing import Name
from learner.cli.data.working import working_on
from learner.cli.printing import AsJson, check_target, out, print_json, table_of, telling_about
from learner.datasets.card import card_of
from learner.store import Store
from learner.wording import count

commands = typer.Typer()
SIZES = 8
"""The most frequent sizes that are told; the rest is counted."""


@commands.command("card")
def card(
    name: Name,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it here, with the mean image of a class.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sum a data set up: class balance, sizes, light."""
    if png is not None:
        check_target(png)
    work = working_on(Store(), name)
    figures, counts = card_of(work.store, work.version, work.rows), work.counts()
    if png is not None:
        from learner.cli.data.sheet import draw  # brings matplotlib

        with telling_about(png):
            draw(png, work.title, counts, figures)
    if as_json:
        sizes = [{"width": width, "height": height, "images": n} for (width, height), n in figures.sizes.items()]
        light = [{"from": low, "to": high, "images": n} for low, high, n in figures.brightness]
        median = {"width": figures.median_width, "height": figures.median_height}
        told = {"name": name, "version": work.version.number, "counts": counts, "median": median}
        treated = {"images": figures.treated, "first": figures.treatment}
        print_json(told | {"sizes": sizes, "brightness": light, "treated": treated, "png": str(png) if png else None})
        return
    out.print(work.title, markup=False)
    print_counts(counts)
    by_size = table_of("Size", "Images", right=("Size", "Images"))
    for (width, height), number in list(figures.sizes.items())[:SIZES]:
        by_size.add_row(f"{width} × {height} px", f"{number:,}")
    out.print(by_size)
    out.print(
        f"Typically {figures.median_width} × {figures.median_height} px; {count(len(figures.sizes), 'size')} in all."
    )
    by_light = table_of("Mean grey level", "Images", right=("Mean grey level", "Images"))
    for low, high, number in figures.brightness:
        if number:
            by_light.add_row(f"{low:.0f}–{high:.0f}", f"{number:,}")
    out.print(by_light)
    if figures.treated:
        out.print(f"{count(figures.treated, 'image')} of more than 8 bits. The first: {figures.treatment}")
    if png is not None:
        out.print(f"Wrote {png}", markup=False)
