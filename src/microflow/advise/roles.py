"""Role of a column, judged by its name and its values: role, kind, reason and confidence.

A name that says what a column holds, and values that look like it, decide; where the two do not agree, or a column of
many distinct texts has a name that says nothing, the role stays undecided.
"""

# ruff: noqa: E501 - tables of words

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from microflow.advise.profile import ColumnProfile, looks_dated
from microflow.compliance.patterns import PATTERN_NAMES
from microflow.compliance.scanner import TextScanner
from microflow.schema import NAMES_A_PERSON, PERSON_WORD, Dtype, Role, words_of

__all__ = ["Judgement", "judge"]

_NUMERIC = frozenset({Dtype.INTEGER, Dtype.NUMBER})
_DATED = frozenset({Dtype.DATE, Dtype.TIMESTAMP})
_BY_NAME, _BY_VALUES, _BY_BOTH, _BY_DEFAULT = 0.7, 0.8, 0.95, 0.5
_MOSTLY = 0.9
#: Rows from which it says something that no value occurs twice.
_MANY = 50
#: Distinct values of a yes or no, which identifies no person.
_TWO = 2


@dataclass(frozen=True, slots=True)
class Judgement:
    """Role and kind of a column, the reason, and the confidence (0 to 1); ``dtype=None`` keeps the column's own."""

    role: Role
    kind: str | None
    reason: str
    confidence: float
    dtype: Dtype | None = None


@dataclass(frozen=True, slots=True)
class _Rule:
    """Words of a name, and what they mean where the values have one of these types (any, if none is given)."""

    words: str
    role: Role
    kind: str | None = None
    dtypes: frozenset[Dtype] | None = None


