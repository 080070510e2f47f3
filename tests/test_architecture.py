"""The project's rules: which way imports run, how large a module may be, what code and prose may not contain."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "microflow"
MODULES = sorted(SRC.rglob("*.py"))
BENCHMARKS = sorted((ROOT / "tests" / "benchmarks").glob("*.py"))
PAGES = [SRC / "ARCHITECTURE.md", ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

FOUNDATION = {
    "errors",
    "settings",
    "schema",
    "descriptors",
    "records",
    "jvm",
    "yaml_model",
    "formats",
}
#: Room to the rooms it may import besides itself and the foundation.
MAY_IMPORT: dict[str, set[str]] = {
    **{room: set() for room in FOUNDATION},
    "sources": set(),
    "sinks": {"sources"},
    "datasets": {"sinks"},
    "compliance": set(),
    "anonymize": set(),
    "assess": {"anonymize"},
    "timing": set(),
    "topics": {"sinks"},
    "store": {"timing", "topics"},
    "engine": {"compliance", "anonymize", "timing", "sources", "sinks"},
    "storm": {"engine", "compliance", "anonymize", "sources", "sinks", "timing"},
    "pipeline": {"engine", "sources", "sinks", "store", "timing", "compliance", "anonymize", "topics"},
}
MAY_IMPORT["lab"] = {"timing", "store", "engine", "sinks"}
MAY_IMPORT["advise"] = {*MAY_IMPORT} - FOUNDATION
MAY_IMPORT["experiments"] = {room for room in MAY_IMPORT if room not in FOUNDATION}
#: These may import every room, and no room imports them.
TOP = {"figures", "explore", "cli", "spark", "__main__"}
MAY_IMPORT |= {room: {*MAY_IMPORT, "experiments", *TOP} for room in TOP}

#: A variable is called what it is: a column, a trial, a row.
NAMELESS = {"one", "told", "all_", "other_one"}
IO_MODULES = {"socket", "subprocess", "requests", "sqlalchemy", "psycopg2", "shutil", "tempfile", "urllib"}


def room_of(module: Path) -> str:
    return module.relative_to(SRC).parts[0].removesuffix(".py")


def imported(module: Path) -> set[str]:
    """Full names of everything a module imports, wherever in it the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_run_one_way(module: Path) -> None:
    """No room imports one that stands above or beside it."""
    room = room_of(module)
    if room == "__init__":
        return
    assert room in MAY_IMPORT, f"room {room!r} has no place on the map: add it to MAY_IMPORT"
    rooms = {name.split(".")[1] for name in imported(module) if name.startswith("microflow.")}
    forbidden = rooms - MAY_IMPORT[room] - FOUNDATION - {room, "__version__"}
    assert not forbidden, f"{room} may not import {sorted(forbidden)}"


def test_the_drawn_map_is_true() -> None:
    """Every arrow is an import that exists, and every room with code is on the page."""
    page = (SRC / "ARCHITECTURE.md").read_text("utf-8")
    arrows = re.findall(r"^  (\w+) --> (\w+)$", page, re.MULTILINE)
    assert len(arrows) > 20
    imports = {
        (name.split(".")[1], room_of(module)) for module in MODULES for name in imported(module) if "flow." in name
    }
    assert set(arrows) <= imports
    helpers = {"__main__", "errors", "settings", "records", "jvm", "yaml_model", "formats"}
    rooms = {room_of(module) for module in MODULES} - helpers - {"__init__"}
    assert {room for room in rooms if room not in page} == set()


