"""k-anonymity by generalisation: over the whole data set in two passes, or inside each microflow.

The data set is counted into a cube of quasi-identifier tuples (`observe`), Mondrian partitions the tuples (`freeze`),
and each row's labels follow from its tuple (`anonymize`): no row is kept in memory, rows may come in any order and on
any worker, and equal rows are always released alike.

Where the schema has a column of role person, its distinct values are counted instead of rows: cells are then tuples
with a person, and memory grows with persons, too.

Identifiers are released as missing values and quasi-identifiers as labels (`microflow.anonymize.generalise`); every
other column passes. Rows that no class can take (fewer than k in all, or too little diversity) are suppressed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from microflow.anonymize.axes import Coder, Codes, DictionaryCoder, coder_for
from microflow.anonymize.classes import CellIndex, Cells, Classes, Cube, Decision, Packing, decide
from microflow.anonymize.contract import MethodSettings, Released, Scope
from microflow.anonymize.diversity import Reached, diverse_columns
from microflow.errors import MicroflowError
from microflow.schema import DatasetSchema, Role

__all__ = ["KAnonymity", "MicroflowKAnonymity", "guarantee", "released_schema", "require_classes", "unit_of"]

#: Rows that wait in Arrow before they are counted: encoding many at once costs a fraction of encoding each microflow.
_WAITING_ROWS = 65_536
_COUNT = "__count__"


def released_schema(schema: DatasetSchema) -> pa.Schema:
    """The Arrow schema of k-anonymous rows: quasi-identifiers are text, everything else keeps its type."""
    labels = {column.name for column in schema.quasi_identifiers}
    return pa.schema([pa.field(f.name, pa.string() if f.name in labels else f.type) for f in schema.arrow])


class _Columns:
    """What both scopes share: the columns that are coded, and how rows are put together again."""

    def __init__(self, settings: MethodSettings, schema: DatasetSchema) -> None:
        require_classes(settings, schema)
        self.settings = settings
        self.schema = schema
        self.output_schema = released_schema(schema)
        self.quasi = [coder_for(column) for column in schema.quasi_identifiers]
        sensitive = diverse_columns(settings, schema)
        self.sensitive = [(coder_for(column), column.ordered) for column in sensitive]
        persons = schema.with_role(Role.PERSON)
        #: Never a grid: two persons in one cell would be taken for one.
        self.person = [DictionaryCoder(column) for column in persons]
        self.diverse = [column.name for column in sensitive]
        self.names = [column.name for column in (*schema.quasi_identifiers, *sensitive, *persons)]
        labels = {column.name: i for i, column in enumerate(schema.quasi_identifiers)}
        #: Per column of the output the quasi-identifier whose label it holds, and the type of nothing.
        self._plan = [
            (labels.get(column.name), column.dtype.arrow if column in schema.identifiers else None)
            for column in schema.columns
        ]
        #: Identifiers of one type are released as one array.
        self._blanks = {blank for _, blank in self._plan if blank is not None}

    @property
    def coders(self) -> list[Coder]:
        return [*self.quasi, *(coder for coder, _ in self.sensitive), *self.person]

    @property
    def sizes(self) -> list[int]:
        return [coder.size for coder in self.coders]

    def learn(self, columns: Sequence[pa.Array]) -> list[Codes]:
        return [coder.learn(column) for coder, column in zip(self.coders, columns, strict=True)]

    def decide(self, cells: Cells) -> Decision:
        return decide(cells, self.quasi, self.sensitive, self.settings, by_person=bool(self.person))

    def release(self, rows: pa.RecordBatch, classes: Classes, class_of: Codes) -> Released:
        """The rows that have a class, with labels for quasi-identifiers and without identifiers."""
        kept = np.flatnonzero(class_of >= 0)
        seen = rows.num_rows
        if len(kept) < seen:
            rows, class_of = rows.take(pa.array(kept)), class_of[kept]
        labels = classes.columns(class_of)
        nothing = {blank: pa.nulls(len(kept), blank) for blank in self._blanks}
        columns = []
        for place, (label, blank) in enumerate(self._plan):
            if label is not None:
                columns.append(labels[label])
            else:
                columns.append(rows.column(place) if blank is None else nothing[blank])
        return Released(pa.RecordBatch.from_arrays(columns, schema=self.output_schema), kept, seen)

    def describe(self, scope: Scope, among: str) -> dict[str, object]:
        settings = self.settings
        claim: dict[str, object] = {
            "method": settings.method.value,
            "scope": scope.value,
            "k": settings.k,
            "cuts": "strict" if settings.strict else "relaxed",
            "quasi_identifiers": [column.name for column in self.schema.quasi_identifiers],
            "unit": unit_of(self.schema),
            "guarantee": guarantee(self.schema, settings.k, among),
        }
        if settings.suppress:
            claim["suppress"] = settings.suppress
        if settings.l_diversity > 1:
            claim["l_diversity"] = settings.l_diversity
            recursive = f"recursive, c = {settings.l_recursive:g}"
            claim["l_kind"] = "entropy" if settings.l_entropy else recursive if settings.l_recursive else "distinct"
        if settings.t_closeness < 1:
            claim["t_closeness"] = settings.t_closeness
        return claim


def unit_of(schema: DatasetSchema) -> str:
    """Unit of k: ``person`` if a column says which rows belong to one person, else ``row``."""
    return "row" if schema.person is None else "person"


def guarantee(schema: DatasetSchema, k: int, among: str) -> str:
    """The guarantee of k-anonymity, and the persons it covers.

    >>> guarantee(DatasetSchema("visits", (), "hipaa"), 5, "of the data set")
    'each released row shares its quasi-identifiers with at least 4 other rows of the data set'
    """
    others = "other rows" if schema.person is None else "other persons"
    return f"each released row shares its quasi-identifiers with at least {k - 1} {others} {among}"


def require_classes(settings: MethodSettings, schema: DatasetSchema, scope: Scope = Scope.DATASET) -> None:
    """Check the settings that k-anonymity needs in every scope, and refuse those that a stream does not offer.

    Raises:
        MicroflowError: k is below 2, a share is not one, c and l do not fit, or there is no quasi-identifier; in a
            stream δ below k, suppression or diversity.
    """
    if settings.k <= 1:
        raise MicroflowError(f"k must be at least 2, not {settings.k}")
    if not 0 <= settings.suppress < 1:
        raise MicroflowError(f"the share of rows to suppress is from 0 to below 1, not {settings.suppress}")
    if settings.l_recursive and (settings.l_diversity <= 1 or settings.l_entropy or settings.l_recursive < 0):
        raise MicroflowError(
            "recursive (c, l)-diversity takes a c above 0 and an l of at least 2, and is not entropy l-diversity",
            hint="such as --l 3 --l-recursive 2",
        )
    if not schema.quasi_identifiers:
        raise MicroflowError(f"schema {schema.name!r} has no quasi-identifiers", hint="k-anonymity needs at least one")
    if scope is not Scope.STREAM:
        return
    whole = "use the scope 'dataset' or 'microflow'"
    if settings.delta < settings.k:
        raise MicroflowError(f"a delay of {settings.delta} records cannot gather {settings.k}", hint="raise delta")
    if settings.suppress:
        raise MicroflowError("a stream cannot know which records are worth giving up", hint=whole)
    if settings.l_diversity > 1 or settings.t_closeness < 1:
        raise MicroflowError("a stream is released without l-diversity and t-closeness", hint=whole)


class KAnonymity:
    """k-anonymity over a whole data set: `observe` every microflow, `freeze`, then `anonymize` every microflow.

    Memory grows with the distinct tuples of quasi-identifiers. A frozen anonymizer is small, can be pickled, and may
    be used by many workers at once; a row whose tuple was never observed is suppressed.
    """

    scope = Scope.DATASET

    def __init__(self, settings: MethodSettings, schema: DatasetSchema) -> None:
        self._columns = _Columns(settings, schema)
        self._cube: Cube | None = Cube(self._columns.sizes)
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._observed = 0
        self._index: CellIndex | None = None
        self._classes: Classes | None = None

    @property
    def output_schema(self) -> pa.Schema:
        """Quasi-identifiers as text, everything else as it came."""
        return self._columns.output_schema

    def observe(self, rows: pa.RecordBatch) -> None:
        """Count one microflow."""
        self._counting()
        self._waiting.append(rows.select(self._columns.names))
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= _WAITING_ROWS:
            self._count_waiting()

    def _counting(self) -> Cube:
        if self._cube is None:
            raise MicroflowError("the equivalence classes are decided; nothing more can be observed")
        return self._cube

    def _count_waiting(self) -> Cube:
        cube = self._counting()
        if self._waiting_rows:
            table = pa.Table.from_batches(self._waiting)
            codes = self._columns.learn([column.combine_chunks() for column in table.columns])
            cube.add(codes, self._columns.sizes)
            self._observed += self._waiting_rows
        self._waiting, self._waiting_rows = [], 0
        return cube

    @property
    def counts(self) -> pa.RecordBatch:
        """Distinct tuples, one example value a column, and how many rows had each."""
        codes, weights = self._count_waiting().cells()
        columns = [coder.examples(column) for coder, column in zip(self._columns.coders, codes, strict=True)]
        return pa.RecordBatch.from_arrays([*columns, pa.array(weights)], names=[*self._columns.names, _COUNT])

    def merge(self, counts: pa.RecordBatch) -> None:
        """Add the `counts` of another anonymizer with the same settings and schema."""
        cube = self._counting()
        codes = self._columns.learn([counts.column(name) for name in self._columns.names])
        weights = counts.column(_COUNT).to_numpy()
        cube.add(codes, self._columns.sizes, weights)
        self._observed += int(weights.sum())

    def freeze(self) -> None:
        """Decide the equivalence classes.

        Raises:
            MicroflowError: already frozen, or a class broke the claim (which would be a fault of ours).
        """
        decision = self._columns.decide(self._count_waiting().cells())
        sizes = [coder.size for coder in self._columns.quasi]
        self._index = CellIndex(sizes, decision.tuples, decision.class_of)
        self._classes = decision.classes
        self._cube = None

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """Release one microflow of what was observed.

        Raises:
            MicroflowError: called before `freeze`.
        """
        if self._index is None or self._classes is None:
            raise MicroflowError("no equivalence classes yet", hint="observe every microflow, then freeze")
        quasi = self._columns.quasi
        codes = [coder.find(rows.column(name)) for coder, name in zip(quasi, self._columns.names, strict=False)]
        return self._columns.release(rows, self._classes, self._index.find(codes))

    def describe(self) -> dict[str, object]:
        """The claim, and once frozen what was achieved."""
        claim = self._columns.describe(self.scope, "of the data set")
        if self._classes is not None:
            found = _Achieved(len(self._columns.sensitive))
            found.add(self._classes)
            claim |= found.describe(self._columns.diverse)
            claim["rows_observed"] = self._observed
            claim["rows_suppressed"] = self._observed - self._classes.rows
        return claim


class _Achieved:
    """The weakest of all classes so far."""

    def __init__(self, sensitive: int) -> None:
        self._k: int | None = None
        self._classes = 0
        self._reached = [Reached()] * sensitive

    def add(self, classes: Classes) -> None:
        self._classes += classes.count
        if classes.count:
            self._k = classes.k if self._k is None else min(self._k, classes.k)
            self._reached = [a.weaker(b) for a, b in zip(self._reached, classes.diversity, strict=True)]

    def describe(self, names: Sequence[str]) -> dict[str, object]:
        """What was achieved: k, and l, t and c by sensitive column where asked for; ``None`` without a class."""
        found: dict[str, object] = {"achieved_k": self._k, "classes": self._classes}
        if self._classes and names:
            named = dict(zip(names, self._reached, strict=True))
            found["achieved_l"] = {name: reached.l_diversity for name, reached in named.items()}
            found["achieved_t"] = {name: reached.t_closeness for name, reached in named.items()}
            if any(reached.recursive_c for reached in self._reached):
                found["achieved_c"] = {name: reached.recursive_c for name, reached in named.items()}
        return found


class MicroflowKAnonymity:
    """k-anonymity inside each microflow: no state, and labels as wide as a thousand rows need.

    Two microflows may be written differently for equal rows. The union of k-anonymous microflows is k-anonymous.
    """

    scope = Scope.MICROFLOW

    def __init__(self, settings: MethodSettings, schema: DatasetSchema) -> None:
        self._columns = _Columns(settings, schema)
        self._achieved = _Achieved(len(self._columns.sensitive))

    @property
    def output_schema(self) -> pa.Schema:
        """Quasi-identifiers as text, everything else as it came."""
        return self._columns.output_schema

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """Release one microflow; all of it is suppressed where it has fewer than k rows."""
        columns = self._columns
        known = [*columns.quasi, *(coder for coder, _ in columns.sensitive)]
        codes = [coder.learn(rows.column(name)) for coder, name in zip(known, columns.names, strict=False)]
        # Numbered again each time: a coder that learned every person would grow without bound.
        persons = [rows.column(name).dictionary_encode("encode") for name in columns.names[len(known) :]]
        codes += [np.asarray(person.indices.to_numpy(), np.int32) for person in persons]
        packing = Packing([*(coder.size for coder in known), *(len(person.dictionary) for person in persons)])
        keys, cell_of, counts = np.unique(packing.pack(codes), return_inverse=True, return_counts=True)
        decision = columns.decide((packing.unpack(keys), counts))
        self._achieved.add(decision.classes)
        return columns.release(rows, decision.classes, decision.class_of[decision.owner][cell_of])

    def describe(self) -> dict[str, object]:
        """The claim, and what was achieved so far; a class is counted in each of its microflows."""
        claim = self._columns.describe(self.scope, "of its microflow")
        return claim | self._achieved.describe(self._columns.diverse)
