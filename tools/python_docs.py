"""`docs/python.md`, written from the docstrings of what `learner` offers to Python.

`python tools/python_docs.py` writes the page; `--check` only says whether it is out of date, and then ends with 1.
"""

import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import learner
from tools.generated import write_or_check

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
INTRODUCTION = """\
# Thaw from Python

`python tools/python_docs.py` writes this page from the docstrings. Change those, not this page. Its examples are tests.

```python
from learner import Phase, Recipe, load, train

result = train("photos/", recipe="default", model="pets.pkl")  # a progress bar; also the name of a data set
print(result.accuracy)                                         # with its 95 % interval
result.confusion, result.predictions(), result.learner         # tables, and a fastai Learner
result.export("pets.safetensors")

model = load("pets.safetensors")
print(model.predict("new.jpg").label)

two_steps = Recipe("photos", phases=[Phase("Warm-up", "head", 3), Phase("Upper stages", "block4", 5, lr=1e-4)])
train("photos", two_steps)
```

`import learner` is quick: torch is loaded once something trains, predicts or is exported. Runs, data sets and models
are those of the pages and the commands, so what one began the others show. Errors are `ThawError`s whose message names
the thing, the reason and the way out.

"""


def main(words: list[str] | None = None) -> int:
    """Write the page, or check it; returns the exit code."""
    return write_or_check(PAGE, page(), words)


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "\n".join(_section(name) for name in learner.__all__ if name != "__version__")


def _section(name: str) -> str:
    value = getattr(learner, name)
    signature = f"class {name}" if inspect.isclass(value) else _signature(value)
    parts = [f"## {name}\n", f"```python\n{signature}\n```\n", _text(inspect.getdoc(value) or "")]
    if inspect.isclass(value):
        parts += [*_fields(value), *_members(value)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part.strip())


def _signature(function: Callable) -> str:
    """As it is written, without `self`; a line a parameter where all do not fit into one."""
    written = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(written, ast.FunctionDef)
    arguments = written.args
    arguments.args = [argument for argument in arguments.args if argument.arg not in ("self", "cls")]
    returns = f" -> {ast.unparse(written.returns)}" if written.returns else ""
    line = f"{written.name}({ast.unparse(arguments)}){returns}"
    line = line.replace("'", '"')
    if len(line) <= 100:
        return line
    lines = [ast.unparse(part) for part in _each(arguments)]
    if arguments.kwonlyargs:
        lines.insert(len(arguments.args), "*")
    return "\n".join([f"{written.name}(", *(f"    {part}," for part in lines), f"){returns}"]).replace("'", '"')


def _each(arguments: ast.arguments) -> Iterator[ast.arguments]:
    """Every parameter, alone, with its default."""
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + arguments.defaults
    for argument, default in zip(arguments.args, defaults, strict=True):
        yield ast.arguments([], [argument], None, [], [], None, [default] if default else [])
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield ast.arguments([], [argument], None, [], [], None, [default] if default else [])


def _text(docstring: str) -> str:
    """Markdown of a docstring; its examples in a block of their own."""
    before, marker, examples = docstring.partition(">>> ")
    return before.rstrip() + (f"\n\n```python\n{marker}{examples.rstrip()}\n```" if marker else "")


def _fields(value: type) -> Iterator[str]:
    """Settings of a recipe and its parts, with their defaults and meaning."""
    meanings = getattr(value, "__pydantic_fields__", {})
    lines = []
    for field in dataclasses.fields(value) if meanings else []:
        if meaning := meanings[field.name].description:
            plain = isinstance(field.default, str | int | float | bool | None)
            default = f" = {field.default!r}".replace("'", '"') if plain else ""
            lines.append(f"- `{field.name}{default}`: {' '.join(meaning.split())}")
    if lines:
        yield "\n".join(lines)


def _members(value: type) -> Iterator[str]:
    """Public methods and properties that the class itself defines and explains, in their order."""
    for name, member in vars(value).items():
        method = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        is_method = inspect.isfunction(method)
        explained = inspect.getdoc(method) if is_method or hasattr(member, "__get__") else None
        if not name.startswith("_") and explained:
            title = _signature(method) if is_method else name
            title = title.replace("(\n    ", "(").replace(",\n)", ")").replace("\n    ", " ")
            yield f"**`{title}`**\n\n{_text(explained)}"


if __name__ == "__main__":
    sys.exit(main())
