"""Sample of a file, and trials of settings on it: released, attacked, and measured for loss."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import BatchAnonymizer, DatasetAnonymizer, Method, MethodSettings, Released
from microflow.assess.attacks import linkage
from microflow.assess.loss import measure_loss
from microflow.assess.pair import Pair
from microflow.compliance.findings import Findings
from microflow.compliance.policy import Policy
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec, scoped
from microflow.engine.kernel import Screening, placed
from microflow.errors import InputError, MicroflowError, SchemaError
from microflow.schema import DatasetSchema, Role
from microflow.sources import Quarantine, read_microflows

__all__ = [
    "ATTEMPTS", "MOST_ROWS", "SETTINGS", "FileSample", "Release", "Trial", "Trials", "command_options", "read_sample",
    "sample_rows", "setting_name",
]  # fmt: skip

#: Random streams of their own: a file that numpy made with the same seed would otherwise share its stream with the draw
#: of rows, and a "random" sample of it would be the rows whose first column is smallest.
_ROWS_STREAM, _TARGETS_STREAM = 0x726F7773, 0x74617267

#: Rows kept of a file: enough to extrapolate from, few enough to try a dozen settings on within a minute.
MOST_ROWS = 200_000


@dataclass(frozen=True)
class FileSample:
    """Rows drawn without replacement, or persons with all of their rows; every prefix is a random sample of the file.

    ``rows`` are in the schema's types, ``rows_in_file`` is how many usable rows the file holds.
    """

    schema: DatasetSchema
    rows: pa.RecordBatch
    rows_in_file: int

    def first(self, rows: int) -> pa.RecordBatch:
        """A sample of this many rows (all of them where there are fewer)."""
        return self.rows.slice(0, rows)

    def rungs(self, smallest: int = 2_000, factor: int = 4) -> list[int]:
        """Sample sizes for trials, ascending; the last is the whole sample.

        >>> FileSample(DatasetSchema("d", (), "gdpr"), pa.record_batch({"n": list(range(40))}), 40).rungs(4)
        [4, 16, 40]
        """
        sizes = takewhile(lambda size: size * 2 <= self.rows.num_rows, (smallest * factor**step for step in count()))
        return [*sizes, self.rows.num_rows]


def sample_rows(
    batches: Iterable[pa.RecordBatch], schema: DatasetSchema, *, most: int = MOST_ROWS, seed: int = 1
) -> FileSample:
    """Draw up to ``most`` rows in one pass: each row gets a random key, and the smallest keys stay (bottom-k sampling).

    Raises:
        InputError: there is no row to sample.
    """
    rng, person = np.random.default_rng((seed, _ROWS_STREAM)), schema.person
    kept: list[tuple[np.ndarray, pa.RecordBatch]] = []
    seen, threshold, held = 0, 1.0, 0
    for batch in batches:
        keys = rng.random(batch.num_rows)
        if person is not None:
            # A person is drawn with all rows of theirs, by one key; rows without a person keep their own.
            persons = batch.column(person)
            hashed = cast("pl.Series", pl.from_arrow(persons)).hash(seed=seed).to_numpy()
            keys = np.where(persons.is_null().to_numpy(zero_copy_only=False), keys, hashed / 2.0**64)
        seen += batch.num_rows
        chosen = np.flatnonzero(keys < threshold)
        kept.append((keys[chosen], batch.take(pa.array(chosen))))
        held += len(chosen)
        if held > 2 * most:
            kept, held = [_smallest(kept, most)], most
            threshold = float(kept[0][0].max())
    if not seen:
        raise InputError("there is no usable row to learn from", hint="`microflow run` says why rows are refused")
    keys, rows = _smallest(kept, most)
    return FileSample(schema, rows.take(pa.array(_stratified(rows, keys, schema))), seen)


def read_sample(file: Path, schema_name: str) -> FileSample:
    """Sample a file of any format in one pass.

    Raises:
        SchemaError: no quasi-identifier is described, so that no attack is defined.
        InputError: the file cannot be read, or has no usable row.
    """
    schema = load_schema(schema_name)
    if not schema.quasi_identifiers:
        raise SchemaError(
            "no column has the role quasi_identifier, so risk cannot be measured",
            path=schema_name,
            hint="say which columns an attacker may know; `microflow describe FILE` ranks them",
        )
    quarantine = Quarantine()
    return sample_rows((flow.rows for flow in read_microflows(file, schema, quarantine=quarantine)), schema)


def _smallest(kept: list[tuple[np.ndarray, pa.RecordBatch]], most: int) -> tuple[np.ndarray, pa.RecordBatch]:
    """The rows with the smallest keys, and these."""
    keys = np.concatenate([part for part, _ in kept])
    rows = pa.concat_batches([part for _, part in kept])
    if len(keys) <= most:
        return keys, rows
    places = np.sort(np.argpartition(keys, most)[:most])
    return keys[places], rows.take(pa.array(places))


def _stratified(rows: pa.RecordBatch, keys: np.ndarray, schema: DatasetSchema) -> np.ndarray:
    """An order in which every prefix holds each value of the first sensitive column in proportion; or whole persons.

    Rows are ranked at random inside their stratum; a row's place is its rank as a part of its stratum.
    """
    sensitive = schema.with_role(Role.SENSITIVE)
    if not sensitive or schema.person is not None:
        return np.argsort(keys, kind="stable")
    codes = rows.column(sensitive[0].name).dictionary_encode(null_encoding="encode").indices.to_numpy()
    order = np.lexsort((keys, codes))
    sizes = np.bincount(codes)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(len(keys))
    place[order] = (np.arange(len(keys)) - starts + 0.5) / np.repeat(sizes, sizes)
    return np.lexsort((keys, place))


#: Targets of the linkage attack on each sample.
ATTEMPTS = 4_000
#: Candidate settings, from the mildest to the strongest of each method.
SETTINGS: tuple[MethodSettings, ...] = (
    MethodSettings(Method.TOKENIZATION),
    *(MethodSettings(Method.K_ANONYMITY, k=k) for k in (2, 3, 5, 7, 10, 12, 15, 20, 30, 50, 100)),
    *(MethodSettings(Method.DIFFERENTIAL_PRIVACY, epsilon=epsilon) for epsilon in (8.0, 4.0, 2.0, 1.0, 0.5, 0.1)),
)


@dataclass(frozen=True)
class Release:
    """Release of a sample.

    Attributes:
        spec: What was done.
        rows: The sample as it was.
        findings: What was found in it.
        released: The rows that left.
        ordinals: For each of them its row in the sample (int64).
        pure_ns: Time of check, remedy and method.
    """

    spec: ProcessingSpec
    rows: pa.RecordBatch
    findings: Findings
    released: pa.Table
    ordinals: npt.NDArray[np.int64]
    pure_ns: int


@dataclass(frozen=True)
class Trial:
    """Result of one setting on a sample of ``rows`` rows, of which ``released`` were released.

    ``risk`` is the success of a linkage attack by somebody who knows every quasi-identifier, above its control, with a
    95 % interval: ``(value, low, high)``; ``loss`` the information loss from 0 to 1 (`Loss.information`); ``pure_ns``
    the time of check, remedy and method.
    """

    settings: MethodSettings
    rows: int
    risk: tuple[float, float, float]
    loss: float
    released: int
    pure_ns: int


class Trials:
    """Settings tried on prefixes of one sample.

    Check and remedy depend on the method alone (what it counts, such as persons, must be left to it): for all of its
    settings they are compiled once, and run once for each prefix. Noise is seeded: advice is the same each time it is
    asked for, and the release that follows draws its own. Tokens get a key that is not kept.

    Args:
        sample: Rows of the file.
        policy: The rules that are enforced before the method.
        seed: Of noise, and of the targets of attacks.
    """

    def __init__(self, sample: FileSample, policy: Policy, *, seed: int = 1) -> None:
        self.sample = sample
        self._policy, self._seed = policy, seed
        self._key = secrets.token_bytes(32)
        self._screenings: dict[Method, Screening] = {}
        self._screened: tuple[Method, Released, Findings, int] | None = None
        self._done: dict[tuple[MethodSettings, int], Trial] = {}

    def _spec(self, settings: MethodSettings) -> ProcessingSpec:
        if settings.method is Method.DIFFERENTIAL_PRIVACY:
            settings = replace(settings, seed=self._seed)
        key = (self._key * 2)[: settings.key_bits // 8]
        return scoped(ProcessingSpec(self.sample.schema, self._policy, settings, key=key), "batch")

    def refusal(self, settings: MethodSettings) -> str:
        """Reason why a method cannot be used on the file; empty if it can."""
        spec = self._spec(settings)
        try:
            build_anonymizer(spec.method, spec.schema, spec.key)
        except MicroflowError as error:
            return error.message
        return ""

    def release(self, settings: MethodSettings, rows: int) -> Release:
        """Check, remedy and anonymize the first ``rows`` rows of the sample, as the batch engine does."""
        spec, whole = self._spec(settings), self.sample.first(rows)
        method, held = settings.method, self._screened
        if held is None or (held[0], held[1].seen) != (method, whole.num_rows):
            if method not in self._screenings:
                self._screenings[method] = Screening(spec)
            started = time.perf_counter_ns()
            held = (method, *self._screenings[method].screen(whole), time.perf_counter_ns() - started)
            self._screened = held
        _, screened, findings, screen_ns = held
        anonymizer = cast("BatchAnonymizer", build_anonymizer(spec.method, spec.schema, spec.key))
        started = time.perf_counter_ns()
        if isinstance(anonymizer, DatasetAnonymizer):
            anonymizer.observe(screened.rows)
            anonymizer.freeze()
        left = placed(anonymizer.anonymize(screened.rows), screened)
        pure_ns = screen_ns + time.perf_counter_ns() - started
        released = pa.Table.from_batches([left.rows])
        return Release(spec, whole, findings, released, left.kept, pure_ns)

    def attempt(self, settings: MethodSettings, rows: int) -> Trial:
        """Release the first ``rows`` rows and attack the release; a release of no row gives nothing away."""
        if (settings, rows) not in self._done:
            self._done[settings, rows] = self._attacked(settings, self.release(settings, rows))
        return self._done[settings, rows]

    def _attacked(self, settings: MethodSettings, made: Release) -> Trial:
        whole, left = made.rows.num_rows, made.released.num_rows
        if left == 0:
            return Trial(settings, whole, (0.0, 0.0, 0.0), 1.0, 0, made.pure_ns)
        pair = Pair.of(self.sample.schema, pa.Table.from_batches([made.rows]), made.released, made.ordinals)
        rng = np.random.default_rng((self._seed, _TARGETS_STREAM))
        attack = linkage(pair, len(pair.quasi), ATTEMPTS, rng)
        loss = measure_loss(pair, rng).information([quasi.column.name for quasi in pair.quasi])
        return Trial(settings, whole, (attack.risk, attack.low, attack.high), loss, left, made.pure_ns)


def setting_name(settings: MethodSettings) -> str:
    """Name of a setting for readers.

    >>> setting_name(MethodSettings(Method.K_ANONYMITY, k=10))
    'k-anonymity, k=10'
    """
    return {
        Method.K_ANONYMITY: f"k-anonymity, k={settings.k}",
        Method.DIFFERENTIAL_PRIVACY: f"differential privacy, ε={settings.epsilon:g}",
        Method.TOKENIZATION: f"tokenization, {settings.key_bits} bits",
    }.get(settings.method, "no method")


def command_options(settings: MethodSettings) -> str:
    """The setting as options of ``microflow run``.

    >>> command_options(MethodSettings(Method.DIFFERENTIAL_PRIVACY, epsilon=0.5))
    '--method differential_privacy --epsilon 0.5'
    """
    parameter = {
        Method.K_ANONYMITY: f" --k {settings.k}",
        Method.DIFFERENTIAL_PRIVACY: f" --epsilon {settings.epsilon:g}",
        Method.TOKENIZATION: f" --key-bits {settings.key_bits}",
    }
    return f"--method {settings.method.value}{parameter.get(settings.method, '')}"
