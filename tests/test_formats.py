"""Formats: each reads what it says, refuses the rest, and says the same of a text and of a column."""

# ruff: noqa: E501, DTZ001 - tables of cells

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.formats import BooleanFormat, CountedTime, NumberFormat, TimeFormat, plain_time
from microflow.schema import Dtype

READ = [
    (TimeFormat("MM/DD/YYYY", Dtype.DATE), {"03/14/2021": "2021-03-14", "13/01/2021": None, "3/1/2021": None,
                                            "02/30/2021": None, "2021-03-14": "2021-03-14", "2021": None}),
    (TimeFormat("D.M.YY", Dtype.DATE), {"1.2.69": "1969-02-01", "31.12.68": "2068-12-31", "1.2.1969": None}),
    (TimeFormat("D MMM YYYY", Dtype.DATE), {"3 jan 2021": "2021-01-03", "3 Foo 2021": None}),
    (TimeFormat("MMMM D, YYYY", Dtype.DATE), {"January 5, 2020": "2020-01-05"}),
    (TimeFormat("MM/YYYY", Dtype.DATE), {"02/2020": "2020-02", "14/2020": None}),
    (TimeFormat("YYYYMMDD", Dtype.DATE), {"20200229": "2020-02-29", "20210229": None}),
    (TimeFormat("MM/DD/YYYY HH:mm", Dtype.DATE), {"03/14/2021 09:26": "2021-03-14", "03/14/2021 25:00": None}),
    (TimeFormat("MM/DD/YYYY hh:mm:ss a", Dtype.TIMESTAMP), {"01/02/2020 12:05:06 AM": "2020-01-02T00:05:06",
                                                            "01/02/2020 01:05:06 pm": "2020-01-02T13:05:06",
                                                            "01/02/2020 13:05:06 PM": None}),
    (TimeFormat("YYYY-MM-DDTHH:mm:ss.SZ", Dtype.TIMESTAMP), {"2020-01-01T00:30:00.250+0100": "2019-12-31T23:30:00.25Z"}),
    (TimeFormat("HH:mm", Dtype.TIME), {"23:59": "23:59:00", "24:00": None}),
    (NumberFormat("$1,234.50"), {"$1,234.50": "1234.50", "($2,000)": "-2000", "-$5": "-5", "7": "7", "$1,23": None,
                                 "--5": None, "1.2.3": None, "€5": None}),
    (NumberFormat("1.234,50 €"), {"1.234,50 €": "1234.50", "3,5": "3.5", "3.5": None, "1.000": "1000"}),
    (NumberFormat("1 234,5"), {"1 234 567": "1234567", "12": "12", "1 23": None}),
    (NumberFormat("0,5"), {"1,5": "1.5", "1.5": None, "-0,25": "-0.25"}),
    (NumberFormat("12.5%"), {"12%": "12", "1.5 %": "1.5"}),
    (NumberFormat("1 234,5"), {"1\xa0234,5": "1234.5", "1\u202f234": "1234", "1\u2009234 567,25": "1234567.25"}),
    (NumberFormat("1'234.50"), {"1’234.50": "1234.50", "-1'234": "-1234", "1 234": None}),
    (NumberFormat("12,34,567.50"), {"12,34,567.50": "1234567.50", "1,234": "1234", "999": "999", "1,23,456": "123456",
                                    "1,234,567": None, "12,34": None}),
    (NumberFormat("1,234.50-"), {"1,234.50-": "-1234.50", "-7": "-7", "7": "7", "-7-": None, "−7": "-7"}),
    (TimeFormat("MM/DD/YYYY", Dtype.DATE), {"2021-03-14 00:00:00": "2021-03-14", "2021-03-14 25:00:00": None}),
    (CountedTime("unix", Dtype.TIMESTAMP), {"1615714200": "2021-03-14T09:30:00Z", "-1": "1969-12-31T23:59:59Z",
                                            "1615714200.25": "2021-03-14T09:30:00.25Z", "1e9": None, "soon": None,
                                            "99999999999999999999": None, "2021-03-14": "2021-03-14"}),
    (CountedTime("unix-ns", Dtype.TIMESTAMP), {"1546300800000000001": "2019-01-01T00:00:00.000000001Z"}),
    (CountedTime("unix-ms", Dtype.DATE), {"1615714200500": "2021-03-14", "-1": "1969-12-31"}),
    (CountedTime("excel", Dtype.TIMESTAMP), {"44269.3958333333": "2021-03-14T09:30:00", "44269": "2021-03-14T00:00:00"}),
    (CountedTime("excel", Dtype.DATE), {"44269": "2021-03-14", "61": "1900-03-01"}),
    (BooleanFormat("Y/N"), {"y": "true", "N": "false", "x": None}),
]  # fmt: skip


