"""Identifiers have right check digits, by independent arithmetic; look-alikes are none under any policy."""

from __future__ import annotations

import ipaddress
import re

import numpy as np
import pytest

from microflow.compliance import RecordChecker, load_policy
from microflow.datasets import identifiers
from microflow.datasets.draws import Draws
from microflow.descriptors import load_schema


@pytest.fixture
def draws():
    return Draws(np.random.SeedSequence(5), 2_000)


def luhn(number: str) -> int:
    """ISO/IEC 7812-1 by its table of doubled digits."""
    table = {"0": 0, "1": 2, "2": 4, "3": 6, "4": 8, "5": 1, "6": 3, "7": 5, "8": 7, "9": 9}
    return sum(table[digit] if place % 2 else int(digit) for place, digit in enumerate(reversed(number))) % 10


def test_cards(draws):
    """Fifteen or sixteen digits that Luhn's rule accepts, in three spellings."""
    cards = identifiers.cards(draws)
    bare = [re.sub("[ -]", "", card) for card in cards]
    assert {len(card) for card in bare} == {15, 16}
    assert {luhn(card) for card in bare} == {0}
    assert {re.sub("[0-9]", "", card)[:1] for card in cards} == {"", " ", "-"}


def test_ibans(draws):
    """ISO 13616: the rotated number leaves 1 modulo 97."""
    for iban in identifiers.ibans(draws):
        bare = iban.replace(" ", "")
        assert len(bare) == {"IE": 22, "NL": 18}[bare[:2]]
        assert int("".join(str(int(char, 36)) for char in bare[4:] + bare[:4])) % 97 == 1


def test_ssns(draws):
    """Areas 000, 666 and 9xx, group 00 and serial 0000 are not given out."""
    for ssn in identifiers.ssns(draws):
        area, group, serial = re.fullmatch(r"(\d{3})[- ](\d{2})[- ](\d{4})", ssn).groups()
        assert area not in {"000", "666"}
        assert area < "900"
        assert group != "00"
        assert serial != "0000"


def test_addresses_are_set_aside_for_documentation(draws):
    """Addresses are those of RFC 5737 and RFC 3849, mail domains those of RFC 2606, which belong to no person."""
    documentation = [
        ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    ]
    for ip in identifiers.ips(draws):
        assert any(ipaddress.ip_address(ip) in network for network in documentation)
    assert all(
        re.search(r"@(.*\.)?(bücher|clinic|mail|post|)\.?example(\.(org|com|net))?$", mail)
        for mail in identifiers.emails(draws)
    )


def test_phones_are_fictitious(draws):
    """555-01xx in every spelling."""
    assert all(re.search(r"555.?01\d\d|5550 01\d\d|555 01\d\d", phone) for phone in identifiers.phones(draws))


@pytest.mark.parametrize("data_type", ["healthcare", "financial", "ecommerce", "iot"])
def test_look_alikes_are_none(draws, data_type):
    """Under all three regulations together no look-alike is taken for an identifier."""
    schema = load_schema(data_type)
    field = schema.with_role("free_text")[0].name
    checker = RecordChecker(load_policy("combined"), schema)
    for text in identifiers.look_alikes(draws):
        assert [v.rule for v in checker.check({field: text}) if v.field == field] == [], text
