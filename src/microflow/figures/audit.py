"""The audit: every sentence with a number in what we publish, and the evidence that it rests on.

A claim is a sentence that states a number of ours. Its evidence is one of three: the experiment whose generated answer
or table it stands in (or whose `Claim` it matches, or whose number it embeds as a LaTeX macro), a command whose output
it is held against, or the generated block of peers. Names that contain digits (versions, articles, ciphers, standards)
are no numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from microflow.errors import InputError
from microflow.experiments import all_experiments
from microflow.figures.catalogue import MARKED, macro, readings
from microflow.lab.experiment import Claim, Experiment
from microflow.lab.report import Answer, Table, design
from microflow.lab.results import IncompleteError
from microflow.store.experiments import ExperimentStore

__all__ = ["COMMANDS", "Audited", "audited", "documents", "page", "sentences"]

#: Sentences that rest on no experiment, but on what a command prints or a test asserts.
COMMANDS = (
    Claim(r"at most 1,000 rows|two dozen at once|thousand rows", "pytest tests/engine"),
    Claim(r"mode 0[0-7]{3}", "pytest tests/pipeline tests/store"),
    Claim(r"groups of at least \d+ alike", "microflow verify"),
    Claim(r"SUITE=k_anonymity", "make bench SUITE=k_anonymity"),
)
#: Digits that belong to a name, a version, a law, a standard or a path.
_NAMES = re.compile(
    r"`[^`]*`|\]\([^)]*\)|https?://\S+|RQ-?\d|Art\.? ?\d+\S*|GDPR \S*\d\S*|\d+ CFR \S+|AES-\d+-\w+|"
    r"(Python|Java|PostgreSQL|Storm|Spark|Apache|Apache License|Arrow|ARX|[Vv]ersion|Kafka|UTF|SHA|HMAC-SHA|AES|CMAC|"
    r"ISO|RFC|NIST SP|DSS|CC BY|v)[- ]?\d[\w.]*( and \d[\w.]*)?|"
    r"[A-Z]{3,}-\d+|[A-Za-z_]+\d+\w*|\b(19|20)\d\d\b|[kεlt] ?= ?[\d., and]+|\b(512|256|128)[- ]bits?\b|95 %",
    re.ASCII,
)
#: A figure, or a number that is spelled out and is more than fingers count.
_NUMBER = re.compile(
    r"\d|\b(eleven|twelve|thirteen|fourteen|fifteen|twenty|dozen|hundred|thousand|million)\b", re.IGNORECASE
)
_NO_PROSE = re.compile(r"```.*?```|<!--.*?-->|^#.*?$|!\[[^\]]*\]\([^)]*\)", re.DOTALL | re.MULTILINE)
_MACRO = re.compile(r"\\(mf[A-Za-z]+)")
_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z*`\[])")


@dataclass(frozen=True, slots=True)
class Audited:
    """A claim: its document and words, the trials it rests on, and the command that makes them again."""

    where: str
    claim: str
    evidence: str
    trials: str = ""
    interval: str = ""
    command: str = ""


def documents(root: Path) -> list[Path]:
    """Published documents: README, results, the pages of the documentation, the paper.

    Raises:
        InputError: this is not the repository's root.
    """
    if not (root / "README.md").is_file():
        raise InputError("no such document", path=root / "README.md", hint="run this from the repository's root")
    pages = sorted((root / "docs").glob("*.md"))
    return [root / "README.md", *filter(Path.is_file, [root / "RESULTS.md"]), *pages, root / "figures" / "paper.tex"]


def audited(paths: Sequence[Path], profile: str, store: ExperimentStore) -> list[Audited]:
    """Every claim of these documents; ``evidence`` is empty where there is none.

    Raises:
        InputError: a document is not there.
    """
    sources = _Sources(profile, store)
    found: list[Audited] = []
    for path in paths:
        if not path.is_file():
            raise InputError("no such document", path=path, hint="run this from the folder that holds README.md")
        text = path.read_text("utf-8")
        claims = _of_paper(text, sources) if path.suffix == ".tex" else _of_markdown(text, sources)
        found += [Audited(path.name, *claim) for claim in claims]
    return found


def page(found: Sequence[Audited]) -> str:
    """The claims as a Markdown page."""
    rows = [
        [claim.claim, claim.where, claim.evidence or "NONE", claim.trials, claim.interval, claim.command]
        for claim in found
    ]
    columns = ["claim", "where", "rests on", "trials", "interval", "command"]
    caption = f"{len(found)} claims; written by `microflow experiments audit`."
    return "# What each claim rests on\n\n" + Table(columns, rows, caption, prose=True).to_markdown()


def sentences(text: str) -> Iterator[str]:
    """Sentences of prose that state a number: without code blocks, headings, images and generated blocks."""
    prose = _NO_PROSE.sub("", MARKED.sub("", text))
    for paragraph in re.split(r"\n\s*\n|\n(?=[-|*] )", prose):
        for sentence in _SENTENCE.split(" ".join(paragraph.split())):
            if _NUMBER.search(_NAMES.sub("", sentence)):
                yield sentence


class _Sources:
    """Evidence in the database: answers by experiment, and the experiment of every number's macro."""

    def __init__(self, profile: str, store: ExperimentStore) -> None:
        self.command = f"make experiments PROFILE={profile}"
        self.answers: list[tuple[Experiment, Answer]] = []
        self._design: dict[str, str] = {}
        self._by_macro: dict[str, Experiment] = {}
        for experiment, found in readings(profile, store):
            if isinstance(found, IncompleteError):
                continue
            answer = experiment.answer(found).of(profile)
            self.answers.append((experiment, answer))
            self._design[experiment.name] = design(found)
            self._by_macro |= {macro(name): experiment for name in answer.numbers}
            if experiment.plot is not None:
                self._by_macro[macro(f"caption {experiment.plot.name}")] = experiment

    def row(self, claim: str, experiment: Experiment) -> tuple[str, str, str, str, str]:
        """The evidence of an experiment, if the database holds it."""
        held = self._design.get(experiment.name, "")
        interval = "Wilson, 95 %" if experiment.name == "detection" else "over blocks, 95 %"
        return claim, experiment.name if held else "", held, interval, f"{self.command} ({experiment.notebook})"

    def of_macros(self, sentence: str) -> list[Experiment | None]:
        """The experiments of the numbers that a LaTeX sentence embeds; none for a macro that nothing defines."""
        found = {name: self._by_macro.get(name) for name in _MACRO.findall(sentence)}
        by_name = {name if experiment is None else experiment.name: experiment for name, experiment in found.items()}
        return list(by_name.values())


