"""Presidio's pattern recognisers, called directly: what is left of it without its language model, at its fastest.

An optional peer (``pip install 'microflow[peers]'``); without it the benchmark has an arm less.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec

from microflow.errors import SetupError
from microflow.schema import Record

__all__ = ["is_installed", "presidio_search"]


def is_installed() -> bool:
    """Whether the peer can be measured."""
    return find_spec("presidio_analyzer") is not None


def presidio_search(field: str, mrn: str) -> Callable[[Record], int]:
    """A function that tells how many identifiers Presidio finds in a free text field of a record.

    It looks for what the policy looks for: e-mail, SSN, phone, card, IP, URL, date, and MRN by the pattern ``mrn``.

    Raises:
        SetupError: Presidio is not installed.
    """
    if not is_installed():
        raise SetupError("Presidio is not installed", hint="pip install 'microflow[peers]'")
    from presidio_analyzer import Pattern, PatternRecognizer
    from presidio_analyzer import predefined_recognizers as known

    # Where there is no network, its list of domains comes from the package, and 200 lines of log say so.
    logging.getLogger("tldextract").setLevel(logging.CRITICAL)
    recognisers = [
        known.EmailRecognizer(),
        known.UsSsnRecognizer(),
        known.PhoneRecognizer(),
        known.CreditCardRecognizer(),
        known.IpRecognizer(),
        known.UrlRecognizer(),
        known.DateRecognizer(),
        PatternRecognizer("MRN", patterns=[Pattern("mrn", mrn, 0.5)]),
    ]

    def search(record: Record) -> int:
        text = record[field]
        if not isinstance(text, str):
            return 0
        return sum(len(one.analyze(text, one.supported_entities, None) or ()) for one in recognisers)

    return search
