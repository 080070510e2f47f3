"""What is found in free text, where, and what is left alone."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum.iban import _ibandb

from microflow.compliance import RecordChecker, RecordRemedy, load_policy
from microflow.compliance.measures import IBAN_LENGTHS
from microflow.compliance.patterns import BEHIND, PATTERN_NAMES, PATTERNS, Pattern
from microflow.compliance.scanner import TextScanner, has_no_clue
from microflow.compliance.spelling import folded, plain
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
    ("ip", "mask ", "255.255.255.0", ""),
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

#: Labels glued to a number, brackets, marks written as words, months of other languages; found with nothing left over.
ALIKE += [
    *(
        ("ssn", number)
        for number in ("123-45-6789", "123.45.6789", "１２３-４５-６７８９", "123\u200b-45-6789")
    ),
    *(
        ("phone", number)
        for number in (
            "[519] 236-2723", "[519]236-2723", "{519} 236-2723", "(519)-236-2723", "8 (495) 123-45-67",
            "+31 6 12345678",
            "+61 2 1234 5678", "+27 11 123 4567", "&#43;1 519 236 2723", "01-23-45-67-89", "+81 3-1234-5678",
        )
    ),
    *(
        ("email", mail)
        for mail in (
            "anna(at)x.org", "anna [at] x [dot] org", "anna (at) x (dot) org", "anna{at}x.org", "anna[at]x.org",
            "anna@x[dot]org", "anna<at>x<dot>org", "anna at x dot org", "anna AT mail DOT x DOT org",
            "anna_at_x_dot_org",
            "anna -at- x -dot- org", "anna @ x.org", "anna@ x.org", "anna%40x.org", "anna(@)x.org", "o'neil@x.org",
        )
    ),
    ("ip", "10[.]1[.]2[.]3"), ("ip", "10․1․2․3"),
    *(("url", page) for page in ("facebook.com/anna.b", "linkedin.com/in/annab", "bit.ly/3abc")),
    ("card", "41111111 11111111"),
    *(
        ("mrn", number)
        for number in (
            "MR# 1234567", "MR #1234567", "Patient ID 1234567", "Patient ID: 1234567", "Pt ID 1234567",
            "Chart # 1234567",
            "chart no. 1234567", "record number 1234567", "hospital number 1234567", "UHID 1234567", "MRN 12345",
            "MRN;1234567", "MRN, 1234567",
        )
    ),
    *(
        ("date", day)
        for day in (
            "3. März", "3. Okt. 2024", "3. Dez 2024", "März 2024", "3 févr. 2024", "3 juil. 2024", "3 janv. 2024",
            "3 août",
            "1er mars 2024", "mars 2024", "3 de marzo", "3 de marzo del 2024", "3 de ene. de 2024", "3 abr 2024",
            "1.º de março de 2024", "3 de fev. de 2024", "1° gennaio 2024", "3 gen. 2024", "3 ott 2024", "gennaio 2024",
            "3 maart 2024", "3 mrt. 2024", "3 mei 2024", "3. marts 2024", "3 marca 2024", "3 марта 2024", "3 Mart 2024",
            "3. maaliskuuta 2024", "3rd day of March, 2024", "2024年3月3日", "3-3-2024", "3 / 3 / 2024", "25.3.2024",
            "03/2024", "Mar/03/2024",
        )
    ),
]  # fmt: skip

#: Words in front that stay, and the identifier that they make one.
CUED = [
    ("ssn", "SSN", "123-45-6789"), ("ssn", "ssn", "123456789"), ("ssn", "SS#", "123456789"), ("ssn", "SS# ",
    "123-45-6789"),
    ("ssn", "Soc. Sec. No. ", "123456789"), ("ssn", "ssn no ", "123456789"), ("ssn", "ITIN ", "912-71-1234"),
    ("phone", "call ", "5192362723"), ("phone", "phone", "5192362723"), ("phone", "Tel", "519-236-2723"),
    ("phone", "home", "519.236.2723"), ("phone", "tlf ", "22 12 34 56"), ("phone", "téléphone ", "0123456789"),
    ("card", "Visa", "4111111111111111"), ("ip", "ip", "10.1.2.3"),
    ("date", "am ", "3.3.2024"), ("date", "born ", "3.3.70"), ("date", "DOB ", "03031970"), ("date", "DOB: ",
    "19700303"),
]  # fmt: skip

LEFT_ALONE = [
    "13/13/2021", "31/31/2021", "40/10/2021", "0/5/2021", "5/0/2021", "13/2021", "00/2021", "2021 Apr 32",
    "SKU 12345678", "ISBN 978-3-16-148410-0", "ISBN 9783161484100", "order no. 4500012345", "$1,234.50",
    "1.234,50 €", "P/N 4711-0815", "pH 7.352-7.451", "T: 37.25-38.10", "NDC 0002-8215-01", "GTIN 04006381333931",
    "look at the dot in it", "connect the dots at home", "meet @ 5", "price@ 5", "(at) home", "arr[.]x", "and/or this",
    "km/h", "src/main.py/x", "3 of 2024", "12 Monkeys 1995", "on 123456 patients", "date 99999999", "chart 12",
    "MR imaging 2024", "unit no 12", "1/2000", "12/1234", "version 03/2024.1", "v25.3.2024", "1.1.2024", "3 mars bars",
    "5 mayo packets", "[123] 456-789", "[2020] 123", "ip4.5", "ssn12", "x123-45-6789", "123 456 789", "1 000 000",
    "tracking 1Z999AA10123456784", "sec 123456789", "Dr.Smith", "setup.py", "100.00.00", "4-4-2", "flight BA 1234",
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


@pytest.mark.parametrize(("name", "before", "identifier"), CUED)
def test_words_in_front_make_an_identifier(name: str, before: str, identifier: str) -> None:
    """The same digits behind another word are none."""
    size = len(before)
    assert EVERYTHING.spans(f"{before}{identifier} x") == [(name, size, size + len(identifier))]


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
    for text in ("to anna.2021-03-04.b@example.org", "to 2021-03-04.b@example.org"):
        assert EVERYTHING.spans(text) == [("email", 3, len(text))]


def test_lengths_of_ibans_are_those_of_the_registry() -> None:
    """As python-stdnum has them from ISO 13616; of as many countries."""
    assert len(IBAN_LENGTHS) == 89
    for country, length in IBAN_LENGTHS.items():
        _, properties = _ibandb.info(f"{country}00")[0]
        assert length == 4 + sum(map(int, re.findall(r"(\d+)!?[a-z]", properties["bban"]))), country


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


@given(data=st.data())
def test_at_a_glance_no_digit_and_no_identifier_is_lost(text_values: Any, data: st.DataObject) -> None:
    """A text without a clue holds no finding and no digit, however one is spelled."""
    text = data.draw(st.one_of(text_values(), st.lists(st.sampled_from(CLUELESS)).map("".join)))
    if has_no_clue(text):
        assert EVERYTHING.spans(text) == []
        assert re.search("[0-9]", plain(text).text + folded(text).text) is None


#: What a clue is made of, and what is nearly one.
CLUELESS = [*" ._-:wWtT([{<)]}>", "w.", "ww.", "anna at x dot org", "(at)", "[DATE]", "[ punkt ]", ".org", "anna", "é"]


def test_no_character_is_a_clue_in_disguise() -> None:
    clueless = "".join(filter(has_no_clue, map(chr, range(0x110000))))
    assert len(clueless) > 200
    assert re.search("[0-9@/&]", plain(clueless).text + folded(clueless).text) is None


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
    if pattern.before and (run := re.match(f"{pattern.before}+", text[max(at - 256, 0) : at][::-1])):
        begin = at - run.end()
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


@pytest.mark.timeout(10)
def test_groups_behind_a_card_are_taken_away_one_by_one() -> None:
    """Whatever joins them; where the digits in front are no card number, the search ends, too."""
    for mark in "_- .":
        assert EVERYTHING.spans(mark.join(("4111", "1111", "1111", "1111", "2024")))[0] == ("card", 0, 19)
        none = EVERYTHING.spans(mark.join(("4111", "1111", "1111", "1112", "2024")))
        assert "card" not in [name for name, *_ in none]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        "a", "1", "1.", "a@", "@", "@a.", "1-", "A0", "AA00", "0:", ":", "::", "x://", "ab://", "http://.", "://",
        "www.",
        "(1", "+", "+1 ", "00 1", "1/", "4 ", "1 ", "4 March ", "March 4, ", "MRN ", "MRN 123456", "123-45-", "&#49;",
        "&",
        "\u200b1", "１", ".", " ", "\n", "\x00", "x",
        "[at] ", " at a dot ", "(dot)", "a @ ", "3 de ", "1. ", "3 m", ".org/", "x.co/", "[519] ", "SSN1",
        "chart no 1", "'a",
        "4111_1111_1111_1112_", "ext ", "call at 555 ", "4111 1111 1111 1111 ", "1.2.3.4.", "DE89 ",
    ],
)  # fmt: skip
def test_time_is_linear_in_the_length(unit: str, growth: Any) -> None:
    """Twice as much of whatever patterns begin with takes twice as long, alone, in a batch and when it is redacted."""
    assert growth(lambda text: (EVERYTHING.spans(text), list(EVERYTHING.spans_in([text]))), unit, 20_000) < 3.2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["1.2.3.4.", "a@b.io", "415-555-0123-", "::1", "1/1/2021/", "4111111111111111_"])
def test_redaction_is_linear_in_the_length(unit: str, growth: Any) -> None:
    """What a redaction leaves is looked at a bounded number of times."""
    schema = load_schema("healthcare")
    checker, remedy = RecordChecker(load_policy("hipaa"), schema), RecordRemedy(load_policy("hipaa"), schema)

    def redacted(text: str) -> object:
        record = dict.fromkeys(schema.names) | {"notes": text}
        return remedy.apply(record, checker.check(record))

    assert growth(redacted, unit, 10_000, 0.02) < 3.5
