"""Do the tests notice a wrong program? Changes one thing at a time in a copy of a room, and runs the room's tests.

By hand, never in CI: ``python tests/mutate.py compliance --mutants 60`` (minutes to an hour; tests that take long, by
time or by many examples, are left out). It prints the share that is killed and every survivor, to be looked at: some
mean the same as the original.
"""

# ruff: noqa: T201 - a program for people

from __future__ import annotations

import argparse
import ast
import itertools
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# What children need is imported once, before they are made; nothing of the package under test.
import hypothesis  # noqa: F401
import numpy  # noqa: F401, ICN001
import polars  # noqa: F401, ICN001
import pyarrow  # noqa: F401, ICN001
import pytest

ROOT = Path(__file__).resolve().parent.parent
SLOW = "not linear and not clues_and and not mixing and not both_forms_find and not leave_nothing and not forms_and_rem"
_SWAPS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in",
    ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is", ast.Add: "-", ast.Sub: "+", ast.And: "or", ast.Or: "and",
}  # fmt: skip


def mutants(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, what is changed, and the changed text: a comparison, a sum, a junction, a negation, a constant."""
    lines = text.splitlines(keepends=True)
    starts = [sum(len(line.encode()) for line in lines[:number]) for number in range(len(lines) + 1)]
    raw = text.encode()

    def place(line: int, column: int) -> int:
        return starts[line - 1] + column

    def changed(start: int, end: int, new: str) -> str:
        return (raw[:start] + new.encode() + raw[end:]).decode()

    tree = ast.parse(text)
    # What a decorator says (frozen, slots, sizes of caches) is nothing that a test would notice.
    decorators = (one for node in ast.walk(tree) for one in getattr(node, "decorator_list", ()))
    passed_over = {id(node) for one in decorators for node in ast.walk(one)}
    for node in ast.walk(tree):
        if id(node) in passed_over:
            continue
        for left, right, operator in _operators(node):
            start = place(left.end_lineno or 0, left.end_col_offset or 0)
            end = place(right.lineno, right.col_offset)
            between = raw[start:end].decode()
            new, old = _SWAPS.get(type(operator)), between.strip("() \n")
            if new and old:
                yield left.lineno, f"{old} → {new}", changed(start, end, between.replace(old, new))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            start = place(node.lineno, node.col_offset)
            yield node.lineno, "not → ", changed(start, start + 4, "")
        elif isinstance(node, ast.Constant) and type(node.value) in {int, bool}:
            new = repr(not node.value if isinstance(node.value, bool) else node.value + 1)
            start, end = place(node.lineno, node.col_offset), place(node.end_lineno or 0, node.end_col_offset or 0)
            yield node.lineno, f"{raw[start:end].decode()} → {new}", changed(start, end, new)


def _operators(node: ast.AST) -> list[tuple[ast.expr, ast.expr, ast.AST]]:
    """What stands on both sides of each operator of an expression, and the operator."""
    if isinstance(node, ast.Compare):
        return list(zip([node.left, *node.comparators], node.comparators, node.ops, strict=False))
    if isinstance(node, ast.BinOp):
        return [(node.left, node.right, node.op)]
    if isinstance(node, ast.BoolOp):
        return [(left, right, node.op) for left, right in itertools.pairwise(node.values)]
    return []


def compiles(text: str) -> bool:
    """Whether a changed text is a program at all."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def is_killed(package: Path, tests: Path) -> bool:
    """Whether the tests fail in a child that imports this copy of the package; one that hangs is killed, too."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.path.insert(0, str(package))
    os.environ["PYTHONPATH"] = str(package)
    os._exit(pytest.main(["-xq", "-p", "no:cacheprovider", "--timeout", "120", "-k", SLOW, str(tests)]) != 0)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room")
    parser.add_argument("--mutants", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    modules = sorted((ROOT / "src" / "microflow" / chosen.room).rglob("*.py"))
    every = [
        (module, line, what, text)
        for module in modules
        for line, what, text in mutants(module.read_text("utf-8"))
        if compiles(text)
    ]
    sample = random.Random(chosen.seed).sample(every, min(chosen.mutants, len(every)))
    tests, killed = ROOT / "tests" / chosen.room, 0
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "src"
        shutil.copytree(ROOT / "src", package)
        if is_killed(package, tests):
            sys.exit("the tests fail without any change")
        for module, line, what, text in sample:
            copy = package / module.relative_to(ROOT / "src")
            original = copy.read_text("utf-8")
            copy.write_text(text, "utf-8")
            dead = is_killed(package, tests)
            killed += dead
            copy.write_text(original, "utf-8")
            if not dead:
                print(f"survives: {module.relative_to(ROOT)}:{line}: {what}", flush=True)
        print(f"{killed} of {len(sample)} killed ({killed / len(sample):.0%}), of {len(every)} that could be made")


if __name__ == "__main__":
    main()