_ID, _QI, _SE, _AT, _FT = Role.IDENTIFIER, Role.QUASI_IDENTIFIER, Role.SENSITIVE, Role.ATTRIBUTE, Role.FREE_TEXT
_PLACE = r" (?:city|town|municipality|place|borough|neighbou?rhood|precinct|district|census tract|community board)"
#: Words of a name (joined by blanks, blanks around them), the first rule that fits counts.
_RULES = (
    # what only begins like an identifier
    _Rule(r" (?:residence|address|housing|dwelling) (?:type|kind|class)", _QI),
    _Rule(r" (?:agency|company|product|department|drug|event|file|item|brand|category|plan|school|station|course|disease|"
          r"procedure|test|variable|measure|class|species|team|street type) name", _AT, None, frozenset({Dtype.STRING})),
    # identifiers
    _Rule(r" (?:ssn|social security|soc sec)", _ID, "ssn"),
    _Rule(r" (?:mrn|medical record|med rec|hospital number|chart number|record locator)", _ID, "mrn"),
    _Rule(r" (?:e ?mail)", _ID, "email"),
    _Rule(r" fax", _ID, "fax"),
    _Rule(r" (?:phone|phones|telephone|tel|mobile|cell|cellphone|handy|telefon) (?!service|type|lines)", _ID, "phone"),
    _Rule(r" (?:ip|ipv4|ipv6|ip addr|ip address|remote addr|client ip) ", _ID, "ip"),
    _Rule(r" (?:mac|mac address|imei|imsi|serial|serial number|device id|udi|udid|advertising id|iccid)", _ID, "device"),
    _Rule(r" (?:url|website|web page|homepage|profile link)", _ID, "url"),
    _Rule(r" (?:drivers?|driving|drivers license|license|licence|passport|dea|npi)(?: |$)(?!type|class|state|plate)", _ID,
          "license"),
    _Rule(r" (?:vin|license plate|plate|vehicle id|registration number)", _ID, "vehicle"),
    _Rule(r" (?:pan|card number|card no|cc num|credit card(?: number)?|cc number) ", _ID, "pan"),
    _Rule(r" (?:cvv|cvc|cvv2|security code) ", _ID, "cvv"),
    _Rule(r" (?:iban|account number|account no|acct|account id|bank account|routing number|account num)", _ID, "account"),
    _Rule(r" (?:policy number|health plan|insurance number|insurance id|medicare (?:id|number|no)|medicaid (?:id|number|no)|hicn|mbi|subscriber id)", _ID,
          "health_plan_id"),
    _Rule(r" (?:full|first|last|middle|given|family|sur|maiden|birth|nick|fore|user|display|login|mothers?) ?name", _ID,
          "name"),
    _Rule(r" (?:surname|forename|firstname|lastname|username|fullname|vorname|nachname|nom|prenom|apellido|nombre)", _ID,
          "name"),
    _Rule(rf" {PERSON_WORD} name", _ID, "name"),
    _Rule(r" (?:name|names|first|last|middle|maiden|initials|alias|login|physician|doctor|surgeon|clinician|attending) $",
          _ID, "name", frozenset({Dtype.STRING})),
    _Rule(r" (?:prefix|suffix|title|salutation) $", _QI, None, frozenset({Dtype.STRING})),
    _Rule(r" (?:street|address|addr|address line|street address|adresse|residence|house number|cross street|"
          r"intersection street|bbl|landmark|location address)", _ID, "street_address", frozenset({Dtype.STRING})),
    _Rule(r" (?:bbl|parcel|apn) ", _ID, "unique_id"),
    _Rule(r" (?:photo|picture|image|avatar|fingerprint|face|voice|retina|iris|biometric)", _ID, "unique_id"),
    # quasi-identifiers
    _Rule(r" (?:dob|birth ?date|date of birth|birth ?day|birth datetime|born|geburtsdatum)", _QI, "date", _DATED),
    _Rule(r" (?:death ?date|date of death|dod|death datetime|deceased date)", _QI, "date", _DATED),
    _Rule(r" (?:zip|zip ?code|postal|postal ?code|post ?code|plz)", _QI, "zip"),
    _Rule(r" (?:year of birth|birth year|month of birth|day of birth|yob|birth month|birth day)", _QI),
    _Rule(r" (?:age|age years|age at) ", _QI, "age", _NUMERIC),
    _Rule(r" (?:age|agegroup|age group|age cat|age band|age range)", _QI),
    _Rule(r" (?:lat|latitude) ", _QI, "latitude", _NUMERIC),
    _Rule(r" (?:lon|long|lng|longitude) ", _QI, "longitude", _NUMERIC),
    _Rule(r" (?:x|y) coordinate", _QI, None, _NUMERIC),
    _Rule(r" (?:location|coordinates|geolocation|geo|geopoint|latlong)", _QI),
    _Rule(r" (?:gender|sex|geschlecht|sexo)", _QI),
    _Rule(r" (?:race|ethnicity|ethnic|nationality|nation|citizenship|native country|country of birth|birth ?place)", _QI),
    _Rule(_PLACE, _QI, "city", frozenset({Dtype.STRING})),
    _Rule(_PLACE, _QI),
    _Rule(r" (?:county|state|province|region|country|fips|park borough|incident city|referral region|address type)", _QI),
    _Rule(r" (?:marital|marital status|relationship|religion|language|education|education num|occupation|job|profession|"
          r"workclass|work type|ever married|residence type|household|family size|children|dependents|veteran|housing|"
          r"personal status|telephone|foreign worker|senior citizen|partner|seniority|department)", _QI),
    # dates, money, health, justice
    _Rule(r" (?:consent expires|consent expiry|consent valid until|consent end)", Role.CONSENT, "consent_expires", _DATED),
    _Rule(r" (?:retain until|retention date|retention until|delete after|destroy after)", Role.RETENTION, "retain_until", _DATED),
    _Rule(r" (?:diagnosis|diagnoses|dx|icd|icd9|icd10|condition|disease|disorder|drg|procedure|medication|drug|allergy|"
          r"reason|symptom|outcome|stroke|diabetes|hypertension|heart disease|smoking|smoking status|bmi|glucose|"
          r"avg glucose level|blood|cholesterol|hiv|pregnan\w+|disability|reasoncode|reasondescription|value as number|"
          r"value as concept id|condition concept id|drug concept id)", _SE),
    _Rule(r" (?:income|salary|wage|pay|earnings|credit|credit amount|balance|charges?|costs?|price|amount|payments?|"
          r"expenses|coverage|total cost|revenue|savings|debt|loan|capital gain|capital loss|tip|fare)", _SE),
    _Rule(r" (?:recid|recidivism|is recid|two year recid|decile score|score text|v decile score|score|charge degree|"
          r"charge desc|offense|crime|arrest|priors count|juv \w+ count|vr charge desc|risk|class|churn|default|label)", _SE),
    _Rule(r" (?:notes?|comments?|remarks?|narrative|free ?text|summary|impression|findings|report|transcription|history|"
          r"resolution description|message|body|complaint text|medical notes|observation text|text) $", _FT, None,
          frozenset({Dtype.STRING})),
)  # fmt: skip

_VALUES: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("e-mail addresses", "email", re.compile(r"[^@\s]{1,64}@[^@\s]+\.[A-Za-z]{2,}")),
    ("social security numbers", "ssn", re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}")),
    ("IP addresses", "ip", re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}|(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}")),
    ("web addresses", "url", re.compile(r"(?i)(?:https?://|www\.)\S+")),
    ("hardware addresses", "device", re.compile(r"(?i)(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}")),
    ("telephone numbers", "phone", re.compile(r"\+[0-9][0-9 ().-]{7,18}|\(?[0-9]{3}\)?[-. ][0-9]{3}[-. ][0-9]{4}(?: ?x\d+)?")),
)  # fmt: skip


