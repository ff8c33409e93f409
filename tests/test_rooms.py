"""The rooms of `learner`: imports go down only, pages and `--help` load no torch, every file says what it holds."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.patience import GIVE_UP_S

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "timm", "fastai"}

ROOMS = [
    "errors",
    "version",
    "wording",
    "logs",
    "atomic",
    "workspace",
    "people",
    "audit",
    "recipe",
    "store",
    "jobs",
    "datasets",
    "questions",
    "models",
    "features",
    "planning",
    "inference",
    "housekeeping",
    "evaluation",
    "studies",
    "exports",
    "serving",
    "importing",
    "report",
    "operations",
    "training",
    "advice",
    "terminal",
    "notebook",
    "api",
    "cli",
]
"""From the ground up: each imports from rooms above it in this list only."""
HEAVY_ROOMS = {"models", "features", "inference", "evaluation", "exports", "importing", "training", "advice"}
"""Their files may load torch; one that does not says so. No file of another room does."""
SAYS_SO = "Needs no torch"


@cache
def modules(folder: str = "learner") -> dict[str, Path]:
    """Every module of a package by its name, database migrations and programs of their own apart."""
    apart = ("migrations", "provers", "sheet_program.py", "pickle_program.py", "__main__.py")
    files = [path for path in (ROOT / folder).rglob("*.py") if not set(apart) & set(path.relative_to(ROOT).parts)]
    return {name_of(path): path for path in sorted(files)}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@cache
def imports(path: Path, anywhere: bool = True) -> frozenset[str]:
    """Modules that the file imports: `anywhere` in it, or only where it is loaded, not inside functions."""
    tree = ast.parse(path.read_text("utf-8"))
    names = set()
    for node in ast.walk(tree) if anywhere else at_load(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {node.module} | {part for part in parts if part in modules()}
    return frozenset(names)


def at_load(tree: ast.AST) -> list[ast.AST]:
    """The nodes that run when the module is loaded."""
    found = []
    for node in ast.iter_child_nodes(tree):
        only_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not only_types:
            found += [node, *at_load(node)]
    return found


def loads_torch(module: str) -> bool:
    """Whether loading the module loads torch, directly or through what it imports."""
    known, waiting, seen = modules(), [module], set()
    while waiting:
        name = waiting.pop()
        if name.split(".")[0] in HEAVY:
            return True
        if name in known and name not in seen:
            seen.add(name)
            waiting += [*imports(known[name], anywhere=False), name.rpartition(".")[0]]
    return False


def test_every_module_stands_in_a_room():
    assert {room_of(module) for module in modules()} - {""} == set(ROOMS)


def test_imports_go_to_rooms_below_only():
    wrong = [
        f"{module} imports {name}"
        for module, path in modules().items()
        for name in imports(path)
        if room_of(module) and name in modules() and room_of(name) != room_of(module)
        if not room_of(name) or ROOMS.index(room_of(name)) > ROOMS.index(room_of(module))
    ]
    assert wrong == []


def test_nothing_private_is_imported_from_another_file():
    wrong = [
        f"{path.relative_to(ROOT)}: {node.module}.{alias.name}"
        for folder in ("learner", "ui", "pages")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert wrong == []


def test_only_files_of_heavy_rooms_load_torch_and_those_that_do_not_say_so():
    heavy = {module for module in modules() if loads_torch(module)}
    assert {room_of(module) for module in heavy} <= HEAVY_ROOMS
    told = {module for module, path in modules().items() if SAYS_SO in (docstring(path) or "")}
    in_heavy_rooms = {module for module in modules() if room_of(module) in HEAVY_ROOMS and module.count(".") > 1}
    assert told & in_heavy_rooms == in_heavy_rooms - heavy


def test_what_pages_and_help_need_loads_no_torch_and_no_streamlit():
    light = [module for module in modules() if not loads_torch(module)]
    light += [module for module in modules("ui") if module.count(".")]
    code = f"""
import importlib, sys
for name in {light!r}:
    importlib.import_module(name)
    heavy = {HEAVY!r} & set(sys.modules)
    assert not heavy, f"{{name}} imports {{heavy}}"
    if name.startswith("learner"):
        assert "streamlit" not in sys.modules, f"{{name}} imports streamlit"
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=GIVE_UP_S)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("folder", "never"),
    [("learner", {"streamlit", "ui", "pages", "streamlit_app"}), ("ui", {"pages", "streamlit_app", *HEAVY})],
)
def test_imports_point_from_pages_to_ui_to_learner_and_never_back(folder, never):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imports(path)
        if name.split(".")[0] in never
    ]
    assert wrong == []


def written(folder: str) -> list[Path]:
    """The Python files of a folder, but for environments that benchmarks made."""
    return [path for path in (ROOT / folder).rglob("*.py") if ".cache" not in path.parts]


@pytest.mark.parametrize("folder", ["learner", "ui", "pages", "benchmarks", "tools", "tests"])
def test_every_file_says_in_its_first_line_what_it_holds(folder):
    files = [path for path in written(folder) if path.name != "__main__.py"]
    silent = [str(path.relative_to(ROOT)) for path in files if not (docstring(path) or "").strip()]
    assert files and silent == []


@pytest.mark.parametrize("folder", ["learner", "ui", "pages", "benchmarks", "tools", "tests"])
def test_no_file_has_more_than_400_lines(folder):
    long = {
        str(path.relative_to(ROOT)): lines
        for path in written(folder)
        if (lines := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert long == {}


def docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text("utf-8")))
