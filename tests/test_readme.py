"""The commands of README and docs, as they are written there, in a folder with nothing but the file they speak of."""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from microflow.cli import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)


def commands(page: Path, section: str = "") -> list[str]:
    """The lines of a page's shell blocks, joined where one goes on; of one section, or of all."""
    text = page.read_text("utf-8")
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def patients(path: Path) -> None:
    """A made-up file with names, groups that are large enough, and notes."""
    rng = random.Random(1)
    lines = ["Id,Name,Sex,Marital,County,Diagnosis,Notes"]
    for n in range(1_200):
        sex, marital, county = rng.choice("FM"), rng.choice(["S", "M", "D"]), rng.choice(["Kent", "Essex", "Devon"])
        name = f"{rng.choice(['Ann', 'Bob', 'Cleo', 'Dan'])} {rng.choice(['Lee', 'Roe', 'Poe'])}"
        note = f'"Mrs {name} was seen, and sent home in a better state than she came"'
        lines.append(f"p-{n:05},{name},{sex},{marital},{county},{rng.choice(['flu', 'cold', 'gout'])},{note}")
    path.write_text("\n".join(lines) + "\n", "utf-8")


@pytest.mark.timeout(600)
def test_an_own_file(tmp_path: Path) -> None:
    """Described, advised on, released, verified and assessed, without an editor; no name is in what comes out."""
    found = [*commands(PAGES[0], "Your own file"), *commands(ROOT / "docs" / "own-file.md")]
    assert sum(line.startswith("microflow") for line in found) == len(found) >= 5
    patients(tmp_path / "patients.csv")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in dict.fromkeys(found):
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env={**os.environ, "PATH": programs}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    released = (tmp_path / "safe.csv").read_text("utf-8")
    assert len(released.splitlines()) == 1_201
    assert not re.search("Lee|Roe|Poe", released)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one(page: Path) -> None:
    """Commands that need a broker or a cluster are not run here: each names a command and options that there are."""
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for line in commands(page):
        for words in _simple(line):
            if words[0] == "make":
                assert {word for word in words[1:] if "=" not in word} <= set(targets), line
            elif Path(words[0]).name == "microflow":
                _parse(words[1:])


def _simple(line: str) -> list[list[str]]:
    """The commands of a line, without what is assigned before and redirected behind; a comment ends it."""
    found = []
    for part in re.split(r"\||&&|;", line):
        words = shlex.split(part.replace("(", " ").replace(")", " "), comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words.pop(0)
        words = words[: next((place for place, word in enumerate(words) if word[:1] in "<>&" and word), len(words))]
        if words:
            found.append(words)
    return found


def _parse(words: list[str]) -> None:
    """See that click accepts the words."""
    command: click.Command = cli
    context = click.Context(cli, info_name="microflow")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, command_found, words = command.resolve_command(context, words)
        assert command_found is not None
        command = command_found
        context = click.Context(command, info_name=name, parent=context)
    if words and not isinstance(command, click.Group):
        command.make_context(context.info_name, words, parent=context.parent)
