"""Small made-up files with the headers and formats of public data sets that people in this work know."""

# ruff: noqa: E501 - tables of cells

from __future__ import annotations

import csv
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

FIRST = ["José", "Ann", "Milo", "Zoë", "Karl", "Ines", "Tom", "Ruth", "Omar", "Lea", "Ivan", "Mia"]
LAST = ["Gómez", "Feil", "Roe", "Schmidt", "O'Neil", "Park", "Lee", "Ito", "Novak", "Costa", "Diaz"]
STREETS = ["Main Street", "Oak Avenue", "Elm Road", "High Street", "Lake Drive"]
CITIES = ["Boston", "Springfield", "Worcester", "Quincy"]
TEXT = (
    "Patient seen today for follow up and was feeling better than at the last visit; continue {} mg of the medication "
    "and return in {} weeks with new laboratory results."
)
Cell = Callable[[random.Random, int], object]


@dataclass(frozen=True)
class Shape:
    """A file's cells by column, its identifiers, and how it is written."""

    name: str
    columns: list[tuple[str, Cell]]
    identifiers: set[str]
    person: str | None = None
    delimiter: str = ","
    header: bool = True
    encoding: str = "utf-8"
    rows: int = 400

    def write(self, folder: Path) -> Path:
        """The file."""
        path = folder / f"{self.name}.csv"
        rng = random.Random(self.name)
        with path.open("w", encoding=self.encoding, newline="") as file:
            writer = csv.writer(file, delimiter=self.delimiter, lineterminator="\n")
            if self.header:
                writer.writerow([name for name, _ in self.columns])
            for row in range(self.rows):
                writer.writerow([cell(rng, row) for _, cell in self.columns])
        return path


def of(*values: object) -> Cell:
    return lambda rng, _: rng.choice(values)


def whole(low: int, high: int) -> Cell:
    return lambda rng, _: rng.randint(low, high)


def decimal(low: float, high: float, digits: int = 2) -> Cell:
    return lambda rng, _: f"{rng.uniform(low, high):.{digits}f}"


def money(low: float, high: float) -> Cell:
    return lambda rng, _: f"${rng.uniform(low, high):,.2f}"


def day(form: str = "%Y-%m-%d", first: int = 1940, years: int = 70) -> Cell:
    return lambda rng, _: (date(first, 1, 1) + timedelta(days=rng.randrange(365 * years))).strftime(form)


def moment(form: str) -> Cell:
    def cell(rng: random.Random, row: int) -> str:
        stamp = date(2015, 1, 1) + timedelta(days=rng.randrange(2_000))
        text = stamp.strftime(form)
        return text.replace("hh", f"{rng.randint(1, 12):02}").replace("mi", f"{rng.randint(0, 59):02}")

    return cell


def key(_: random.Random, row: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, str(row)))


def other_key(what: str, many: int) -> Cell:
    return lambda rng, _: str(uuid.uuid5(uuid.NAMESPACE_URL, f"{what}{rng.randrange(many)}"))


def patient(rng: random.Random, _: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, str(rng.randrange(80))))


def number(rng: random.Random, row: int) -> int:
    return row + 1


def shuffled(low: int) -> Cell:
    return lambda rng, row: low + (row * 7919) % 99_991


def ssn(rng: random.Random, _: int) -> str:
    return f"999-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def phone(rng: random.Random, _: int) -> str:
    return f"({rng.randint(200, 999)}) 555-{rng.randint(1000, 9999)}"


def address(rng: random.Random, _: int) -> str:
    return f"{rng.randint(1, 999)} {rng.choice(STREETS)}"


def empty(share: float, cell: Cell) -> Cell:
    return lambda rng, row: "" if rng.random() < share else cell(rng, row)


def code(letter: str, digits: int = 6) -> Cell:
    return lambda rng, row: f"{letter}{(row * 7919) % 10**digits:0{digits}}"


def zip_code(rng: random.Random, _: int) -> str:
    return f"0{rng.randint(1001, 2799)}"


def full_name(rng: random.Random, _: int) -> str:
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def note(rng: random.Random, _: int) -> str:
    return TEXT.format(rng.randint(1, 500), rng.randint(1, 50))


