"""`docs/commands.md`, written from the commands themselves: usage, help, arguments and options, after some examples.

`python tools/command_docs.py` writes the page; `--check` only says whether it is out of date, and then ends with 1.
"""

import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learner.cli import app
from tools.generated import write_or_check

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"
PROGRAM = "python -m learner"
INTRODUCTION = """\
# Commands

`python tools/command_docs.py` writes this page from the commands. Change their help or its examples, not this page.

Run them with the environment that `make app` made: `.venv/bin/python -m learner …`. Each takes `--help`. `--json`
prints one JSON object and nothing else. Errors are one line on stderr with exit code 2; Ctrl-C ends with 130 and leaves
nothing half-made. A recipe is a YAML file (`--recipe FILE`), and `--set` reaches any of its keys.
[formats.md](formats.md) has the recipe, the layouts of photos that are recognised, the limits, and every setting.

In the tables, a dash under *default* means that nothing is done, or that Thaw decides.

## Examples

"""
EXAMPLES = """\
python -m learner data look photos.zip                    # what would be recognised in it, and why; imports nothing
python -m learner data add photos.zip --name pets         # a folder, an archive, an image, a web address, gallery:KEY
python -m learner data gallery                            # known sets with size, licence and address
python -m learner data list
python -m learner data show pets
python -m learner data check pets --labels                # what is doubtful; --labels asks a pretrained network too
python -m learner data check pets --fix near --fix names  # their remedies become edits, which the Data page shows too
python -m learner data edit pets relabel dog 'cat/*_00[12].jpg'
python -m learner data edits pets                         # what is not saved yet; undo, redo, discard
python -m learner data save pets --note "Copies out"      # a new version; versions, diff and restore know the others
python -m learner data split pets --folds 5               # who learns, who checks, and the leaks that grouping prevents
python -m learner data card pets --png card.png           # class balance, sizes, light, mean images
python -m learner train --dataset pets --model pets.pkl   # here and now; a folder in place of the name is added first
python -m learner train --dataset pets --set phases.1.epochs=6 --set backbone=resnet18 --queue
python -m learner train --dataset pets --set folds=5 --set fold=1
python -m learner train --dataset pets --dry-run          # what each phase will cost here, in time and disk
python -m learner train --dataset flowers17/ --model my.pkl    # a data set named like a recipe gets that recipe
python -m learner recommend --dataset pets                # which strategy suits it, measured
python -m learner find-rate --dataset pets --phase 1      # learning rates, by fastai's finder
python -m learner imagenet --dataset pets                 # what the untouched ImageNet network calls your photos
python -m learner runs                                    # all of them; pause, stop, move, delete … change one
python -m learner runs show 1
python -m learner runs pause 2
python -m learner runs resume 2
python -m learner runs more 1 5                           # five epochs more
python -m learner runs restart 1 --after-phase 1 --set phases.1.lr=0.00001
python -m learner runs compare 1 2
python -m learner results show 1                          # figures with 95 % intervals; --split train
python -m learner results mistakes 1                      # what it confuses, and the photos
python -m learner results relabel 1 cat/cat_007.jpg --to dog   # exclude, move: corrections for the next version
python -m learner results retrain 1                       # same recipe and seed; says which photos that fixed and broke
python -m learner results compare 3 1 2                   # on the same photos: intervals, McNemar's test
python -m learner results test 1                          # look at the test images; every look is counted
python -m learner results learning-curve 1                # what more photos would bring
python -m learner results report 1 --to report.html       # one file to keep or send; `card` writes a model card
python -m learner predict 1 new/ --top-k 3 --csv answers.csv
python -m learner predict 1 new/ --coverage 0.9 --tta 4 --heat-maps maps/   # "none of these", views, where it looked
python -m learner export 1 --format onnx --to pets.onnx   # learner, safetensors, onnx, web; each proves itself first
python -m learner cache                                   # what the feature cache takes; `cache clear` empties it
python -m learner backup thaw.zip                         # all that cannot be made again; `restore` brings it back
python -m learner doctor                                  # what does not work here, and what to do
python -m learner worker                                  # trains queued runs; `make app` starts one
"""
KINDS = {"int": "NUMBER", "float": "NUMBER", "Path": "PATH"}
"""What stands for a value, by its type; TEXT for all others."""


def page() -> str:
    """The whole page."""
    sections = "\n\n".join(section(*one) for one in every_command())
    return f"{INTRODUCTION}```bash\n{EXAMPLES}```\n\n{sections}\n"


