"""Spreadsheets and database tables are read as the same values in a file would be."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from xml.sax.saxutils import escape

import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Dtype, Role, SourceFormat
from microflow.sources import Quarantine, read_microflows
from microflow.sources.files import files_of
from microflow.sources.reader import column_names

SCHEMA = DatasetSchema(
    "people",
    policy="gdpr",
    source=SourceFormat(";", encoding="cp1252", missing=frozenset({"n/a"})),
    columns=(
        Column("id", Role.RECORD_ID, Dtype.INTEGER),
        Column("name", Role.IDENTIFIER),
        Column("born", Role.QUASI_IDENTIFIER, Dtype.DATE),
        Column("at", dtype=Dtype.TIMESTAMP),
        Column("x", dtype=Dtype.NUMBER),
        Column("ok", dtype=Dtype.BOOLEAN),
        Column("card", Role.IDENTIFIER),
    ),
)
ROWS = [
    {"id": 1, "name": "'=Ann", "born": "2021-03-14", "at": "2021-03-14T09:30:00", "x": 1.5, "ok": True,
     "card": "4111111111111111"},
    {"id": 2, "name": 'B, "q"\nb', "born": None, "at": None, "x": None, "ok": None, "card": None},
    {"id": 3, "name": "-7", "born": "1900-03-01", "at": None, "x": 0.0, "ok": False, "card": "007"},
]  # fmt: skip
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KINDS = "application/vnd.openxmlformats-officedocument.spreadsheetml"


class Day(float):
    """A day of a spreadsheet, counted from 1899-12-30."""


def cell(place, value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{place}" s="{int(isinstance(value, Day))}"><v>{value!r}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


def book(path, **sheets):
    """A workbook with nothing in it but cells."""
    numbered = list(enumerate(sheets, 1))
    names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in numbered)
    links = "".join(
        f'<Relationship Id="r{n}" Type="{_DOCUMENT}/worksheet" Target="worksheets/s{n}.xml"/>' for n, _ in numbered
    )
    links += f'<Relationship Id="r0" Type="{_DOCUMENT}/styles" Target="styles.xml"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="xml" '
        f'ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="{_KINDS}.sheet.main+xml"/>'
        "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22"/>'
        "</cellXfs></styleSheet>",
    }
    for n, name in numbered:
        rows = "".join(
            f'<row r="{row}">{"".join(cell(f"{chr(65 + at)}{row}", value) for at, value in enumerate(values))}</row>'
            for row, values in enumerate(sheets[name], 1)
        )
        parts[f"xl/worksheets/s{n}.xml"] = f'<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'
    with zipfile.ZipFile(path, "w") as file:
        for name, text in parts.items():
            file.writestr(name, '<?xml version="1.0"?>' + text)


def read(place, schema=SCHEMA):
    quarantine = Quarantine()
    rows = [row for flow in read_microflows(place, schema, quarantine=quarantine) for row in flow.rows.to_pylist()]
    quarantine.require_none(str(place))
    return rows


@pytest.fixture
def people(tmp_path):
    pytest.importorskip("fastexcel", reason="needs the extra excel")
    path = tmp_path / "people.xlsx"
    rows = [
        [*SCHEMA.names],
        [1, "'=Ann", Day(44269), Day(44269 + 9.5 / 24), 1.5, True, 4111111111111111],
        [2, 'B, "q"\nb', "n/a", None, None, None, None],
        [None] * 7,
        ["3", "-7", Day(61), None, -0.0, False, "007"],
    ]
    book(path, People=rows, Empty=[])
    return path


def test_a_spreadsheet(people):
    """Days, whole numbers, flags and text as they stand there; blank rows are none, whatever a file's dialect is."""
    assert column_names(people, SCHEMA.source) == [*SCHEMA.names]
    assert read(people) == ROWS