SYNTHEA = Shape("patients", [
    ("Id", key), ("BIRTHDATE", day()), ("DEATHDATE", empty(0.8, day(first=2010, years=10))), ("SSN", ssn),
    ("DRIVERS", empty(0.2, code("S999"))), ("PASSPORT", empty(0.2, code("X"))), ("PREFIX", of("Mr.", "Mrs.", "Ms.", "")),
    ("FIRST", of(*FIRST)), ("LAST", of(*LAST)), ("SUFFIX", of("", "", "PhD", "MD")), ("MAIDEN", empty(0.7, of(*LAST))),
    ("MARITAL", of("M", "S", "")), ("RACE", of("white", "black", "asian")), ("ETHNICITY", of("hispanic", "nonhispanic")),
    ("GENDER", of("M", "F")), ("BIRTHPLACE", of(*CITIES)), ("ADDRESS", address), ("CITY", of(*CITIES)),
    ("STATE", of("Massachusetts")), ("COUNTY", of("Suffolk County", "Norfolk County")), ("ZIP", empty(0.3, zip_code)),
    ("LAT", decimal(41, 43, 12)), ("LON", decimal(-72, -70, 12)), ("HEALTHCARE_EXPENSES", decimal(1e3, 1e6)),
    ("HEALTHCARE_COVERAGE", decimal(0, 1e4)),
], {"Id", "SSN", "DRIVERS", "PASSPORT", "FIRST", "LAST", "MAIDEN", "ADDRESS"})  # fmt: skip

SYNTHEA_ENCOUNTERS = Shape("encounters", [
    ("Id", other_key("encounter", 10**9)), ("START", moment("%Y-%m-%dThh:mi:07Z")), ("STOP", moment("%Y-%m-%dThh:mi:07Z")),
    ("PATIENT", patient), ("ORGANIZATION", other_key("org", 9)), ("PROVIDER", other_key("doc", 20)),
    ("PAYER", other_key("payer", 5)), ("ENCOUNTERCLASS", of("ambulatory", "wellness", "emergency")),
    ("CODE", of(185345009, 162673000)), ("DESCRIPTION", of("Encounter for symptom", "General examination")),
    ("BASE_ENCOUNTER_COST", of(129.16, 77.49)), ("TOTAL_CLAIM_COST", decimal(50, 900)), ("PAYER_COVERAGE", decimal(0, 90)),
    ("REASONCODE", empty(0.6, of(10509002, 195662009))), ("REASONDESCRIPTION", empty(0.6, of("Acute bronchitis", "Pharyngitis"))),
], {"Id", "PATIENT", "ORGANIZATION", "PROVIDER", "PAYER"}, "PATIENT")  # fmt: skip

OMOP = Shape("person", [
    ("person_id", number), ("gender_concept_id", of(8507, 8532)), ("year_of_birth", whole(1930, 2015)),
    ("month_of_birth", whole(1, 12)), ("day_of_birth", whole(1, 28)), ("birth_datetime", moment("%Y-%m-%d 00:00:00")),
    ("race_concept_id", of(8527, 8516)), ("ethnicity_concept_id", of(38003563, 38003564)), ("location_id", whole(1, 90)),
    ("provider_id", empty(0.9, whole(1, 30))), ("care_site_id", empty(0.9, whole(1, 9))), ("person_source_value", key),
    ("gender_source_value", of("M", "F")), ("gender_source_concept_id", of(0)), ("race_source_value", of("white", "black")),
    ("race_source_concept_id", of(0)), ("ethnicity_source_value", of("hispanic", "nonhispanic")),
    ("ethnicity_source_concept_id", of(0)),
], {"person_id", "person_source_value"})  # fmt: skip

OMOP_CONDITIONS = Shape("condition_occurrence", [
    ("condition_occurrence_id", number), ("person_id", whole(1, 90)), ("condition_concept_id", of(260139, 40481087, 4112343)),
    ("condition_start_date", day(first=2010, years=9)), ("condition_start_datetime", moment("%Y-%m-%d 00:00:00")),
    ("condition_end_date", empty(0.3, day(first=2010, years=9))), ("condition_type_concept_id", of(32020)),
    ("stop_reason", of("")), ("provider_id", of("")), ("visit_occurrence_id", whole(1, 200)),
    ("condition_source_value", of("10509002", "195662009")), ("condition_source_concept_id", of(0)),
], {"condition_occurrence_id", "person_id", "visit_occurrence_id"}, "person_id")  # fmt: skip