def _of_markdown(text: str, sources: _Sources) -> Iterator[tuple[str, ...]]:
    blocks = {block[1] for block in MARKED.finditer(text)}
    if "results" in blocks:
        for experiment, answer in sources.answers:
            yield sources.row(answer.sentence, experiment)
            yield from (sources.row(f"table {name}", experiment) for name in experiment.tables)
    if "headlines" in blocks:
        for experiment, answer in sources.answers:
            if answer.headline:
                yield sources.row(answer.headline, experiment)
    if "peers" in blocks:
        yield "table beside other tools", "data/peers.json", "", "bootstrap over rounds, 95 %", "make peers"
    for sentence in sentences(text):
        yield _typed(sentence, sources)


def _typed(sentence: str, sources: _Sources) -> tuple[str, ...]:
    """A sentence that a person wrote: an experiment claims it, or a command."""
    for experiment in all_experiments():
        if any(re.search(claim.pattern, sentence) for claim in experiment.claims):
            return sources.row(sentence, experiment)
    for claim in COMMANDS:
        if re.search(claim.pattern, sentence):
            return sentence, "output of a command", "", "", claim.command
    return sentence, "", "", "", ""


def _of_paper(text: str, sources: _Sources) -> Iterator[tuple[str, ...]]:
    body = re.sub(r"(?<!\\)%.*$", "", text.partition(r"\begin{document}")[2], flags=re.MULTILINE)
    body = re.sub(r"\\(ref|input|includegraphics|IfFileExists|label)\{[^}]*\}", "", body)
    for sentence in _SENTENCE.split(" ".join(body.split())):
        if used := sources.of_macros(sentence):
            for experiment in used:
                yield sources.row(sentence, experiment) if experiment else (sentence, "", "", "", "")
        elif _NUMBER.search(_NAMES.sub("", re.sub(r"\$[^$]*\$", "", sentence))):
            yield _typed(sentence, sources)
