"""README and docs name commands, files and pictures that there are; generated pages say what the program says now."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.exceptions import TyperException

from learner.cli import app
from tools import command_docs, python_docs

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = command_docs.PROGRAM + " "
FENCE = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`(" + WRITTEN + r"[^`]+)`")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:learner|ui|pages|tests|tools|benchmarks|recipes|docs)[./][\w./]*\w/?)`")


def lines_to_type(text: str) -> list[str]:
    """Commands in blocks that can be copied, without their comments."""
    lines = (line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines())
    return [line for line in lines if line.startswith(WRITTEN)]


def all_commands(text: str) -> list[str]:
    """Those, and commands within sentences, in which words such as RUN stand for values."""
    return lines_to_type(text) + [" ".join(found.split()) for found in CODE.findall(text)]


by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)[len(WRITTEN.split()) :]


def read_as_a_shell_would(words: list[str]) -> None:
    """Let every command read its own words, as when it runs; nothing is done. Raises TyperException."""
    command, parent = typer.main.get_command(app), None
    while True:
        parent = command.make_context(command_docs.PROGRAM, words, parent=parent)
        words = [*parent._protected_args, *parent.args]
        if not words or not hasattr(command, "commands"):
            return
        _, command, words = command.resolve_command(parent, words)


def unknown_in(words: list[str]) -> list[str]:
    """Names of commands and options that there are not."""
    command, unknown, skipped = typer.main.get_command(app), [], 0
    for word in words:
        known = {name for one in command.params for name in [*one.opts, *one.secondary_opts]} | {"--help"}
        below = getattr(command, "commands", {})
        if word == "…":
            break
        if word.startswith("--"):
            unknown += [word] * (word.partition("=")[0] not in known)
        elif below and skipped:
            skipped -= 1
        elif below and word in below:
            command = below[word]
            skipped = len(command_docs.arguments(command)) if hasattr(command, "commands") else 0
        elif below:
            return [*unknown, word]
    return unknown


@pytest.mark.parametrize("tool", [command_docs, python_docs], ids=lambda tool: tool.PAGE.name)
def test_generated_pages_say_what_the_program_says_now(tool):
    assert tool.main(["--check"]) == 0, f"Write it: python tools/{tool.__name__.rpartition('.')[2]}.py"


def test_check_ends_with_1_and_changes_nothing_when_the_page_is_out_of_date(tmp_path, monkeypatch, capsys):
    page = tmp_path / "commands.md"
    monkeypatch.setattr(command_docs, "PAGE", page)
    assert command_docs.main(["--check"]) == 1 and not page.exists()
    page.write_text("Old.", "utf-8")
    assert command_docs.main(["--check"]) == 1 and page.read_text("utf-8") == "Old."
    assert "out of date" in capsys.readouterr().err
    assert command_docs.main([]) == 0 and command_docs.main(["--check"]) == 0


def test_the_page_has_every_command_with_every_option_that_it_takes():
    sections = {part.partition("`")[0]: part for part in re.split(r"^#+ `", command_docs.page(), flags=re.MULTILINE)}
    names = [name for name, _, _ in command_docs.every_command()]
    assert {"train", "data look", "data edit relabel", "runs more", "results learning-curve"} <= set(names)
    for name, _, command in command_docs.every_command():
        for option in command_docs.options(command):
            assert all(f"`{word}" in sections[name] for word in option.opts + option.secondary_opts)
    for shared in ("--layout", "--label-column", "--class OLD=NEW", "--merge-alike", "--json"):
        assert f"`{shared}" in sections["data look"] and f"`{shared}" in sections["data add"]


def test_every_command_option_and_argument_explains_itself():
    silent = [
        f"{name} {getattr(one, 'name', '')}"
        for name, _, command in command_docs.every_command()
        for one in [command, *command.params]
        if not one.help
    ]
    assert silent == []


@by_page
def test_a_line_in_a_page_can_be_typed(page):
    for line in lines_to_type(page.read_text("utf-8")):
        try:
            read_as_a_shell_would(words_of(line))
        except TyperException as error:
            pytest.fail(f"{line}: {error.format_message()}")


@by_page
def test_commands_in_a_page_exist_with_their_options(page):
    unknown = {line: unknown_in(words_of(line)) for line in all_commands(page.read_text("utf-8"))}
    assert {line: words for line, words in unknown.items() if words} == {}


def test_commands_and_options_that_there_are_not_would_be_found():
    assert unknown_in(words_of("python -m learner data edit pets paint x")) == ["paint"]
    assert unknown_in(words_of("python -m learner data edit pets relabel x y --too")) == ["--too"]
    assert unknown_in(words_of("python -m learner runs --csv")) == ["--csv"]
    for line in ("runs show one", "runs show", "export 1 --to x --format pickle", "data edit pets relabel dog"):
        with pytest.raises(TyperException):
            read_as_a_shell_would(line.split())


@by_page
def test_files_and_modules_that_a_page_names_exist(page):
    named = set(NAMED.findall(page.read_text("utf-8"))) - {"learner.pkl", "learner.requirements.txt"}
    missing = sorted(name for name in named if not exists(name))
    assert missing == []


@by_page
def test_pictures_that_a_page_shows_exist_and_say_what_they_show(page):
    shown = PICTURE.findall(page.read_text("utf-8"))
    assert [file for _, file in shown if not (page.parent / file).is_file()] == []
    assert [file for alt, file in shown if len(alt.split()) < 5] == []


def test_every_picture_is_shown_by_a_page_and_opens():
    shown = {(page.parent / file).resolve() for page in PAGES for _, file in PICTURE.findall(page.read_text("utf-8"))}
    pictures = set((ROOT / "docs").rglob("*.png"))
    assert pictures and pictures == {path for path in shown if path.suffix == ".png"}
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.size in ((1440, 900), (390, 844)), path.name


def test_the_map_in_the_readme_has_every_room_of_the_library():
    rooms = {path.parent.name for path in (ROOT / "learner").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^  (\w+)/ ", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))


def exists(name: str) -> bool:
    """Whether `a/b.py` or `a/` is there, or what `a.b` or `a.b.function` names; nothing is imported."""
    if "/" in name:
        return (ROOT / name).exists()
    place, words = ROOT, name.split(".")
    while words and (place / words[0]).is_dir():
        place /= words.pop(0)
    source = place / f"{words.pop(0)}.py" if words and (place / f"{words[0]}.py").exists() else place / "__init__.py"
    if not words:
        return place != ROOT
    return source.exists() and re.search(rf"\b{words[0]}\b", source.read_text("utf-8")) is not None