@pytest.mark.parametrize("room", ["compliance", "anonymize"])
def test_the_pure_rooms_do_no_io(room: str) -> None:
    """Nothing that is timed as pure processing can reach a file, a socket or a database by import."""
    for module in (SRC / room).rglob("*.py"):
        reached = {name.split(".")[0] for name in imported(module)} & IO_MODULES
        assert not reached, f"{module.name} imports {sorted(reached)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_no_forbidden_construct_is_used(module: Path) -> None:
    """No eval, no unsafe YAML, no wall clock for durations, no broad except, no module too large to read."""
    text = module.read_text("utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert not calls & {"eval", "exec", "yaml.load", "time.time", "print"}
    handlers = [node for node in nodes if isinstance(node, ast.ExceptHandler)]
    assert all(node.type is not None for node in handlers), "a bare except"
    assert len(text.splitlines()) <= 400, "a module of more than 400 lines wants to be two"
    names = {node.id for node in nodes if isinstance(node, ast.Name)} | {n.arg for n in nodes if isinstance(n, ast.arg)}
    assert not names & NAMELESS, "a variable is called what it is"


#: Classes of one name that still mean two things; the list may only get shorter.
TWICE = {
    "Constraint", "Domain", "Estimate", "Feed", "FileSink", "Point", "Progress", "Source", "Stream",
    "Trial",
}  # fmt: skip
#: What every experiment, command, benchmark or migration defines by contract is no second meaning.
BY_CONTRACT = {"main", "migrate", "warm"}
ALIKE = {"experiments", "cli", "figures", "explore", "lab", "advise", "assess", "datasets"}


def test_a_public_name_means_one_thing() -> None:
    """No class is defined in two modules, and no function in two modules of the path from reader to database."""
    classes: dict[str, int] = {}
    functions: dict[str, int] = {}
    for module in MODULES:
        for node in ast.parse(module.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name] = classes.get(node.name, 0) + 1
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                functions[node.name] = functions.get(node.name, 0) + (room_of(module) not in ALIKE)
    assert {name for name, count in classes.items() if count > 1} - TWICE == set()
    assert {name for name, count in functions.items() if count > 1} - BY_CONTRACT - {"format_of", "text_of"} == set()


#: Words that a reader who learned English as a second language has to look up, or that mean nothing in the field.
OBSCURE = re.compile(
    r"(?i)\bhouse\b(?! number)|house-rules|\bnobody\b|\bstrangers?\b|\bcalm hour|\bwhoever\b|\bit were\b|\bgiven up\b"
    r"|\blaid\b|\bbystanders?\b|\bby lot\b|\bwalks?\b|\bshreds?\b|\bparcels\b|\btold apart\b|\blest\b"
    r"|\bthereof\b|\bis told\b|\bare told\b|\bwas told\b|what decides is that"
)


@pytest.mark.parametrize(
    "file",
    [*MODULES, *BENCHMARKS, *PAGES],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_prose_is_plain(file: Path) -> None:
    """No whimsical or obscure word; lists of words that the tool looks for in data are no prose."""
    lines = file.read_text("utf-8").splitlines()
    assert [line for line in lines if OBSCURE.search(line) and "Walk-in" not in line] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_docstring_begins_with_a_noun_or_a_verb(module: Path) -> None:
    """A question word makes a reader look for the question: "Number of rows", not "How many rows there are"."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, documented)]
    texts = [text for node in nodes if (text := ast.get_docstring(node))]
    assert [text for text in texts if re.match(r"(What|Whether|Those|How|Where|Which)\b", text)] == []


@pytest.mark.parametrize("path_title", ["A record of a file", "A trial"])
def test_a_newcomer_can_follow_the_code(path_title: str) -> None:
    """At most twelve files; each is imported by an earlier one, or names an arm's target that a process loads."""
    page = (SRC / "ARCHITECTURE.md").read_text("utf-8")
    steps = re.findall(
        r"^\d+\. `([\w/]+\.py)`", page.split(f"**{path_title}")[1].split("\n**")[0].split("\n## ")[0], re.MULTILINE
    )
    assert 8 <= len(steps) <= 12
    #: The notebooks stand between the command and the lab, and a trial's process between the lab and its target.
    entered = {"cli/run.py", "cli/experiments.py", "experiments/speed.py", "figures/catalogue.py"}
    passed: set[str] = set()
    for step in steps:
        module = "microflow." + step.removesuffix(".py").replace("/", ".")
        names = {name for earlier in passed for name in imported(SRC / earlier)}
        assert step in entered or any(name == module or name.startswith(f"{module}.") for name in names), step
        passed.add(step)
