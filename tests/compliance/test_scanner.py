"""What is found in free text, where, and what is left alone."""

from __future__ import annotations

import re
import time
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.compliance import RecordChecker, RecordRemedy, load_policy
from microflow.compliance.patterns import BEHIND, PATTERN_NAMES, PATTERNS, Pattern
from microflow.compliance.scanner import TextScanner
from microflow.compliance.spelling import plain
from microflow.descriptors import load_schema

EVERYTHING = TextScanner(PATTERN_NAMES)

FOUND = [
    ("email", "mail ", "jörg.müller+x@bücher.example", ", thanks"),
    ("email", "“", "a@b.io", "”"),
    ("email", "<", "anna.o'neill@example.org"[7:], ">"),
    ("url", "see ", "https://example.org/a?b=1", ")."),
    ("url", "see ", "www.example.org", "."),
    ("iban", "to ", "IE29 AIBK 9311 5212 3456 78", " USED"),
    ("iban", "to ", "GB82WEST12345698765432", "."),
    ("card", "paid ", "4111 1111 1111 1111", " 123"),
    ("card", "12 ", "4111111111111111", ""),
    ("card", "", "3782 822463 10005", ""),
    ("card", "", "5555-5555-5555-4444", ""),
    ("ssn", "ssn ", "123-45-6789", ""),
    ("ssn", "é", "123 45 6789", "\u202e"),
    ("mrn", "", "MRN: 00123456", ""),
    ("ip", "IP:", "10.1.2.3", ":8080"),
    ("ip", "from ", "10.1.2.3", "."),
    ("ip", "host ", "2001:db8::8a2e:370:7334", ""),
    ("ip", "[", "::1", "]"),
    ("phone", "call ", "(415) 555-0123", ""),
    ("phone", "", "+353 87 123 4567", ""),
    ("phone", "", "+14155550123", "."),
    ("phone", "", "1-415-555-0123", ""),
    ("phone", "", "+1 (415) 555.0123", ""),
    ("date", "on ", "2021-03-04T10:00", ""),
    ("date", "", "31/12/2021", ""),
    ("date", "", "4 March 2021", ""),
    ("date", "", "Sept 4, 2021", ""),
]

#: Other members of the same kinds: other countries, separators, scripts and spellings; each alone in its text.
ALIKE = [
    *(
        ("phone", number)
        for number in (
            "+33 6 12 34 56 78", "+39 06 1234 5678", "+91 98765 43210", "+86 138 0013 8000", "+55 (11) 91234-5678",
            "+7 (912) 345-67-89", "+52 1 55 1234 5678", "+44(0)20 7946 0958", "0044 20 7946 0958",
            "011 44 20 7946 0958",
            "+49 (0)30 / 12345678", "＋44 7911 123456", "5192362723x341", "519.236.2723#341", "519-236-2723;ext=341",
            "519-236-2723 (x341)", "519_236_2723",
        )
    ),
    *(("ssn", mark.join(("123", "45", "6789"))) for mark in "\u2011\u00a0\u202f"),
    *(("ssn", mark.join(("123", "45", "6789"))) for mark in "\u2043\u30fc\u2796\u00b7\u30fb\u2022\u3164\u2800_"),
    *(("ssn", mark.join(("123", "45", "6789"))) for mark in ("&#45;", "&#X2d;", "&ndash;",
    "&amp;ndash;", "&amp;nbsp;")),
    *(("card", mark.join("4111111111111111")) for mark in "\u17b5\u115f\u0301\U000e0020\u2064\u200d\u00ad"),
    ("card", "4111_1111_1111_1111"),
    ("email", "anna@x\u3002org"), ("email", "anna&amp;#64;x.org"), ("email", "anna&commat;x&period;org"),
    *(
        ("iban", number)
        for number in (
            "DE 89 3704 0044 0532 0130 00", "DE89.3704.0044.0532.0130.00", "DE89_3704_0044_0532_0130_00",
            "DE89/3704/0044/0532/0130/00", "MT84MALT011000012345MTLCAST001S", "IL620108000000099999999",
            "UA213223130000026007233566001", "qa58 dohb 0000 1234 5678 90ab cdef g",
            "ＤＥ８９３７０４００４４０５３２０１３０００",
        )
    ),
    ("ip", "fe80::1ff:fe23:4567:890a%3"), ("ip", "0:0:0:0:0:ffff:192.168.1.77"), ("ip", "10&period;1&#46;2.3"),
    *(
        ("date", day)
        for day in (
            "2021-Mar-14", "2021 March 14", "14. März 2021", "14 mars 2021", "14 de marzo de 2021", "1er août 2021",
            "14/Mar/2021:10:00:00", "14th of Mar., 2021", "2021-3-14", "2021/3/4", "20210314T100000Z",
            "2021-03-14 10:00:05", "3/14/2021 at 4:05 pm", "2021_03_14", "March 14, 2021, 16:05",
        )
    ),
    *(
        ("mrn", number)
        for number in (
            "MRN (1234567", "M.R.N. 1234567", 'mrn": "1234567', "MRN: 12-34-567", "MRN 123 4567",
            "Med. Rec. No. 1234567", "MRN was 1234567", "medical_record_number=1234567",
            "MRN->1234567", "MRNs 1234567", "MRN：１２３４５６７",
        )
    ),
]  # fmt: skip

