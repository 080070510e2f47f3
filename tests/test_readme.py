"""The commands of README, documentation and help texts work as they are written there."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from microflow.cli import cli

if TYPE_CHECKING:
    from microflow.topics.broker import Broker

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "data" / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
_BLOCK = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)


def commands(page: Path, section: str = "") -> list[str]:
    """Lines of the shell blocks of a page, or of one section; a line that ends with a backslash includes the next."""
    text = page.read_text("utf-8")
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def mentioned(page: Path) -> list[str]:
    """Commands in the running text of a page."""
    return re.findall(r"`((?:make|microflow)(?: [^`]+)?)`", _BLOCK.sub("", page.read_text("utf-8")))


def patients(path: Path) -> None:
    """Write a file of invented patients, with names, groups that are large enough, and notes."""
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
    found = [*commands(README, "Your own file"), *commands(ROOT / "docs" / "own-file.md")]
    assert sum(line.startswith("microflow") for line in found) == len(found) >= 5
    patients(tmp_path / "patients.csv")
    for line in dict.fromkeys(found):
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env={**os.environ, "PATH": PROGRAMS}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    released = (tmp_path / "safe.csv").read_text("utf-8")
    assert len(released.splitlines()) == 1_201
    assert not re.search("Lee|Roe|Poe", released)


def test_the_python_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first example runs as it is written, and its release is 5-anonymous."""
    from microflow.datasets import write_dataset

    write_dataset("healthcare", tmp_path / "patients.csv", 2_000, 1)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    names: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    assert names["metrics"]["method"]["method"] == "k_anonymity"
    assert names["metrics"]["verdict"]["achieved"]["achieved_k"] >= 5
    documented = re.findall(r"`(\w+)`", page.rpartition("has the keys")[2])
    assert {"job_id", "verdict"} <= set(documented) - {"null"} <= {*names["metrics"]}


@pytest.mark.parametrize("line", [line for line in [*commands(README), *mentioned(README)] if line.startswith("make")])
def test_make_accepts_what_the_readme_says(line: str) -> None:
    """Targets and variables exist; the recipes are expanded but not run: they take minutes."""
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    said = subprocess.run(
        ["make", "--dry-run", *shlex.split(line, comments=True)[1:]],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr


@pytest.mark.database
def test_the_readme_plans_the_experiments(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`microflow experiments plan` runs as it is written, and says how long the profile for print takes."""
    (line,) = [line for line in mentioned(README) if line.startswith("microflow experiments")]
    monkeypatch.setenv("DATABASE_URL", database_url)
    done = CliRunner().invoke(cli, line.split()[1:], catch_exceptions=False)
    assert done.exit_code == 0
    assert "rq1-throughput" in done.output


@pytest.mark.timeout(200)
def test_the_stream_of_the_readme(broker: Broker, tmp_path: Path) -> None:
    """From topic to topic as it is written, but for the address of the broker; SIGTERM ends it with status 0."""
    from microflow.datasets import generate
    from microflow.topics.kafka import KafkaReader, KafkaWriter, create_topic

    (line,) = [line for line in commands(README) if line.startswith("microflow stream")]
    shipped = resources.files("microflow.descriptors") / "healthcare.yaml"
    (tmp_path / "visits.yaml").write_text(shipped.read_text("utf-8"), "utf-8")
    for topic in ("visits", "visits.dead", "safe"):
        create_topic(broker.address, topic)
    records = [row for block in generate("healthcare", 40, 1) for row in block.rows.to_pylist()]
    with KafkaWriter(broker.address, "visits") as writer:
        writer.send([(b"%d" % number, json.dumps(row).encode()) for number, row in enumerate(records)])
    command = shlex.split(line.replace("host:9092", broker.address))
    environment = {**os.environ, "PATH": PROGRAMS, "MICROFLOW_TOKEN_KEY": "07" * 32}
    released: list[bytes] = []
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            with KafkaReader(broker.address, "safe") as reader:
                deadline = time.monotonic() + 120
                while len(released) < 35 and time.monotonic() < deadline and process.poll() is None:
                    released += [message.value for message in reader.poll(100, 1.0)]
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, (tmp_path / "log").read_text("utf-8")
        finally:
            process.kill()
    assert len(released) >= 35
    persons = {row["patient_ref"] for row in records if row["patient_ref"]}
    assert len(persons) > 20
    assert not [text for text in released if any(person.encode() in text for person in persons)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that need a broker or a cluster are not run here: each names a command and options that exist."""
    monkeypatch.chdir(ROOT)
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for line in commands(page):
        for words in _simple(line):
            if words[0] == "make":
                assert {word for word in words[1:] if "=" not in word} <= set(targets), line
            elif Path(words[0]).name == "microflow":
                _parse(words[1:])
    for line in mentioned(page):
        words = line.split()[1:]
        if line.startswith("make"):
            assert {word for word in words if "=" not in word} <= set(targets), line
        elif words and words[0].isidentifier() and words[0].islower():
            assert cli.get_command(click.Context(cli), words[0]) is not None, line


def leaves(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that is no group, and the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


LEAVES = dict(leaves())


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_is_documented(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """With an example on the page of commands, and with one or more in its help, all of which click accepts."""
    monkeypatch.chdir(ROOT)
    page = [called[1:] for line in commands(ROOT / "docs" / "commands.md") for called in _simple(line)]
    assert any(tuple(called[: len(words)]) == words for called in page)
    examples = [line for line in (LEAVES[words].help or "").splitlines() if line.startswith("  ") and "micro" in line]
    called = [called[1:] for line in examples for called in _simple(line) if called[0] == "microflow"]
    assert any(tuple(words_called[: len(words)]) == words for words_called in called)
    for words_called in called:
        try:
            _parse(words_called)
        except click.BadParameter as error:
            assert "does not exist" in error.message  # noqa: PT017 - a file of the example


def _simple(line: str) -> list[list[str]]:
    """Commands of a line as words, without assignments, redirections and comments."""
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
    """Check that click accepts the words."""
    command: click.Command = cli
    context = click.Context(cli, info_name="microflow")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, command_found, words = command.resolve_command(context, words)
        assert command_found is not None
        command = command_found
        context = click.Context(command, info_name=name, parent=context)
    if words and not isinstance(command, click.Group):
        command.make_context(context.info_name, words, parent=context.parent)