def every_command() -> Iterator[tuple[str, str, Any]]:
    """Name with those of the groups around it, what to type up to it, and click's command; in the order of `--help`."""

    def below(group: Any, names: str, typed: str) -> Iterator[tuple[str, str, Any]]:
        for own, command in group.commands.items():
            if command.hidden:
                continue
            name, words = f"{names} {own}".lstrip(), f"{typed} {own}"
            yield name, words, command
            if hasattr(command, "commands"):  # a group's arguments stand before the names of its commands
                yield from below(command, name, " ".join([words, *map(placeholder, arguments(command))]))

    return below(typer.main.get_command(app), "", PROGRAM)


def section(name: str, typed: str, command: Any) -> str:
    """A command's heading, usage, help and table."""
    usage = [typed, *["[OPTIONS]"] * bool(options(command)), *map(placeholder, arguments(command))]
    if hasattr(command, "commands"):
        usage.append("[COMMAND ...]" if stands_alone(command) else "COMMAND ...")
    parts = [f"{'#' * (2 + name.count(' '))} `{name}`", f"```text\n{' '.join(usage)}\n```", as_text(command.help)]
    if stands_alone(command):
        parts.append(f"Without a command: {as_text(command.callback.__doc__)}")
    rows = [f"| {name_of(one)} | {meaning(one)} | {default(one)} |" for one in arguments(command) + options(command)]
    if rows:
        parts.append("\n".join(["| name | meaning | default |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def arguments(command: Any) -> list[Any]:
    """Those that `--help` shows."""
    return [one for one in command.params if not is_option(one) and not one.hidden]


def options(command: Any) -> list[Any]:
    """Those that `--help` shows."""
    return [one for one in command.params if is_option(one) and not one.hidden]


def is_option(parameter: Any) -> bool:
    """Whether it is given by name, not by its place."""
    return parameter.param_type_name == "option"


def stands_alone(command: Any) -> bool:
    """Whether a group does something where none of its commands is named."""
    return getattr(command, "invoke_without_command", False) and not command.no_args_is_help


def placeholder(parameter: Any) -> str:
    """What stands for a value: `RUN`, `PATH...`, `[OTHER...]`, `NUMBER`."""
    if is_option(parameter):
        kind = parameter.type_descriptor
        of_type = "CHOICE" if kind.is_choice else KINDS.get(getattr(kind.annotation, "__name__", ""), "TEXT")
        return parameter.metavar or of_type
    word = (parameter.metavar or parameter.name.upper()).removesuffix("...").strip("[]")
    word += "..." * (parameter.nargs != 1)
    return word if parameter.required else f"[{word}]"


def name_of(parameter: Any) -> str:
    """How it is written on the command line, as code."""
    if not is_option(parameter):
        return f"`{placeholder(parameter)}`"
    value = "" if parameter.is_flag else f" {placeholder(parameter)}"
    return " / ".join(f"`{name}{value}`" for name in [*parameter.opts, *parameter.secondary_opts])


def meaning(parameter: Any) -> str:
    """Its help, what it may be, and whether it may be given again."""
    said = [as_text(parameter.help)]
    if parameter.type_descriptor.is_choice:
        said.append("One of " + ", ".join(f"`{choice.value}`" for choice in parameter.type_descriptor.choices) + ".")
    least, most = parameter.min, parameter.max
    if least is not None and most is not None:
        said.append(f"From {number(least)} to {number(most)}.")
    elif least is not None:
        said.append(f"At least {number(least)}.")
    elif most is not None:
        said.append(f"At most {number(most)}.")
    if getattr(parameter, "multiple", False) and "repeatable" not in parameter.help:
        said.append("Repeatable.")
    return " ".join(said).replace("|", r"\|")


def default(parameter: Any) -> str:
    """What holds where it is left out."""
    value = parameter.default
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return as_text(parameter.show_default).replace("|", r"\|")
    if isinstance(value, bool):
        others = parameter.opts if value else parameter.secondary_opts
        return f"`{others[0]}`" if others else "off"
    if value in (None, "", [], ()):
        return "–"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    return number(value) if isinstance(value, int | float) else f"`{value}`"


def number(value: float) -> str:
    """With commas where it is whole, and no zeros at the end."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def as_text(said: str) -> str:
    """`said` so that Markdown shows every sign of it; what stands in backticks is code already."""
    paragraphs = (" ".join(one.split()) for one in said.strip().split("\n\n"))
    escaped = re.compile(r"(`[^`]*`)|([\\*<\[]|(?<!\w)_|_(?!\w))")
    return "\n\n".join(escaped.sub(lambda found: found[1] or "\\" + found[2], one) for one in paragraphs)


def main(words: list[str] | None = None) -> int:
    """Write the page, or check it; returns the exit code."""
    return write_or_check(PAGE, page(), words)


if __name__ == "__main__":
    sys.exit(main())