def judge(profile: ColumnProfile, *, is_named: bool = True) -> Judgement:
    """Judgement on a column: by its values if they leave no doubt, else by its name, else by their distribution.

    Where the file names no columns (``is_named`` is false), what the values do not say stays undecided.
    """
    words = words_of(profile.name)
    found = (
        _as_ambiguous(profile)
        or _by_values(profile, words)
        or _as_key(profile, words)
        or _by_name(profile, words)
        or _as_code(profile)
        or _by_type(profile)
        or _by_spread(profile)
    )
    if found.role in {_AT, _SE} and _hold_identifiers(profile):
        # What passes untouched, or is kept for its sense, must not carry them, however few its texts are.
        return Judgement(_FT, None, "identifiers stand in its texts", _BY_VALUES, Dtype.STRING)
    if not profile.rows and found.confidence <= _BY_DEFAULT:
        return _undecided("the file holds no rows: say what the column is")
    if not is_named and found.confidence <= _BY_DEFAULT and profile.distinct > 1:
        return _undecided("the file has no header: name the column and say what it is")
    return found


def _hold_identifiers(profile: ColumnProfile) -> bool:
    """True if the scanner finds an identifier in one of the first texts; a date alone is none."""
    return profile.dtype is Dtype.STRING and any(map(_scanner().spans, profile.examples))


@cache
def _scanner() -> TextScanner:
    return TextScanner(name for name in PATTERN_NAMES if name != "date")


def _undecided(question: str) -> Judgement:
    return Judgement(Role.UNDECIDED, None, question, 0.0)


def _as_ambiguous(profile: ColumnProfile) -> Judgement | None:
    what = "day and month" if profile.dtype in _DATED else "the decimal sign"
    return _undecided(f"{what} cannot be distinguished: give the format") if profile.is_ambiguous else None


def _by_values(profile: ColumnProfile, words: str) -> Judgement | None:
    if not profile.examples or profile.dtype not in {Dtype.STRING, Dtype.INTEGER}:
        return None
    for what, kind, pattern in _VALUES:
        if _are_mostly(profile, lambda text, pattern=pattern: pattern.fullmatch(text.strip())):
            named = any(rule.kind == kind and re.search(rule.words, words) for rule in _RULES)
            return Judgement(_ID, kind, f"the values are {what}", _BY_BOTH if named else _BY_VALUES, Dtype.STRING)
    for what, kind, holds in (("card numbers", "pan", _is_card), ("IBANs", "account", _is_iban)):
        if _are_mostly(profile, holds):
            return Judgement(_ID, kind, f"the values are {what} with right check digits", _BY_BOTH, Dtype.STRING)
    return None


def _are_mostly(profile: ColumnProfile, holds: Callable[..., object]) -> bool:
    """True if something holds for nearly all of a few values; not where there is no value."""
    few = profile.examples[:200]
    return bool(few) and sum(bool(holds(text)) for text in few) / len(few) >= _MOSTLY


def _is_card(text: str) -> bool:
    from stdnum import luhn

    digits = re.sub(r"[ -]", "", text)
    return re.fullmatch(r"[2-6][0-9]{12,18}", digits) is not None and bool(luhn.is_valid(digits))


def _is_iban(text: str) -> bool:
    from stdnum import iban

    return re.match(r"[A-Za-z]{2}[0-9]{2}", text) is not None and bool(iban.is_valid(text))


_ROW_NUMBER = re.compile(
    r" (?:|unnamed 0 |index |row |row ?(?:id|number|no|num|nr) |line ?(?:no|number) |lfd nr |seq )$"
)
_KEY = re.compile(
    r" (?:id|ids|uuid|guid|unique key|case number|case no|ticket|invoice|order number|docket|encounter|claim|ccn|npi|"
    r"identifier|[a-z]+id|ref|reference|visit|payer|organization|provider|account) $"
)
#: Words that end like a key's, and codes of a vocabulary, which are the same for everybody.
_NO_KEY = re.compile(
    r" (?:paid|valid|grid|covid|acid|rapid|fluid|hybrid|thyroid|solid|recid|steroid|void|avoid|aid|said) $"
)
_CODE_OF_ALL = re.compile(r" concept(?: id| ids)? ")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}")
_CODE_LIKE = re.compile(r"(?=[^ ]*[0-9])[A-Za-z0-9][A-Za-z0-9_./:#-]{3,63}|[0-9]{5,19}")