LEFT_ALONE = [
    "order 123456789", "4111 1111 1111 1112", "411111******1111", "***-**-6789", "000-12-3456", "666-12-3456",
    "987-65-4321", "123-00-4567", "123-45-0000", "v1.2.3.4", "1.2.3.4.5", "999.1.1.1", "10.0.0.256", "std::byte",
    "face::book", "12:30:45", "00:1A:2B:3C:4D:5E", "2021-13-45", "2021-02-30", "99/99/2021", "120/80", "1.2.2021",
    "5@3.50", "reply@once", "@handle", "a@b.c", "http://", "IE00 AIBK 9311 5212 3456 78", "MRN pending", "MRN 12",
    "4.5 of 5.0", "16:9", "+1 2", "555-0123", "AT 12 WEEKS AND 3 DAYS SHE", "is 12 of the 2021", "v2021.3.14",
]  # fmt: skip


@pytest.mark.parametrize(("name", "before", "identifier", "after"), FOUND)
def test_an_identifier_is_found_to_the_character(name: str, before: str, identifier: str, after: str) -> None:
    """Name and code point span are exact, whatever stands around it."""
    text = f"{before}{identifier}{after}"
    assert EVERYTHING.spans(text) == [(name, len(before), len(before) + len(identifier))]


@pytest.mark.parametrize(("name", "identifier"), ALIKE)
def test_other_members_of_a_kind_are_found(name: str, identifier: str) -> None:
    """Alone, between words, and in many texts that are searched as one."""
    size = len(identifier)
    assert EVERYTHING.spans(identifier) == [(name, 0, size)]
    assert EVERYTHING.spans(f"Seen: {identifier} today") == [(name, 6, 6 + size)]
    assert list(EVERYTHING.spans_in(["&", f"Note {identifier}", "é"])) == [(1, (name, 5, 5 + size))]
    alone = TextScanner([name])
    assert pl.select(alone.bears_clue(pl.lit(f"Note {identifier}"), any_digit=False)).item() is True


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_a_look_alike_is_left_alone(text: str) -> None:
    """Wrong check digits, areas never given out, versions, times, masks."""
    assert EVERYTHING.spans(text) == []


def test_only_what_is_asked_for_is_found() -> None:
    """A policy without a rule on e-mail does not see one, and a longer find does not hide another pattern's."""
    text = "https://example.org/?card=4111111111111111&m=a@example.org"
    assert [name for name, _, _ in EVERYTHING.spans(text)] == ["url"]
    assert [name for name, _, _ in TextScanner(["card", "email"]).spans(text)] == ["card", "email"]
    assert TextScanner([]).spans(text) == []


def test_a_mailbox_swallows_what_was_found_inside_it() -> None:
    """A date that is part of an address is not redacted out of it; the address is."""
    text = "to anna.2021-03-04.b@example.org"
    assert EVERYTHING.spans(text) == [("email", 3, len(text))]


