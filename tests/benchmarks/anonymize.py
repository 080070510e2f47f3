"""``make bench SUITE=anonymize``: every method beside the systems people would use instead.

k-anonymity as `benchmarks.k_anonymity` has it, tokens beside a loop of HMACs, noise beside diffprivlib and numpy.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC

from benchmarks import k_anonymity
from benchmarks.harness import Case, Goal, Line, measure
from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import Method, MethodSettings, RecordAnonymizer
from microflow.anonymize.differential_privacy import public_domain
from microflow.anonymize.mechanisms import TruncatedGeometric, Uniforms
from microflow.anonymize.tokenization import derived_key, key_id
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError
from microflow.records import microflows
from microflow.schema import Role
from microflow.settings import MICROFLOW_ROWS

__all__ = ["run"]

#: No secret: a benchmark holds no personal data.
_KEY = bytes(range(64))
_MOST_ROWS = 50_000
#: What the loops are given that handle one value at a time.
_FEW_ROWS = 2_000
_EPSILON = 1.0


def run(rows: int | None = None) -> list[Line]:
    """Speeds and losses of all methods; ``rows`` is what the fastest of them process (1,000,000 by default)."""
    asked = rows or 1_000_000
    # Generated hospital records, of which five identifiers are always filled.
    codes = [column.name for column in load_schema("healthcare").with_role(Role.IDENTIFIER) if column.kind == "code"]
    blocks = generate("healthcare", min(asked, _MOST_ROWS), seed=1)
    flows = [flow.rows for flow in microflows(block.rows for block in blocks)]
    return [*k_anonymity.run(asked), *_tokens(flows, codes), *_noise(flows)]


def _anonymizer(**settings: Any) -> RecordAnonymizer:
    made = build_anonymizer(MethodSettings(**settings), load_schema("healthcare"), _KEY)
    assert isinstance(made, RecordAnonymizer)
    return made


def _tokens(flows: list[pa.RecordBatch], codes: list[str]) -> list[Line]:
    """All key lengths in microflows, single records, and the loop that everybody writes first."""
    few = flows[: _FEW_ROWS // MICROFLOW_ROWS]
    records = [record for flow in few for record in flow.to_pylist()]
    made = {bits: _anonymizer(method=Method.TOKENIZATION, key_bits=bits) for bits in (128, 256, 512)}
    reversible = _anonymizer(method=Method.TOKENIZATION, reversible=True)
    _check_tokens(made[256], records, codes)
    loop = "HMAC-SHA-256, a value at a time, 5 fields"
    beside = partial(Case, reference=loop)
    return measure(
        [
            Case(loop, lambda: _hmac_loop(records, codes)),
            beside(
                "tokens, AES-256-CMAC, 5 fields", lambda: _batches(made[256], flows), goal=Goal(2e6, of_ratio=False)
            ),
            beside("tokens, AES-128-CMAC, 5 fields", lambda: _batches(made[128], flows)),
            beside("tokens, HMAC-SHA-512, 5 fields", lambda: _batches(made[512], few)),
            beside("tokens, AES-128-SIV (reversible), 5 fields", lambda: _batches(reversible, few)),
            beside("tokens, AES-256-CMAC, single records", lambda: _singly(made[256], records)),
        ],
        rounds=5,
    )


def _batches(made: RecordAnonymizer, flows: list[pa.RecordBatch]) -> float:
    return float(sum(len(made.anonymize(flow).kept) for flow in flows))


def _singly(made: RecordAnonymizer, records: list[dict[str, Any]]) -> float:
    for record in records:
        made.anonymize_record(record)
    return float(len(records))


def _hmac_loop(records: list[dict[str, Any]], codes: list[str]) -> float:
    for record in records:
        for name in codes:
            hmac.new(_KEY[:32], f"{name}:{record[name]}".encode(), hashlib.sha256).hexdigest()
    return float(len(records))


def _check_tokens(made: RecordAnonymizer, records: list[dict[str, Any]], codes: list[str]) -> None:
    """Before anything is timed: the tokens are the library's own CMACs, in columns and in records."""
    batch = pa.RecordBatch.from_pylist(records, schema=load_schema("healthcare").arrow)
    released = made.anonymize(batch).rows.to_pylist()
    if released != [made.anonymize_record(record) for record in records]:
        raise MicroflowError("columns and single records have different tokens")
    for record, row in zip(records, released, strict=True):
        for name in codes:
            mac = CMAC(algorithms.AES(derived_key(_KEY[:32], "one-way", 256)))
            mac.update(hashlib.sha256(f"column healthcare {name}".encode()).digest()[:16] + record[name].encode())
            if row[name] != f"t2.{key_id(_KEY[:32])}.{mac.finalize().hex()}":
                raise MicroflowError(f"a token of {name!r} is not the library's CMAC")


