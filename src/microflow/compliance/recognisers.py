"""Names in prose by a language model: an optional addition to the patterns and the record's own identifiers.

Off unless a policy says ``recogniser: presidio`` or ``recogniser: spacy:MODEL``. What it finds breaks the rules on
``contains: name`` (persons) and ``contains: address`` (places). A model guesses: it misses names and finds some where
none is; both compiled checks ask it text by text, so they guess alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

from microflow.compliance.scanner import Span
from microflow.errors import SetupError

__all__ = ["Recogniser", "load_recogniser"]

_PATTERN_OF = {"PERSON": "name", "PER": "name", "GPE": "address", "LOC": "address", "LOCATION": "address"}


class Recogniser(Protocol):
    """Finds persons and places in a text."""

    def spans(self, text: str) -> list[Span]:
        """Pattern (``name`` or ``address``), start and end (code points), by start."""
        ...


class _ByModel:
    """A model that gives labelled entities, as a recogniser."""

    def __init__(self, entities: Callable[[str], list[tuple[str, int, int]]]) -> None:
        self._entities = entities

    def spans(self, text: str) -> list[Span]:
        found = ((_PATTERN_OF.get(label), start, end) for label, start, end in self._entities(text))
        return sorted(((name, start, end) for name, start, end in found if name), key=lambda span: span[1:])


@lru_cache(maxsize=4)
def load_recogniser(name: str) -> Recogniser:
    """The recogniser that a policy names; loaded once in each process.

    Raises:
        SetupError: there is none of this name, or its package or model is not installed.
    """
    kind, _, model = name.partition(":")
    if kind == "presidio" and not model:
        return _ByModel(_presidio())
    if kind == "spacy" and model:
        return _ByModel(_spacy(model))
    raise SetupError("the policy's recogniser is unknown", hint="write 'presidio' or 'spacy:MODEL'")


def _imported(package: str, hint: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise SetupError(f"the policy's recogniser needs {package}, which is not installed", hint=hint) from error


def _presidio() -> Callable[[str], list[tuple[str, int, int]]]:
    package = _imported("presidio_analyzer", "pip install 'microflow[ner]' and a spaCy model, or take the line out")
    engine = package.AnalyzerEngine()

    def entities(text: str) -> list[tuple[str, int, int]]:
        found = engine.analyze(text=text, language="en", entities=["PERSON", "LOCATION"])
        return [(one.entity_type, one.start, one.end) for one in found]

    return entities


def _spacy(model: str) -> Callable[[str], list[tuple[str, int, int]]]:
    package = _imported("spacy", "pip install 'microflow[ner]' and the model, or take the line out")
    try:
        pipeline = package.load(model)
    except OSError as error:
        raise SetupError(f"spaCy has no model {model!r}", hint=f"python -m spacy download {model}") from error
    return lambda text: [(one.label_, one.start_char, one.end_char) for one in pipeline(text).ents]
