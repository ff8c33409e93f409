"""`python -m learner data …`: all that the Data page does, from a shell."""

import typer

from learner.cli.data import adding, card, checking, editing, pool, showing, splitting

data = typer.Typer(
    help="Data sets: look, add, check, clean, label, split; every save is a new version.", no_args_is_help=True
)
for part in (adding, showing, checking, editing, pool, splitting, card):
    data.add_typer(part.commands)

__all__ = ["data"]