COMPAS = Shape("compas", [
    ("id", number), ("name", full_name), ("first", of(*FIRST)), ("last", of(*LAST)),
    ("compas_screening_date", day(first=2013, years=1)), ("sex", of("Male", "Female")), ("dob", day()), ("age", whole(18, 80)),
    ("age_cat", of("25 - 45", "Greater than 45", "Less than 25")), ("race", of("African-American", "Caucasian", "Hispanic")),
    ("juv_fel_count", whole(0, 3)), ("decile_score", whole(1, 10)), ("priors_count", whole(0, 20)),
    ("days_b_screening_arrest", empty(0.1, whole(-30, 30))), ("c_jail_in", empty(0.1, moment("%Y-%m-%d hh:mi:41"))),
    ("c_case_number", code("13", 9)), ("c_offense_date", empty(0.2, day(first=2013, years=1))), ("c_charge_degree", of("F", "M")),
    ("c_charge_desc", of("Battery", "arrest case no charge", "Grand Theft in the 3rd Degree")), ("is_recid", of(0, 1)),
    ("r_case_number", empty(0.5, code("14", 9))), ("score_text", of("Low", "Medium", "High")), ("two_year_recid", of(0, 1)),
], {"id", "name", "first", "last", "c_case_number", "r_case_number"})  # fmt: skip

STROKE = Shape("stroke", [
    ("id", shuffled(67)), ("gender", of("Male", "Female")), ("age", decimal(1, 82, 0)), ("hypertension", of(0, 1)),
    ("heart_disease", of(0, 1)), ("ever_married", of("Yes", "No")), ("work_type", of("Private", "Self-employed", "children")),
    ("Residence_type", of("Urban", "Rural")), ("avg_glucose_level", decimal(55, 270)),
    ("bmi", lambda rng, _: "N/A" if rng.random() < 0.1 else f"{rng.uniform(12, 60):.1f}"),
    ("smoking_status", of("never smoked", "Unknown", "smokes")), ("stroke", of(0, 1)),
], {"id"})  # fmt: skip

GERMAN = Shape("german", [
    ("status", of("A11", "A12")), ("months", whole(4, 72)), ("history", of("A32", "A34")), ("purpose", of("A40", "A43")),
    ("amount", whole(250, 18424)), ("savings", of("A61", "A65")), ("employed", of("A71", "A75")), ("rate", whole(1, 4)),
    ("sex", of("A91", "A93")), ("age", whole(19, 75)), ("class", of(1, 2)),
], set(), delimiter=" ", header=False)  # fmt: skip

CMS = Shape("charges", [
    ("DRG Definition", of("039 - EXTRACRANIAL PROCEDURES W/O CC/MCC", "057 - DEGENERATIVE NERVOUS SYSTEM DISORDERS")),
    ("Provider Id", whole(10001, 10060)), ("Provider Name", of("SOUTHEAST ALABAMA MEDICAL CENTER", "MARSHALL MEDICAL CENTER")),
    ("Provider Street Address", address), ("Provider City", of("DOTHAN", "BOAZ")), ("Provider State", of("AL", "NY")),
    ("Provider Zip Code", zip_code), ("Hospital Referral Region Description", of("AL - Dothan", "AL - Birmingham")),
    (" Total Discharges ", whole(11, 300)), (" Average Covered Charges ", money(1e3, 9e4)),
    (" Average Total Payments ", money(1e3, 2e4)), ("Average Medicare Payments", money(1e3, 2e4)),
], {"Provider Id", "Provider Name", "Provider Street Address"})  # fmt: skip

