"""Numbers as sources write them: currency, grouping, a decimal comma, the signs of accountants."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["NumberFormat"]


class NumberFormat:
    """Numbers written like an example; currency, grouping and a sign may be absent, brackets mean negative.

    One separator before exactly three digits groups (``1,234``); any other single one is the decimal (``1,5``).

    >>> NumberFormat("$1,234.50").one("($2,000)"), NumberFormat("1.234,50 €").one("-0,5")
    ('-2000', '-0.5')
    """

    def __init__(self, example: str) -> None:
        match = re.fullmatch(r"([^0-9+-]*)[+-]?([0-9][0-9.,' _\u00a0\u202f\u2009’]*)?([^0-9]*)", example.strip())
        if match is None or not match[2]:
            raise ValueError("the format of a number is an example of one, such as $1,234.50 or 1.234,5")
        body = match[2].strip()
        self._prefix, self._suffix = match[1].strip(), match[3].strip()
        # The sign may stand behind the number, as accountants write it.
        last = r"[\-−]?" if self._suffix.endswith(("-", "−")) else ""
        self._suffix = self._suffix.rstrip("-− ")
        separators = [sign for sign in body if not sign.isdigit()]
        self._group, self._decimal = _separators(separators, body)
        sign = r"[+\-−]?"
        digits = "[0-9]+"
        if self._group:
            group = _alike(self._group)
            # In India the last three digits are a group, and those before go in twos.
            pairs = f"(?:{group}[0-9]{{2}})*" if re.search(rf"{group}[0-9]{{2}}{group}", body) else ""
            head, repeated = ("{1,2}", "") if pairs else ("{1,3}", "+")
            digits = f"[0-9]{head}{pairs}(?:{group}[0-9]{{3}}){repeated}|[0-9]+"
        decimals = f"(?:{re.escape(self._decimal)}[0-9]*)?"
        prefix = f"(?:{re.escape(self._prefix)})?" if self._prefix else ""
        suffix = f"(?:{re.escape(self._suffix)})?" if self._suffix else ""
        space = f"[{_BLANKS}]*"
        inner = f"{prefix}{space}{sign}(?:{digits}){decimals}{space}{suffix}{last}"
        self._source = rf"{sign}{space}{inner}|\({inner}\)"
        self._pattern = re.compile(self._source, re.ASCII)

    def one(self, text: str) -> str | None:
        if self._pattern.fullmatch(text) is None or sum(map(text.count, "+-−")) > 1:
            return None
        is_negative = text[0] == "(" or "-" in text or "−" in text
        whole, _, decimals = text.partition(self._decimal)
        kept = ["".join(filter(_is_digit, part)) for part in (whole, decimals)]
        return f"{'-' * is_negative}{kept[0]}{f'.{kept[1]}' if kept[1] else ''}"

    def column(self, texts: pa.Array) -> pa.Array:
        signs = pc.count_substring_regex(texts, "[+\\-−]")
        fits = pc.and_(pc.match_substring_regex(texts, f"^(?:{self._source})$"), pc.less_equal(signs, 1))
        is_negative = pc.match_substring_regex(texts, "^\\(|[\\-−]")
        marked = pc.replace_substring(texts, self._decimal, "~", max_replacements=1)
        digits = pc.replace_substring_regex(marked, "[^0-9~]|~[^0-9]*$", "")
        plain = pc.replace_substring(digits, "~", ".")
        signed = pc.if_else(is_negative, pc.binary_join_element_wise("-", plain, ""), plain)
        return pc.if_else(fits, signed, pa.scalar(None, pa.string()))


_BLANKS = " \u00a0\u202f\u2009"
_APOSTROPHES = "'’"


def _alike(sign: str) -> str:
    """A pattern of a separator, in whichever of its shapes."""
    shapes = next((shapes for shapes in (_BLANKS, _APOSTROPHES) if sign in shapes), sign)
    return f"[{re.escape(shapes)}]"


def _is_digit(sign: str) -> bool:
    return "0" <= sign <= "9"


def _separators(separators: list[str], body: str) -> tuple[str, str]:
    """What groups digits, and what comes before decimals."""
    if len(set(separators)) > 2:  # noqa: PLR2004 - one of each
        raise ValueError("the format of a number has at most two separators, such as 1,234.50")
    if not separators:
        return "", "."
    last = separators[-1]
    if len(set(separators)) == 2:  # noqa: PLR2004
        if separators.count(last) != 1:
            raise ValueError("the format of a number has one decimal separator, such as 1,234.50")
        return separators[0], last
    if len(separators) == 1 and len(body.rpartition(last)[2]) != 3:  # noqa: PLR2004 - digits of a group
        return "", last
    return last, "," if last == "." else "."