@settings(max_examples=250)
@given(data=st.data(), names=st.sets(st.sampled_from(PATTERN_NAMES), min_size=1))
def test_clues_and_short_cuts_lose_nothing(text_values: Any, data: st.DataObject, names: set[str]) -> None:
    """The scanner finds all that trying every pattern at every place finds, and Polars looks at each such text."""
    text = data.draw(text_values())
    found = TextScanner(names).spans(text)
    assert found == at_every_place(text, names)
    if found:
        asked = [TextScanner(names).bears_clue(pl.col("text"), any_digit=any_digit) for any_digit in (True, False)]
        assert [pl.DataFrame({"text": [text]}).select(clue).item() for clue in asked] == [True, True]


def at_every_place(original: str, names: set[str]) -> list[tuple[str, int, int]]:
    """The specification: at each place the first pattern that measures something; then on behind it."""
    spelled = plain(original)
    text = spelled.text
    found: list[tuple[str, int, int]] = []
    position = 0
    while position < len(text):
        spans = (span_of(p, text, position, found) for p in PATTERNS if p.name in names)
        span = next((span for span in spans if span), None)
        position += 1
        if span is not None:
            found = [*(one for one in found if one[1] < span[1]), span]
            position = span[2]
    return [(name, *spelled.original(start, end)) for name, start, end in found]


def span_of(pattern: Pattern, text: str, at: int, found: list[tuple[str, int, int]]) -> tuple[str, int, int] | None:
    match = re.compile(pattern.expression, re.ASCII).match(text, at)
    length = pattern.measure(match) if match else 0
    begin = at
    while pattern.before and begin > max(at - 256, 0) and re.match(pattern.before, text[begin - 1]):
        begin -= 1
    if pattern.behind and (words := re.search(rf"(?:{pattern.behind})\Z", text[max(at - BEHIND, 0) : at], re.ASCII)):
        begin = at - len(words[0])
    begin = max([begin, *(end for _, start, end in found if start < begin)])
    return (
        (pattern.name, begin, at + length) if length and (begin < at or not pattern.before + pattern.behind) else None
    )


@settings(max_examples=100)
@given(data=st.data())
def test_many_texts_are_searched_as_one_without_mixing(text_values: Any, data: st.DataObject) -> None:
    """Joining texts changes nothing in any of them, whatever they end and begin with."""
    texts = data.draw(st.lists(text_values(), max_size=5))
    alone = [(i, span) for i, text in enumerate(texts) for span in EVERYTHING.spans(text)]
    assert sorted(EVERYTHING.spans_in(texts), key=lambda found: (found[0], found[1][1:])) == alone


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        "a", "1", "1.", "a@", "@", "@a.", "1-", "A0", "AA00", "0:", ":", "::", "x://", "ab://", "http://.", "://",
        "www.",
        "(1", "+", "+1 ", "00 1", "1/", "4 ", "1 ", "4 March ", "March 4, ", "MRN ", "MRN 123456", "123-45-", "&#49;",
        "&",
        "\u200b1", "１", ".", " ", "\n", "\x00", "x",
        "ext ", "call at 555 ", "4111 1111 1111 1111 ", "1.2.3.4.", "DE89 ",
    ],
)  # fmt: skip
def test_time_is_linear_in_the_length(unit: str) -> None:
    """Twice as much of whatever patterns begin with takes twice as long, alone, in a batch and when it is redacted."""

    def seconds(size: int) -> float:
        text = (unit * size)[:size]
        best = []
        for _ in range(2):
            begun = time.process_time()
            EVERYTHING.spans(text)
            list(EVERYTHING.spans_in([text]))
            best.append(time.process_time() - begun)
        return min(best)

    assert seconds(40_000) < 3.2 * max(seconds(20_000), 0.01)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["1.2.3.4.", "a@b.io", "415-555-0123-", "::1", "1/1/2021/", "4111111111111111_"])
def test_redaction_is_linear_in_the_length(unit: str) -> None:
    """What a redaction leaves is looked at a bounded number of times."""
    schema = load_schema("healthcare")
    checker, remedy = RecordChecker(load_policy("hipaa"), schema), RecordRemedy(load_policy("hipaa"), schema)

    def seconds(size: int) -> float:
        record = dict.fromkeys(schema.names) | {"notes": (unit * size)[:size]}
        best = []
        for _ in range(2):
            begun = time.process_time()
            remedy.apply(record, checker.check(record))
            best.append(time.process_time() - begun)
        return min(best)

    seconds(1_000)
    assert seconds(20_000) < 3.5 * max(seconds(10_000), 0.02)