NYC = Shape("nyc311", [
    ("Unique Key", shuffled(10_000_000)), ("Created Date", moment("%m/%d/%Y hh:mi:00 AM")),
    ("Closed Date", empty(0.2, moment("%m/%d/%Y hh:mi:00 PM"))), ("Agency", of("NYPD", "HPD")),
    ("Agency Name", of("New York City Police Department", "Department of Housing")), ("Complaint Type", of("Noise", "Heat")),
    ("Descriptor", of("Loud Music/Party", "Entire Building")), ("Location Type", of("Street/Sidewalk", "Residential Building")),
    ("Incident Zip", of("10001", "11201", "10458")), ("Incident Address", address), ("Street Name", of(*STREETS)),
    ("Cross Street 1", of(*STREETS)), ("Cross Street 2", of(*STREETS)), ("Address Type", of("ADDRESS", "INTERSECTION")),
    ("City", of("NEW YORK", "BROOKLYN")), ("Status", of("Closed", "Open")),
    ("Resolution Description", note), ("BBL", empty(0.2, lambda rng, _: f"10{rng.randint(10**7, 10**8)}")),
    ("Borough", of("MANHATTAN", "BROOKLYN")), ("X Coordinate (State Plane)", whole(913000, 1067000)),
    ("Latitude", decimal(40, 41, 14)), ("Longitude", decimal(-74, -73, 14)),
    ("Location", lambda rng, _: f"({rng.uniform(40, 41):.9f}, {rng.uniform(-74, -73):.9f})"),
], {"Unique Key", "Incident Address", "Street Name", "Cross Street 1", "Cross Street 2", "BBL"})  # fmt: skip

TELCO = Shape("telco", [
    ("customerID", lambda rng, row: f"{(row * 7919) % 10_000:04}-{rng.choice('ABC')}VHVEG"), ("gender", of("Male", "Female")),
    ("SeniorCitizen", of(0, 1)), ("Partner", of("Yes", "No")), ("Dependents", of("Yes", "No")), ("tenure", whole(0, 72)),
    ("PhoneService", of("Yes", "No")), ("MultipleLines", of("Yes", "No", "No phone service")), ("Contract", of("One year", "Two year")),
    ("PaperlessBilling", of("Yes", "No")), ("PaymentMethod", of("Mailed check", "Electronic check")),
    ("MonthlyCharges", decimal(18, 118)), ("TotalCharges", lambda rng, _: rng.choice([" ", f"{rng.uniform(18, 8000):.2f}"])),
    ("Churn", of("Yes", "No")),
], {"customerID"})  # fmt: skip

NOTES = Shape("notes", [
    ("ROW_ID", number), ("SUBJECT_ID", whole(1, 80)), ("HADM_ID", whole(100000, 199999)), ("CHARTDATE", day(first=2100, years=20)),
    ("CATEGORY", of("Nursing", "Discharge summary")), ("DESCRIPTION", of("Report", "Addendum")),
    ("PHONE", phone), ("EMAIL", lambda rng, _: f"{rng.choice(FIRST).lower()}{rng.randint(1, 99)}@example.org"),
    ("TEXT", note),
], {"SUBJECT_ID", "HADM_ID", "PHONE", "EMAIL"}, "SUBJECT_ID")  # fmt: skip

ADULT = Shape("adult", [
    ("39", whole(17, 90)), ("a", of(" Private", " ?", " State-gov")), ("f", lambda rng, _: f" {rng.randint(10**4, 10**4 + 300)}"),
    ("e", of(" Bachelors", " HS-grad")), ("s", of(" Male", " Female")), ("i", of(" <=50K", " >50K")),
], set(), header=False)  # fmt: skip

GERMAN_CLINIC = Shape("klinik", [
    ("Fallnummer", code("F")), ("Nachname", of(*LAST)), ("Vorname", of(*FIRST)), ("Geburtsdatum", day("%d.%m.%Y")),
    ("PLZ", lambda rng, _: f"{rng.randint(1067, 99998):05}"), ("Geschlecht", of("männlich", "weiblich")),
    ("Kosten", lambda rng, _: f"{rng.uniform(10, 9000):.2f}".replace(".", ",")),
], {"Fallnummer", "Nachname", "Vorname"}, delimiter=";", encoding="cp1252")  # fmt: skip

SHAPES = [
    SYNTHEA, SYNTHEA_ENCOUNTERS, OMOP, OMOP_CONDITIONS, COMPAS, STROKE, GERMAN, CMS, NYC, TELCO, NOTES, ADULT, GERMAN_CLINIC,
]  # fmt: skip
