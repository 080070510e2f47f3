"""Finding identifiers in one text, by patterns or by a language model: both compiled checks ask the same function.

A model is optional: off unless a policy says ``recogniser: presidio`` or ``recogniser: spacy:MODEL``. What it finds
breaks the rules on ``contains: name`` (persons) and ``contains: address`` (places). It guesses: it misses names and
finds some where none is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from importlib import import_module
from itertools import accumulate, groupby
from typing import Any

import polars as pl

from microflow.compliance.patterns import LEAD, PATTERNS, PLACES, Pattern
from microflow.compliance.spelling import RESPELLED, SUSPICIOUS, bracketed_mark, plain, with_marks
from microflow.errors import SetupError

__all__ = ["Recogniser", "Span", "TextScanner", "has_no_clue", "load_recogniser"]

#: Name of the pattern, start and end (code points).
Span = tuple[str, int, int]
#: Finds persons (``name``) and places (``address``) in a text, by start.
Recogniser = Callable[[str], list[Span]]
Search = Callable[[str, int], re.Match[str] | None]

#: One of these is in every identifier that a pattern finds.
_CLUE = r"[0-9@]|://|[Ww]{2}[0-9]{0,2}\.|\.[A-Za-z]{2,3}/"
#: The same, from a class of characters on, to the next of which Python's engine skips quickly.
_first_clue = re.compile(r"[0-9@:Ww.](?:(?<=[0-9@])|(?<=:)//|(?<=[Ww])[Ww][0-9]{0,2}\.|(?<=\.)[A-Za-z]{2,3}/)").search
#: A clue has one of these characters however it is spelled, or one of the words that `has_no_clue` asks for.
_first_odd = re.compile(r"[0-9@/&(\[{<\x80-\xbf\u0250-\U0010ffff]").search
_DIGITS = frozenset("0123456789")
#: So many digits in a row are as good as more.
_MANY = 20
_run_of_digits = re.compile("[0-9]+").match
#: Stands between texts that are searched as one; no pattern and no look around a match crosses it.
_BETWEEN = "\n\x00\n"


def has_no_clue(text: str) -> bool:
    """True of most prose, at a glance, and only of texts in which neither a pattern nor a digit is.

    >>> has_no_clue("Seen today (no fever)."), has_no_clue("anna at x dot org"), has_no_clue("room ４")
    (True, False, False)
    """
    odd = _first_odd(text)
    while odd is not None and odd[0] in "([{<" and bracketed_mark(text, odd.start()) is None:
        odd = _first_odd(text, odd.end())
    return odd is None and not ("w." in text or "W." in text or "dot" in text or "DOT" in text)


class TextScanner:
    """Scanner for the spans of several patterns in texts, from left to right, without overlap.

    A text is searched as `microflow.compliance.spelling.plain` spells it, once, with the union of all patterns, from
    shortly before its first digit or mark (``@``, ``://``, ``www.``, ``.org/``); one without either is not searched.
    """

    def __init__(self, names: Iterable[str], added: Sequence[Pattern] = ()) -> None:
        """Patterns of these names, and others, which win where they begin at the same place."""
        wanted = set(names)
        patterns = [*added, *(pattern for pattern in PATTERNS if pattern.name in wanted)]
        self._search, self._proposed = _union(patterns)
        hints = dict.fromkeys(pattern.hint for pattern in patterns)
        # Words take longer to look for than numbers, so they are looked for where no number is a hint.
        self._of_numbers, self._of_words = (
            "|".join(hint for hint in hints if ("(?i:" in hint) is words) or "[^\\s\\S]" for words in (False, True)
        )

    def bears_clue(self, text: pl.Expr, *, any_digit: bool = True) -> pl.Expr:
        """True of every text in which there is something to find, and of few others; or of every text with a digit."""
        return text.str.contains(
            f"{_CLUE}|{SUSPICIOUS}" if any_digit else f"{self._of_numbers}|{self._of_words}|{SUSPICIOUS}|{RESPELLED}"
        )

    def spans(self, text: str) -> list[Span]:
        """Every finding, by start."""
        spelled = plain(text)
        clue = _first_clue(spelled.text)
        if clue is None:
            return []
        found = self._spans(spelled.text, max(clue.start() - LEAD, 0))
        return [(name, *spelled.original(start, end)) for name, start, end in found] if spelled.starts else found

    def spans_in(self, texts: Sequence[str]) -> Iterator[tuple[int, Span]]:
        """Findings in many texts at once, which is faster: index of the text and the span; in no order."""
        written = pl.Series(texts, dtype=pl.String)
        odd = written.str.contains(RESPELLED)
        spelled = {index: plain(texts[index]) for index in odd.arg_true().to_list()}
        hinted = odd | written.str.contains(self._of_numbers)
        others = (~hinted).arg_true()
        hinted[others] = written.gather(others).str.contains(self._of_words)
        at = hinted.arg_true().to_list()
        searched = [spelled[index].text if index in spelled else texts[index] for index in at]
        ends = list(accumulate(len(text) + len(_BETWEEN) for text in searched))
        for name, start, end in self._spans(with_marks(_BETWEEN.join(searched)), 0):
            place = bisect_right(ends, start)
            begin = ends[place - 1] if place else 0
            index, span = at[place], (start - begin, end - begin)
            yield index, (name, *(spelled[index].original(*span) if index in spelled else span))

    def _spans(self, text: str, position: int) -> list[Span]:
        search, proposed = self._search, self._proposed
        found: list[Span] = []
        while (match := search(text, position)) is not None:
            start = match.start()
            pattern, others = proposed[(match.lastindex or 0) - 1]
            length = pattern.measure(match)
            if length and not (pattern.before or pattern.behind):  # nearly always
                position = start + length
                found.append((pattern.name, start, position))
                continue
            span = _span(pattern, match, length, found) or _other_span(others, text, start, found)
            position = span[2] if span else start + 1
            if span is not None:
                while found and found[-1][1] >= span[1]:
                    found.pop()  # it lies inside
                found.append(span)
        return found


class _Others(dict[int, list[tuple[Pattern, Search]]]):
    """The patterns that may be right where another was a look-alike, by how many digits follow each other there.

    They are compiled when a number first calls for them, since most jobs need few.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        super().__init__()
        self._patterns = patterns

    def __missing__(self, run: int) -> list[tuple[Pattern, Search]]:
        found = self[run] = [(other, _matcher(other.expression)) for other in self._patterns if _may_be(other, run)]
        return found


@cache
def _matcher(expression: str) -> Search:
    return re.compile(expression, re.ASCII).match


def _other_span(others: _Others, text: str, start: int, found: list[Span]) -> Span | None:
    """The union proposes one pattern a place; when that was a look-alike, another may still be right."""
    run = _run_of_digits(text, start, start + _MANY)
    for pattern, matches in others[run.end() - start if run else 0]:
        match = matches(text, start)
        if match is not None and (span := _span(pattern, match, pattern.measure(match), found)):
            return span
    return None


def _span(pattern: Pattern, match: re.Match[str], length: int, found: list[Span]) -> Span | None:
    """The finding that a match of this measure is, if it is one; it may hold others, but not cut one."""
    start = begin = match.start()
    if not length:
        return None
    if pattern.before or pattern.behind:
        begin = pattern.begin(match.string, start)
        begin = next((max(begin, end) for _, first, end in reversed(found) if first < begin), begin)
        if begin == start:
            return None
    return pattern.name, begin, start + length


def _union(patterns: Sequence[Pattern]) -> tuple[Search, list[tuple[Pattern, _Others]]]:
    """The search for the first of several patterns, and what each group of it proposes.

    It begins with a class of characters, to the next of which Python's engine skips quickly. What may stand behind each
    of them is looked up by a look back at it: first whether a number or a word begins there, which most fail at once;
    then by how many digits follow each other, so that few patterns are tried at a number.
    """
    if not patterns:
        return re.compile("(?!)").search, []
    proposed: list[tuple[Pattern, _Others]] = []
    ready = [
        (pattern, _Others([other for other in patterns[place + 1 :] if other.starts & pattern.starts]))
        for place, pattern in enumerate(patterns)
    ]

    def either(chosen: Sequence[Pattern]) -> str:
        """The patterns each in a group; neighbours that begin alike behind one look back."""
        groups = []
        for first, alike in groupby(chosen, lambda pattern: pattern.first):
            here = list(alike)
            proposed.extend(ready[patterns.index(pattern)] for pattern in here)
            groups.append(f"(?<=[{first}])(?:{'|'.join(f'({pattern.rest})' for pattern in here)})")
        return f"(?:{'|'.join(groups) or '(?!)'})"

    def at(place: str) -> list[Pattern]:
        return [pattern for pattern in patterns if pattern.at == place]

    # Groups are numbered as they are written here.
    letters = f"{PLACES['letters']}{either(at('letters'))}"
    numbers = [pattern for pattern in at("word") if pattern.starts & _DIGITS]
    lengths = [[pattern for pattern in numbers if _may_be(pattern, size)] for size in range(1, _MANY + 1)]
    by_length = []
    for tried, sizes in groupby(range(_MANY), lambda more: lengths[more]):
        least, *_, most = [*sizes] * 2
        behind = f"(?=[0-9]{{{least},{'' if most == _MANY - 1 else most}}}(?![0-9]))"
        by_length.append(f"{behind}{either(tried)}")
    words = either([pattern for pattern in at("word") if pattern.starts - _DIGITS])
    number = rf"(?<=[0-9])(?<![0-9].)(?:{letters}|{PLACES['word']}(?:{'|'.join(by_length)}))"
    firsts = "".join(dict.fromkeys(pattern.first for pattern in patterns))
    union = rf"[{firsts}](?:{number}|(?<=\b[A-Za-z]){words}|{PLACES['mark']}{either(at('mark'))})"
    return re.compile(union, re.ASCII).search, proposed


def _may_be(pattern: Pattern, digits: int) -> bool:
    """True if it may begin where so many digits follow each other; it says nothing of other places."""
    return not digits or not pattern.digits or digits in pattern.digits


_PATTERN_OF_LABEL = {"PERSON": "name", "PER": "name", "GPE": "address", "LOC": "address", "LOCATION": "address"}


@lru_cache(maxsize=4)
def load_recogniser(name: str) -> Recogniser:
    """The recogniser that a policy names; loaded once in each process.

    Raises:
        SetupError: there is none of this name, or its package or model is not installed.
    """
    kind, _, model = name.partition(":")
    if kind == "presidio" and not model:
        labelled = _presidio()
    elif kind == "spacy" and model:
        labelled = _spacy(model)
    else:
        raise SetupError("the policy's recogniser is unknown", hint="write 'presidio' or 'spacy:MODEL'")

    def spans(text: str) -> list[Span]:
        found = ((_PATTERN_OF_LABEL.get(label), start, end) for label, start, end in labelled(text))
        return sorted(((name, start, end) for name, start, end in found if name), key=lambda span: span[1:])

    return spans


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        hint = f"pip install {package.replace('_', '-')} and a spaCy model, or remove the policy's recogniser"
        raise SetupError(f"the policy's recogniser needs {package}, which is not installed", hint=hint) from error


def _presidio() -> Recogniser:
    engine = _imported("presidio_analyzer").AnalyzerEngine()

    def entities(text: str) -> list[Span]:
        found = engine.analyze(text=text, language="en", entities=["PERSON", "LOCATION"])
        return [(result.entity_type, result.start, result.end) for result in found]

    return entities


def _spacy(model: str) -> Recogniser:
    package = _imported("spacy")
    try:
        pipeline = package.load(model)
    except OSError as error:
        raise SetupError(f"spaCy has no model {model!r}", hint=f"python -m spacy download {model}") from error
    return lambda text: [(entity.label_, entity.start_char, entity.end_char) for entity in pipeline(text).ents]
