"""What the name of a column says: its words, and whether they name a person."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["NAMES_A_PERSON", "NUMBER_WORD", "PERSON_WORD", "named_like_persons", "words_of"]

NUMBER_WORD = "(?:id|ids|key|no|num|nr|number|nbr|uuid|guid|code|ref|identifier|pk|sk)"
PERSON_WORD = (
    "(?:patient|person|pat|subject|member|customer|cust|client|user|beneficiary|bene|insured|employee|emp|student|"
    "voter|applicant|borrower|cardholder|individual|participant|respondent|citizen|passenger|owner|subscriber|people|"
    "defendant|inmate|donor|resident|contact)"
)
#: Words of the name of a column that holds a key of persons.
NAMES_A_PERSON = re.compile(
    rf" {PERSON_WORD}(?: source| value)*(?: {NUMBER_WORD}| number)* $| {PERSON_WORD} {NUMBER_WORD} "
)


def words_of(name: str) -> str:
    """The words of a column's name in lower case, blanks between and around them.

    >>> words_of("BirthDate"), words_of("Rndrng_NPI"), words_of("pat-first_name2")
    (' birth date ', ' rndrng npi ', ' pat first name 2 ')
    """
    found = re.findall(r"[A-ZÀ-Þ]+(?![a-zß-ÿ])|[A-ZÀ-Þ]?[a-zß-ÿ]+|[0-9]+|[^\W\d_]+", name)
    return f" {' '.join(found).lower()} "


def named_like_persons(names: Iterable[str]) -> list[str]:
    """The names that say that a column tells persons apart.

    >>> named_like_persons(["patient_id", "visit_id", "CustomerNo", "client"])
    ['patient_id', 'CustomerNo', 'client']
    """
    return [name for name in names if NAMES_A_PERSON.search(words_of(name))]