def _noise(flows: list[pa.RecordBatch]) -> list[Line]:
    """The whole method on all its fields, and one numeric column by three implementations."""
    made = _anonymizer(method=Method.DIFFERENTIAL_PRIVACY, epsilon=_EPSILON)
    fields = len(made.describe()["epsilon_of_field"])  # type: ignore[arg-type]
    records = [record for flow in flows[: _FEW_ROWS // MICROFLOW_ROWS] for record in flow.to_pylist()]
    column = load_schema("healthcare")["age"]
    ages = pa.concat_arrays([flow.column("age") for flow in flows]).drop_null()
    domain = public_domain(column)
    assert domain is not None
    mechanism = TruncatedGeometric(domain.size, _EPSILON)
    few = ages.to_pylist()[:_FEW_ROWS]
    _check_noise(ages, mechanism)
    values = partial(Case, unit="values/s")
    peer, vector = "diffprivlib Laplace, a value at a time", "numpy Laplace and clip, one column"

    def ours() -> float:
        uniforms = Uniforms(1, None)
        return _count(
            domain.decode(mechanism.perturb(domain.encode(part), uniforms.many(len(part))[0])) for part in parts
        )

    parts = [ages.slice(start, MICROFLOW_ROWS) for start in range(0, len(ages), MICROFLOW_ROWS)]
    return measure(
        [
            values(peer, lambda: _diffprivlib(few)),
            values(
                f"local DP, whole records, {fields} fields",
                lambda: fields * _batches(made, flows),
                reference=peer,
                goal=Goal(1e7, of_ratio=False),
            ),
            values("local DP, single records", lambda: fields * _singly(made, records), reference=peer),
            values(vector, lambda: _count(_numpy_laplace(part) for part in parts)),
            values("truncated geometric, one column", ours, reference=vector),
        ],
        rounds=5,
    )


def _count(columns: Iterator[Any]) -> float:
    return float(sum(map(len, columns)))


def _numpy_laplace(ages: pa.Array) -> pa.Array:
    """Noise as it is commonly written; in floating point it leaks (Mironov 2012)."""
    noisy = ages.to_numpy() + np.random.default_rng().laplace(0, 120 / _EPSILON, len(ages))
    return pa.array(np.clip(np.rint(noisy), 0, 120).astype(np.int64))


def _diffprivlib(ages: list[int]) -> float:
    randomise = _peer_laplace()
    for age in ages:
        randomise(age)
    return float(len(ages))


def _peer_laplace() -> Callable[[float], float]:
    """Laplace of diffprivlib's mechanisms alone: its models do not import beside a recent scikit-learn."""
    if "diffprivlib" not in sys.modules:
        found = importlib.util.find_spec("diffprivlib")
        if found is None or found.submodule_search_locations is None:
            raise MicroflowError("diffprivlib is not installed", hint="pip install '.[peers]'")
        package = ModuleType("diffprivlib")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["diffprivlib"] = package
    from diffprivlib.mechanisms import Laplace

    randomise: Callable[[float], float] = Laplace(epsilon=_EPSILON, sensitivity=120).randomise
    return randomise


def _check_noise(ages: pa.Array, mechanism: TruncatedGeometric) -> None:
    """Before anything is timed: released shares of both ends are those of the mechanism's definition."""
    codes: npt.NDArray[np.int64] = ages.to_numpy()
    released = mechanism.perturb(codes, Uniforms(1, seed=1).many(len(codes))[0])
    for end in (0, mechanism.size - 1, mechanism.size):
        by_code = np.array([float(mechanism.probability(end, code)) for code in range(mechanism.size)])
        promised, seen = float(by_code[codes].mean()), float((released == end).mean())
        if abs(seen - promised) > 6 * np.sqrt(promised / len(codes)):
            raise MicroflowError("the noise is not what the mechanism defines")