def _as_key(profile: ColumnProfile, words: str) -> Judgement | None:
    """Keys: of rows, of persons, and of what persons have to do with."""
    if profile.dtype not in {Dtype.STRING, Dtype.INTEGER}:
        return None
    reason, confidence = "", _BY_NAME
    if _ROW_NUMBER.fullmatch(words) or not words.strip():
        low, is_key = profile.low, profile.dtype is Dtype.INTEGER and profile.is_unique
        if is_key and low in {0.0, 1.0} and profile.high == low + profile.present - 1:  # 0, 1, 2 … or 1, 2, 3 …
            return Judgement(Role.RECORD_ID, None, "it numbers the rows", _BY_BOTH)
        reason = "its name says that it names rows"
    elif NAMES_A_PERSON.search(words):
        reason, confidence = "its name says that it names a person", _BY_BOTH
    elif _KEY.search(words) and not _NO_KEY.search(words) and not _CODE_OF_ALL.search(words):
        reason = "its name says that it is a key"
    if not reason or profile.distinct == _TWO:
        return None
    return Judgement(_ID, "unique_id", reason, confidence, Dtype.STRING)


def _as_code(profile: ColumnProfile) -> Judgement | None:
    """Values that look like keys, whatever the name of the column."""
    if profile.dtype is not Dtype.STRING:
        return None
    reason = ""
    if _are_mostly(profile, _UUID.fullmatch):
        reason = "the values are universally unique identifiers"
    elif profile.is_unique and profile.rows >= _MANY and _are_mostly(profile, _CODE_LIKE.fullmatch):
        reason = "no value occurs twice, and all look like codes"
    return Judgement(_ID, "unique_id", reason, _BY_VALUES, Dtype.STRING) if reason else None


def _by_name(profile: ColumnProfile, words: str) -> Judgement | None:
    promised = ""
    for rule in _RULES:
        if not re.search(rule.words, words):
            continue
        what = rule.kind.replace("_", " ") if rule.kind else str(rule.role).replace("_", " ")
        if rule.dtypes is not None and profile.dtype not in rule.dtypes:
            promised = promised or (what if rule.role is _QI else "")
            continue
        if profile.dtype in _DATED and rule.dtypes != _DATED:
            continue  # a date is a date, whatever it is the date of
        is_text = rule.role is _ID or rule.kind in {"zip", "city"}
        return Judgement(rule.role, rule.kind, f"its name says {what}", _BY_NAME, Dtype.STRING if is_text else None)
    if re.search(r" (?:consent|consented|opt in) ", words):
        # Consent counts where the values are words that policies know.
        if {"granted", "withdrawn"} & set(profile.examples) or profile.dtype is Dtype.BOOLEAN:
            return Judgement(Role.CONSENT, "consent_status", "its name says consent", _BY_BOTH, Dtype.STRING)
        return _undecided("its name says consent: which of its values mean yes?")
    if profile.dtype is Dtype.STRING and re.search(r" (?:date|datetime|dt|dob|timestamp) ", words):
        promised = "date"
    if promised and profile.present:
        return _undecided(f"its name says {promised}, but its values are written in other ways")
    return None


def _by_type(profile: ColumnProfile) -> Judgement | None:
    if profile.dtype in _DATED:
        return Judgement(_AT, "date", "dates of events: a policy shortens them", _BY_VALUES)
    if profile.dtype is Dtype.INTEGER and profile.is_unique and profile.rows >= _MANY:
        return _undecided("whole numbers of which none occurs twice: a key, or a measure?")
    if profile.present == 0:
        reason = "it holds nothing"
    elif profile.dtype is Dtype.BOOLEAN or profile.distinct <= _TWO:
        reason = "two values at most"
    elif profile.dtype is Dtype.TIME:
        reason = "times of the day"
    elif profile.dtype in _NUMERIC:
        reason = "numbers whose name says nothing about persons"
    else:
        return None
    return Judgement(_AT, None, reason, _BY_DEFAULT)


def _by_spread(profile: ColumnProfile) -> Judgement:
    share = profile.distinct / profile.present if profile.present else 0.0
    if profile.is_prose and share > 0.2:  # noqa: PLR2004
        return Judgement(_FT, None, "long texts that differ", _BY_VALUES)
    if _are_mostly(profile, looks_dated):
        return _undecided("dates that are written in several ways")
    if profile.distinct <= 1 or share <= 0.5:  # noqa: PLR2004 - most values occur again
        return Judgement(_AT, None, "few distinct texts whose name says nothing about persons", _BY_DEFAULT)
    return _undecided("many distinct texts whose name says nothing")