def test_a_spreadsheet_from_end_to_end(people, tmp_path):
    """Described, run and verified, in three commands."""
    schema, out = tmp_path / "s.yaml", tmp_path / "out.csv"
    rows = [["Id", "Birth date", "Sex"], *([n, Day(30_000 + n % 9), "FM"[n % 2]] for n in range(60))]
    book(people, A=rows)
    for command in (
        ["describe", str(people), "-o", str(schema)],
        ["run", str(people), str(out), "--schema", str(schema), "--method", "k_anonymity", "--no-database"],
        ["verify", str(out), "--schema", str(schema), "--k", "5"],
    ):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
    assert "type: date" in schema.read_text("utf-8")
    assert "5-anonymous: 60 rows" in done.output


def test_a_cell_far_away_takes_bounded_memory(tmp_path):
    """A file of a kilobyte with one cell in the last row and column asks the reader for 17 billion cells."""
    pytest.importorskip("fastexcel", reason="needs the extra excel")
    path = tmp_path / "far.xlsx"
    book(path, People=[["Id"], ["1"]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            far = b'<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>x</t></is></c></row></sheetData>'
            archive.writestr(name, content.replace(b"</sheetData>", far))
    with pytest.raises(InputError, match="more than 4 GiB"):
        read(path)


def test_what_is_wrong_with_a_spreadsheet_is_named(people, tmp_path):
    """Several sheets with rows, none, or no spreadsheet at all."""
    for sheets, part in (({"A": [["a"]], "B": [["b"]]}, "several sheets hold rows: 'A', 'B'"), ({"A": []}, "is empty")):
        book(people, **sheets)
        with pytest.raises(InputError, match=part):
            read(people)
    people.write_bytes(b"PK\x03\x04 no")
    with pytest.raises(InputError, match=r"people\.xlsx: not a whole spreadsheet"):
        read(people)
    with pytest.raises(InputError, match=r"none\.xlsx: cannot be read: No such file"):
        read(tmp_path / "none.xlsx")


def test_a_sheet_by_its_name(people, tmp_path):
    """Described with ``--sheet``, and read by the descriptor's ``source: sheet``; one that is not there is named."""
    book(people, Notes=[["read me"]], Visits=[["id", "name"], [1, "Ann"]])
    schema, out = tmp_path / "s.yaml", tmp_path / "out.csv"
    columns = (SCHEMA["id"], SCHEMA["name"])
    source = SourceFormat(sheet="Visits")
    assert read(people, DatasetSchema("people", columns, "gdpr", source=source)) == [{"id": 1, "name": "Ann"}]
    assert column_names(people, source) == ["id", "name"]
    words = ["describe", str(people), "--sheet", "Visits", "-o", str(schema)]
    assert CliRunner().invoke(cli, words).exit_code == 0
    schema.write_text(schema.read_text("utf-8").replace("undecided", "attribute"), "utf-8")
    words = ["run", str(people), str(out), "--schema", str(schema), "--method", "identity", "--no-database"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "1 row" in done.output
    with pytest.raises(InputError, match="there is no sheet 'Orders'") as caught:
        column_names(people, SourceFormat(sheet="Orders"))
    assert caught.value.hint == "sheets are: 'Notes', 'Visits'"


@pytest.fixture(scope="module")
def shop(database_url):
    """A table with values of every type, in a schema whose name needs quotes."""
    import psycopg2

    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute('CREATE SCHEMA "My shop"')
        cursor.execute(
            'CREATE TABLE "My shop".people '
            "(id int, name text, born date, at timestamp, x float8, ok boolean, card text)"
        )
        for row in ROWS:
            cursor.execute('INSERT INTO "My shop".people VALUES (%s, %s, %s, %s, %s, %s, %s)', tuple(row.values()))
    connection.close()
    return database_url + ("&" if "?" in database_url else "?")


@pytest.mark.database
def test_a_table_and_a_query(shop, tmp_path):
    """The same records; an apostrophe of a value is no escape."""
    assert read(f"{shop}table=My%20shop.people") == ROWS
    query = 'SELECT *, 1 AS more FROM "My shop".people WHERE id < 3 ORDER BY id;'
    assert column_names(f"{shop}query={query}", SCHEMA.source)[-1] == "more"
    with pytest.raises(InputError, match="does not describe: 'more'"):
        read(f"{shop}query={query}")
    text = "columns: {id: {role: record_id}, name: {role: identifier}}\nothers: drop"
    (tmp_path / "s.yaml").write_text(text, "utf-8")
    words = [f"{shop}query={query}", str(tmp_path / "out.jsonl"), "--schema", str(tmp_path / "s.yaml")]
    done = CliRunner().invoke(cli, ["run", *words, "--method", "identity", "--no-database"])
    assert done.exit_code == 0, done.output
    assert "2 rows read = 2 released" in done.output


@pytest.mark.database
def test_a_table_from_end_to_end(shop, database_url, tmp_path, monkeypatch):
    """Described and run; a job that is recorded could not be resumed, since nobody knows that a table is the same."""
    schema, out = tmp_path / "s.yaml", tmp_path / "out.csv"
    place = f"{shop}table=My%20shop.people"
    assert CliRunner().invoke(cli, ["describe", place, "-o", str(schema)]).exit_code == 0
    text = schema.read_text("utf-8")
    assert "name: people" in text
    assert "# My shop.people: 3 rows" in text
    schema.write_text(text.replace("undecided", "attribute"), "utf-8")
    words = ["run", place, str(out), "--schema", str(schema), "--method", "identity"]
    assert CliRunner().invoke(cli, [*words, "--no-database"]).exit_code == 0
    monkeypatch.setenv("DATABASE_URL", database_url)
    done = CliRunner().invoke(cli, [*words, "--overwrite"])
    assert "can be read only once cannot be resumed" in str(done.exception)


@pytest.mark.database
def test_what_is_wrong_with_a_query_is_named(shop):
    """In the server's words, without the query; and nothing can be changed."""
    for asked, part in (
        ("table=none", 'relation "none" does not exist'),
        ("table=a.b.c.d", "cannot be read"),
        ("query=SELECT 1/0 AS a", "division by zero"),
        ('query=DELETE FROM "My shop".people RETURNING id', "read-only transaction"),
    ):
        with pytest.raises(InputError, match=part) as caught:
            read(f"{shop}{asked}")
        assert "SELECT" not in str(caught.value)
    assert len(read(f"{shop}table=My%20shop.people")) == len(ROWS)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("postgresql://me:secret@host/shop?table=people", "a password stands in the address"),
        ("postgresql://host/shop?table=people&password=secret", "a password stands in the address"),
        ("postgresql://me@host/shop", "names a table or a query"),
        ("postgresql://me@host/shop?table=a&query=secret", "names a table or a query"),
    ],
)
def test_an_address_that_cannot_be_used(url, part):
    """Refused before anything is recorded; no secret of it is shown."""
    with pytest.raises(InputError, match=part) as caught:
        files_of(url)
    assert "secret" not in str(caught.value)
    assert "me@" not in str(caught.value)


@pytest.mark.database
def test_a_server_that_is_not_there():
    """One line, and where to look."""
    pytest.importorskip("psycopg2", reason="needs the extra database")
    with pytest.raises(InputError, match=r"postgresql://localhost:1/shop\?table=people: the database does not answer"):
        read("postgresql://me@localhost:1/shop?table=people")


@pytest.mark.parametrize(
    ("package", "place", "extra"),
    [("fastexcel", "a.xlsx", "[excel]"), ("psycopg2", "postgresql://host/a?table=b", "[database]")],
)
def test_an_extra_that_is_not_installed(package, place, extra, tmp_path):
    """Status 2 and which extra, in a line."""
    (tmp_path / "a.xlsx").write_bytes(b"")
    (tmp_path / "s.yaml").write_text("columns: {a: {}}", "utf-8")
    words = ["microflow", "run", place, "out.csv", "--schema", "s.yaml", "--method", "identity", "--no-database"]
    code = f"import sys; sys.modules[{package!r}] = None; sys.argv = {words!r}; from microflow.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 2, done.stderr
    assert extra in done.stderr
    assert "Traceback" not in done.stderr
