"""Seeded mutations of a certified release and of its certificate: each must be refused.

`accepted_mutations` is the whole check; tests run a sample of it, `make faults` may run all 1,000.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from microflow.advise.release import ReleaseConstraints, certified, issue, make_release
from microflow.advise.verification import verified
from microflow.anonymize.contract import Method, MethodSettings
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError
from microflow.pipeline import JobSpec
from microflow.sinks.writers import open_writer

SCHEMA = "healthcare"
Mutation = Callable[[random.Random, bytes], bytes]


def certified_release(folder: Path, rows: int = 400) -> tuple[Path, Path]:
    """A release of generated records, and its certificate."""
    source, output, certificate = folder / "records.csv", folder / "safe.csv", folder / "safe.csv.certificate.json"
    batch = next(iter(generate(SCHEMA, rows, 6)))
    with open_writer(source, batch.rows.schema) as writer:
        writer.write(batch.rows)
    job = JobSpec(source, output, SCHEMA, MethodSettings(Method.K_ANONYMITY, k=5, l_diversity=2))
    certificate.write_bytes(make_release(job, lambda _: None).certificate(ReleaseConstraints(1)))
    return output, certificate


def is_accepted(output: Path, certificate: Path) -> bool:
    """Whether `microflow verify --certificate` would say that they belong together."""
    schema = load_schema(SCHEMA)
    try:
        counted = verified(output, schema, MethodSettings(Method.K_ANONYMITY))
        certified(certificate, output, schema, {"rows": counted.rows, "k": counted.k})
    except MicroflowError:
        return False
    return True


def accepted_mutations(folder: Path, count: int = 1_000, seed: int = 1) -> list[str]:
    """Mutations that no test noticed.

    Raises:
        AssertionError: the release that was not mutated is refused.
    """
    output, certificate = certified_release(folder)
    assert is_accepted(output, certificate), "what was certified is refused"
    accepted, rng = [], random.Random(seed)
    for turn in range(count):
        target, mutate = rng.choice([(output, one) for one in OF_ANY] + [(certificate, one) for one in OF_CERTIFICATES])
        whole = target.read_bytes()
        mutated = whole
        while mutated == whole:
            mutated = mutate(rng, whole)
        target.write_bytes(mutated)
        if is_accepted(output, certificate):
            accepted.append(f"mutation {turn}: {mutate.__name__} of {target.name}")
        target.write_bytes(whole)
    return accepted


def flipped(rng: random.Random, whole: bytes) -> bytes:
    """One bit is another."""
    place = rng.randrange(len(whole))
    return whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :]


def inserted(rng: random.Random, whole: bytes) -> bytes:
    """A byte too many."""
    place = rng.randrange(len(whole) + 1)
    return whole[:place] + rng.randbytes(1) + whole[place:]


def cut(rng: random.Random, whole: bytes) -> bytes:
    """The end, or a piece from the middle, is missing."""
    first = rng.randrange(len(whole))
    return whole[:first] + whole[rng.choice([len(whole), min(first + rng.randrange(1, 40), len(whole))]) :]


def reordered(rng: random.Random, whole: bytes) -> bytes:
    """Two lines have changed places, one stands there twice, or one is gone."""
    lines = whole.splitlines(keepends=True)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(3):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            lines.insert(one, lines[other])
        case _:
            del lines[one]
    return b"".join(lines)


def _places(document: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(document, dict):
        for name, value in document.items():
            yield from _places(value, (*path, name))
    else:
        yield path


def edited(rng: random.Random, whole: bytes) -> bytes:
    """A value is another, in canonical form, and the digest is the old one."""
    document = json.loads(whole)
    _set(document, rng.choice([one for one in _places(document) if one != ("digest",)]), rng)
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def reissued(rng: random.Random, whole: bytes) -> bytes:
    """A value that the release itself contradicts, with a right digest: a forger who has the certificate alone."""
    document = json.loads(whole)
    told = [one for one in _places(document) if one[0] in {"output", "verdict"} or one[-1] == "quasi_identifiers"]
    told += [one for one in _places(document) if one[0] == "guarantee" and one[1] in {"k", "l", "t"}]
    _set(document, rng.choice(told), rng)
    return issue({name: value for name, value in document.items() if name not in {"certificate", "digest"}})


def _set(document: dict, path: tuple[str, ...], rng: random.Random) -> None:
    *above, last = path
    for name in above:
        document = document[name]
    value = copy.copy(document[last])
    match value:
        case bool() | None:
            document[last] = "other"
        case int() | float():
            document[last] = value + rng.choice([-1, 1, 7])
        case str():
            document[last] = value + rng.choice("abc0")
        case list():
            document[last] = [*value, "other"]
            with suppress(IndexError):
                del document[last][rng.randrange(len(value))]


OF_ANY: tuple[Mutation, ...] = (flipped, inserted, cut, reordered)
OF_CERTIFICATES: tuple[Mutation, ...] = (*OF_ANY, edited, reissued)
