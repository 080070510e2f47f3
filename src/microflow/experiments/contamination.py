"""What would the clock have shown, had database work stayed inside it? The seed's before/after table, measured.

The same pure work is timed clean and with one kind of intrusion inside the clock. Every arm holds the same open
connection, sees the same data and must release the same rows; only what happens between start and stop differs. The
work comes in two speeds, as microflows and record by record: the faster the work, the more an intrusion hides.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.experiments.intrusions import CLEAN, INTRUSIONS, Rows, documents, open_place
from microflow.experiments.matrix import Matrix, Precision, scale_of
from microflow.experiments.sources import source
from microflow.processors import ProcessingSpec
from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt
from microflow.processors.kernel import BatchKernel
from microflow.schema import Record
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard
from microflow.timing.trials import Arm, Trial, again, gather

if TYPE_CHECKING:
    from microflow.timing.comparisons import Verdict

__all__ = ["WORKS", "Penalty", "matrix", "penalties", "trial"]

_TARGET = "microflow.experiments.contamination:trial"

Work = Callable[[pa.RecordBatch], Rows]


def as_microflows(spec: ProcessingSpec) -> Work:
    """The batch engine's kernel, a microflow at a time."""
    kernel = BatchKernel(spec)
    return lambda rows: kernel.run(rows)[0].rows


def as_records(spec: ProcessingSpec) -> Work:
    """The stream engine's bolts, a record at a time."""
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)

    def work(rows: pa.RecordBatch) -> list[Record]:
        passed = (anonymize(compliance(row, record)) for row, record in enumerate(rows.to_pylist()))
        return [passing.record for passing in passed if passing.record is not None]

    return work


WORKS: dict[str, Callable[[ProcessingSpec], Work]] = {"microflows": as_microflows, "records": as_records}


def trial(config: dict[str, Any]) -> dict[str, Any]:
    """Time ``config["passes"]`` passes over the same rows with one intrusion; a target for a fresh process.

    Args:
        config: ``work`` and ``intrusion`` (keys of `WORKS` and `INTRUSIONS`), ``data_type``, ``rows``, ``passes``,
            ``seed``. The database is ``DATABASE_URL``'s or the embedded one.

    Returns:
        ``samples``: nanoseconds inside the clock per record, one value a pass; ``microflow_ns``: the same per
        microflow; ``records``, checksums, and ``purity``, the guard's evidence (clean arms only: it would refuse the
        others).
    """
    schema = load_schema(config["data_type"])
    flows = [flow.rows for flow in source(config, config["rows"])]
    spec = ProcessingSpec(
        schema, load_policy(schema.policy), MethodSettings(Method.TOKENIZATION), key=_public_key(config["seed"])
    )
    work, intrude = WORKS[config["work"]](spec), INTRUSIONS[config["intrusion"]]
    outputs = [work(rows) for rows in flows]  # also the warm-up: whatever loads lazily has loaded before the clock
    clock = PhaseClock(PurityGuard() if config["intrusion"] == CLEAN else None)
    samples = []
    with open_place() as place:
        for _ in range(config["passes"]):
            before = clock.pure_ns
            for rows in flows:
                with clock.pure():
                    intrude(place, work(rows))
            samples.append((clock.pure_ns - before) / config["rows"])
    return {
        "samples": samples,
        "microflow_ns": list(clock.pure_spans),
        "records": config["rows"],
        "data_checksum": _checksum(rows.to_pylist() for rows in flows),
        "output_checksum": _checksum(documents(rows) for rows in outputs),
        "purity": None if clock.guard is None else asdict(clock.guard.evidence),
    }


def _public_key(seed: int) -> bytes:
    """A key anybody can compute, for generated data only: all arms must release equal tokens."""
    return hashlib.sha256(f"contamination {seed}".encode()).digest()


def _checksum(parts: Iterable[list[Record]]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(json.dumps(part, default=str).encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Scale:
    rows: int
    passes: int
    blocks: int
    intrusions: tuple[str, ...] = tuple(INTRUSIONS)
    precision: Precision | None = None


_SCALES = {
    "smoke": _Scale(200, 2, 2, (CLEAN, "row insert")),
    "quick": _Scale(500, 3, 3),
    "paper": _Scale(1_500, 4, 6, precision=Precision(0.05, CLEAN, most=8)),
}


def matrix(profile: str = "quick", *, data_type: str = "healthcare", seed: int = 1) -> Matrix:
    """Every work with every intrusion, and the clean arms once more as the noise floor."""
    scale = scale_of(_SCALES, profile)
    arms = []
    for work, intrusion in itertools.product(WORKS, scale.intrusions):
        config = {"work": work, "intrusion": intrusion, "data_type": data_type}
        arms.append(Arm(f"{work}: {intrusion}", _TARGET, config | {"rows": scale.rows, "passes": scale.passes}))
    arms += [again(arm) for arm in arms if arm.config["intrusion"] == CLEAN]
    return Matrix("contamination", tuple(arms), scale.blocks, seed, precision=scale.precision)


@dataclass(frozen=True, slots=True)
class Penalty:
    """What one intrusion does to the measured time of one kind of work.

    ``ratio`` (``low``, ``high``: 95 %) is measured time over clean time. ``share`` (``share_low``, ``share_high``) is
    the part of the measured time that is not processing, ``1 - 1 / ratio``: the number that the seed put at 50–80 %.
    ``noise_floor`` is what two clean arms may differ by, as a part of the time. ``effect`` is Hedges' g of the paired
    log-ratios, ``p_holm`` is corrected for the number of intrusions.
    """

    work: str
    arm: str
    ratio: float
    low: float
    high: float
    p_holm: float
    effect: float
    verdict: Verdict
    noise_floor: float

    @property
    def share(self) -> float:
        """The part of the measured time that is not processing."""
        return 1 - 1 / self.ratio

    @property
    def share_low(self) -> float:
        """The lower end of the share's interval."""
        return 1 - 1 / self.low

    @property
    def share_high(self) -> float:
        """The upper end of the share's interval."""
        return 1 - 1 / self.high


def penalties(trials: Sequence[Trial]) -> list[Penalty]:
    """Compare each intrusion with the clean arm of its work.

    Raises:
        MicroflowError: unlike machines, unequal outputs or incomplete blocks.
    """
    from microflow.timing.comparisons import compare

    samples = gather(trials)
    found = []
    for work in WORKS:
        own = {name.removeprefix(f"{work}: "): blocks for name, blocks in samples.items() if name.startswith(work)}
        analysis = compare(own, CLEAN, f"{CLEAN} again")
        found += [
            Penalty(
                work, one.arm, one.ratio, one.low, one.high, one.p_holm, one.effect, one.verdict, analysis.noise_floor
            )
            for one in analysis.comparisons
        ]
    return found
