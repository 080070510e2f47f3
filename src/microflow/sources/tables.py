"""Tables that are no files of text: spreadsheets, and tables or queries of PostgreSQL, as CSV to be read on.

Every value is text when it gets here, so that it is the same value as in a file: a spreadsheet's days are days of the
calendar, and a database's dates are ISO 8601. Both need an extra (``excel``, ``database``).

A database is addressed as ``postgresql://host/name?table=schema.table`` or ``...?query=SELECT ...``. A password does
not stand in the address, which is recorded and shown: ``PGPASSWORD`` or ``~/.pgpass`` hold it. What is asked runs in a
transaction that can change nothing.
"""

from __future__ import annotations

import csv
import io
import json
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from microflow.errors import InputError
from microflow.settings import child_environment

if TYPE_CHECKING:
    import polars as pl

__all__ = ["address_parts", "is_database", "is_sheet", "is_table", "table_name", "table_text"]

_DATABASE = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
#: What reading a spreadsheet may take: about a hundred million cells.
_MOST_MEMORY = 4 << 30
_REFUSED = 3
_SHEET = re.compile(r"\.(?:xlsx|xlsm|xlsb|xls|ods)$", re.IGNORECASE)


def is_database(place: object) -> bool:
    """True if an input is a table or query of PostgreSQL.

    >>> is_database("postgresql://host/shop?table=orders"), is_database("s3://host/orders.csv")
    (True, False)
    """
    return _DATABASE.match(str(place)) is not None


def is_sheet(place: object) -> bool:
    """True if an input is a spreadsheet, by its suffix."""
    return not is_database(place) and _SHEET.search(str(place)) is not None


def is_table(place: object) -> bool:
    """True if an input is a spreadsheet or database, which is read as CSV."""
    return is_database(place) or is_sheet(place)


@contextmanager
def table_text(place: str, sheet: str = "") -> Iterator[IO[bytes]]:
    """A table as CSV with a header; of a spreadsheet the ``sheet`` of this name, or the only one that holds rows.

    Raises:
        InputError: it cannot be read.
        ModuleNotFoundError: the extra is not installed.
    """
    if is_database(place):
        # Wholly fetched before anything is processed: no socket is open while the clock runs.
        with tempfile.TemporaryFile() as file:
            _copy(place, file)
            file.seek(0)
            yield cast("IO[bytes]", file)
    else:
        yield io.BytesIO(_sheet(place, sheet))


def _sheet(place: str, wanted: str) -> bytes:
    """A spreadsheet as CSV, read by a process of its own whose memory is bounded.

    One cell in the last row and column of a file of a kilobyte asks the reader for 17 billion cells.
    """
    import fastexcel  # noqa: F401 - says here that the extra is missing

    command = [sys.executable, "-c", f"from {__name__} import write_sheet; write_sheet()", place, wanted]
    environment = child_environment(POLARS_MAX_THREADS="1", RAYON_NUM_THREADS="1", MALLOC_ARENA_MAX="2")
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    if done.returncode == _REFUSED:
        raise InputError(**json.loads(done.stdout))
    if done.returncode != 0:
        reason = f"not a whole spreadsheet, or one that takes more than {_MOST_MEMORY >> 30} GiB to read"
        raise InputError(reason, path=place, hint="save the sheet as CSV")
    return done.stdout


def write_sheet() -> None:
    """The child's side: the sheet that the command names, to standard output; or why not, as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    try:
        text = _sheet_text(*sys.argv[1:])
    except InputError as error:
        sys.stdout.write(json.dumps({"message": error.message, "hint": error.hint}))
        sys.exit(_REFUSED)
    sys.stdout.buffer.write(text.encode())


def _sheet_text(place: str, wanted: str) -> str:
    import fastexcel
    import polars as pl

    try:
        with Path(place).open("rb"):
            pass
        book = fastexcel.read_excel(place)
        names = [name for name in book.sheet_names if wanted in {"", name}]
        sheets = [book.load_sheet(name, header_row=None, dtypes="string") for name in names]
        filled = [sheet for sheet in sheets if sheet.height]
        frames = [cast("pl.DataFrame", pl.from_arrow(sheet.to_arrow())) for sheet in filled[:1]]
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=place) from error
    except fastexcel.FastExcelError as error:
        raise InputError("not a whole spreadsheet", path=place, hint="was it copied completely?") from error
    if not names:
        listed = ", ".join(map(repr, book.sheet_names))
        raise InputError(f"there is no sheet {wanted!r}", path=place, hint=f"sheets are: {listed}")
    if len(filled) > 1:
        listed = ", ".join(repr(sheet.name) for sheet in filled)
        hint = "name the one that is meant: source: {sheet: ...} in the descriptor, `microflow describe --sheet ...`"
        raise InputError(f"several sheets hold rows: {listed}", path=place, hint=hint)
    if not frames:
        raise InputError("the file is empty or does not begin with a header", path=place)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in frames[0].iter_rows():
        # A blank row stays a blank line, so that the lines that are named later are the sheet's.
        writer.writerow(row if any(value is not None for value in row) else ())
    return text.getvalue()


def _copy(url: str, file: IO[bytes]) -> None:
    import psycopg2
    from psycopg2 import sql

    address, table, query = address_parts(url)
    asked = sql.SQL(query) if query else sql.SQL("SELECT * FROM {}").format(sql.Identifier(*table.split(".")))
    copy = sql.SQL("COPY ({}) TO STDOUT WITH (FORMAT csv, HEADER true, ENCODING 'UTF8')").format(asked)
    try:
        connection = psycopg2.connect(address, options="-c datestyle=ISO", application_name="microflow")
    except (psycopg2.Error, UnicodeDecodeError) as error:
        reason = "the database does not answer, or refuses the user"
        raise InputError(reason, path=_shown(url), hint="see PGPASSWORD, ~/.pgpass and the host") from error
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection, connection.cursor() as cursor:
            cursor.copy_expert(copy, file)
    except psycopg2.Error as error:
        # The server's first line names tables and columns; the next ones may hold values.
        lines = (error.diag.message_primary or "the query fails").splitlines()
        raise InputError(f"cannot be read: {lines[0]}", path=_shown(url)) from error
    finally:
        connection.close()


def address_parts(url: str) -> tuple[str, str, str]:
    """The address of the database, and the table or the query.

    Raises:
        InputError: it holds a password, or not one of the two.
    """
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    named = dict(options)
    if parts.password or "password" in named:
        message = "a password stands in the address, which is recorded and shown"
        raise InputError(message, path=_shown(url), hint="put it into PGPASSWORD or ~/.pgpass")
    table, query = named.get("table", ""), named.get("query", "").strip().rstrip(";")
    if bool(table) == bool(query):
        hint = "for instance postgresql://host/name?table=visits"
        raise InputError("the address names a table or a query", path=_shown(url), hint=hint)
    rest = urlencode([(name, value) for name, value in options if name not in {"table", "query"}])
    return urlunsplit(parts._replace(query=rest)), table, query


def _shown(url: str) -> str:
    """An address as it may be shown: without user, password and query."""
    parts = urlsplit(url)
    named = dict(parse_qsl(parts.query))
    table = f"?table={named['table']}" if "table" in named else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{table}"


def table_name(url: str) -> str:
    """The name of the table, or ``query``."""
    return address_parts(url)[1] or "query"