@pytest.mark.parametrize(("form", "values"), READ, ids=lambda value: str(getattr(value, "format", "")))
def test_what_is_read(form, values):
    """The plain form, or nothing, of a text and of a column alike."""
    assert {text: form.one(text) for text in values} == values
    assert form.column(pa.array([*values, None], pa.string())).to_pylist() == [*values.values(), None]


@given(
    st.lists(st.text("0123456789.,-+−()$€ %x\xa0’", max_size=9)),
    st.sampled_from(["$1,234.50", "1.234,5", "0,5", "12%", "1 234.5-", "1'234", "1,23,456"]),
)
def test_columns_read_numbers_as_single_values_are(texts, example):
    """Any text at all."""
    form = NumberFormat(example)
    assert form.column(pa.array(texts, pa.string())).to_pylist() == [form.one(text) if text else None for text in texts]


@given(st.decimals(-(10**9), 10**9, places=2))
def test_numbers_come_back(number):
    """What Python writes with commas is the number."""
    assert float(NumberFormat("1,234.50").one(f"{number:,}")) == float(number)


@given(st.dates(), st.sampled_from([("%m/%d/%Y", "MM/DD/YYYY"), ("%d-%b-%Y", "DD-MMM-YYYY"), ("%Y%m%d", "YYYYMMDD")]))
def test_dates_come_back(day, forms):
    """What the standard library writes is the day."""
    written, read = forms
    text = day.strftime(written).replace(str(day.year), f"{day.year:04}", 1) if day.year >= 1000 else ""
    if text:
        assert TimeFormat(read, Dtype.DATE).one(text) == day.isoformat()


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_time_stamps_are_the_same_moment(moment, minutes):
    """In UTC, by the standard library's arithmetic."""
    there = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    found = plain_time(there.isoformat(), Dtype.TIMESTAMP)
    assert datetime.fromisoformat(found) == there.astimezone(UTC)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: TimeFormat("DD/YYYY", Dtype.DATE), "without its month"),
        (lambda: TimeFormat("MM/DD", Dtype.DATE), "needs the year"),
        (lambda: TimeFormat("MM/MM/YYYY", Dtype.DATE), "twice"),
        (lambda: TimeFormat("JJJJ", Dtype.DATE), "no part of a date"),
        (lambda: TimeFormat("YYYY-MM-DD", Dtype.TIMESTAMP), "needs a day, an hour and a minute"),
        (lambda: TimeFormat("hh:mm", Dtype.TIME), "go together"),
        (lambda: TimeFormat("%m/%d/%Y", Dtype.DATE), "write MM/DD/YYYY$"),
        (lambda: TimeFormat("%H:%M", Dtype.TIME), "write HH:mm$"),
        (lambda: TimeFormat("dd.MM.yyyy HH:mm", Dtype.TIMESTAMP), "write DD.MM.YYYY HH:mm$"),
        (lambda: TimeFormat("mm/dd/yy", Dtype.DATE), "write MM/DD/YY$"),
        (lambda: TimeFormat("epoch", Dtype.TIMESTAMP), "unix-ms.*excel$"),
        (lambda: CountedTime("unix", Dtype.TIME), "cannot be counted"),
        (lambda: NumberFormat("euro"), "an example"),
        (lambda: NumberFormat("1,234.567,8"), "one decimal separator"),
        (lambda: BooleanFormat("Y"), "two words"),
    ],
)
def test_what_cannot_be_a_format(make, part):
    """The reason is said."""
    with pytest.raises(ValueError, match=part):
        make()


def test_years_before_1000_are_four_digits():
    """Text order stays time order."""
    assert TimeFormat("YYYY-MM-DD", Dtype.DATE).one("0033-04-03") == date(33, 4, 3).isoformat()
