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
from microflow.anonymize.contract import MethodSettings, Released, Scope, with_text
from microflow.anonymize.diversity import Reached, diverse_columns
from microflow.errors import MicroflowError
from microflow.schema import DatasetSchema, Role

__all__ = ["KAnonymity", "MicroflowKAnonymity", "claim_of", "require_classes"]

#: Rows that wait in Arrow before they are counted: encoding many at once costs a fraction of encoding each microflow.
_WAITING_ROWS = 65_536
_COUNT = "__count__"


class _Generalisation:
    """Generalisation in either scope: codes of columns, release of rows by class, and the claim with its proof."""

    scope: Scope
    _AMONG: str

    def __init__(self, settings: MethodSettings, schema: DatasetSchema) -> None:
        require_classes(settings, schema)
        self._settings = settings
        self._schema = schema
        self._quasi = [coder_for(column) for column in schema.quasi_identifiers]
        sensitive = diverse_columns(settings, schema)
        self._sensitive = [(coder_for(column), column.ordered) for column in sensitive]
        persons = schema.with_role(Role.PERSON)
        #: Never a grid: two persons in one cell would be taken for one.
        self._person = [DictionaryCoder(column) for column in persons]
        self._diverse = [column.name for column in sensitive]
        self._names = [column.name for column in (*schema.quasi_identifiers, *sensitive, *persons)]
        #: Quasi-identifiers as text, everything else as it came.
        self.output_schema = with_text(schema, schema.quasi_identifiers)
        labels = {column.name: i for i, column in enumerate(schema.quasi_identifiers)}
        #: Per column of the output the quasi-identifier whose label it holds, and the type of nothing.
        self._plan = [
            (labels.get(column.name), column.dtype.arrow if column in schema.identifiers else None)
            for column in schema.columns
        ]
        #: Identifiers of one type are released as one array.
        self._blanks = {blank for _, blank in self._plan if blank is not None}
        #: The weakest of all classes so far.
        self._k: int | None = None
        self._classes_formed = 0
        self._reached = [Reached()] * len(sensitive)

    def _decide(self, cells: Cells) -> Decision:
        decision = decide(cells, self._quasi, self._sensitive, self._settings, by_person=bool(self._person))
        classes = decision.classes
        self._classes_formed += classes.count
        if classes.count:
            self._k = classes.k if self._k is None else min(self._k, classes.k)
            self._reached = [a.weaker(b) for a, b in zip(self._reached, classes.diversity, strict=True)]
        return decision

    def _release(self, rows: pa.RecordBatch, classes: Classes, class_of: Codes) -> Released:
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

    def describe(self) -> dict[str, object]:
        """The claim, and what was achieved so far; a class is counted in each of its microflows."""
        return self._claim() | self._achieved()

    def _claim(self) -> dict[str, object]:
        settings = self._settings
        claim = claim_of(settings, self._schema, self.scope, self._AMONG)
        claim["cuts"] = "strict" if settings.strict else "relaxed"
        if settings.suppress:
            claim["suppress"] = settings.suppress
        if settings.l_diversity > 1:
            claim["l_diversity"] = settings.l_diversity
            recursive = f"recursive, c = {settings.l_recursive:g}"
            claim["l_kind"] = "entropy" if settings.l_entropy else recursive if settings.l_recursive else "distinct"
        if settings.t_closeness < 1:
            claim["t_closeness"] = settings.t_closeness
        return claim

    def _achieved(self) -> dict[str, object]:
        """The least k, and l, t and c by sensitive column where asked for; ``None`` without a class."""
        found: dict[str, object] = {"achieved_k": self._k, "classes": self._classes_formed}
        if self._classes_formed and self._diverse:
            named = dict(zip(self._diverse, self._reached, strict=True))
            found["achieved_l"] = {name: reached.l_diversity for name, reached in named.items()}
            found["achieved_t"] = {name: reached.t_closeness for name, reached in named.items()}
            if any(reached.recursive_c for reached in self._reached):
                found["achieved_c"] = {name: reached.recursive_c for name, reached in named.items()}
        return found


def claim_of(settings: MethodSettings, schema: DatasetSchema, scope: Scope, among: str) -> dict[str, object]:
    """The claim of k-anonymity in any scope: its unit is the person if a column says whose a row is, else the row.

    >>> from microflow.anonymize.contract import Method
    >>> visits = DatasetSchema("visits", (), "hipaa")
    >>> claim_of(MethodSettings(Method.K_ANONYMITY, k=5), visits, Scope.DATASET, "of the data set")["guarantee"]
    'each released row shares its quasi-identifiers with at least 4 other rows of the data set'
    """
    unit = "row" if schema.person is None else "person"
    others = f"at least {settings.k - 1} other {unit}s {among}"
    return {
        "method": settings.method.value,
        "scope": scope.value,
        "k": settings.k,
        "quasi_identifiers": [column.name for column in schema.quasi_identifiers],
        "unit": unit,
        "guarantee": f"each released row shares its quasi-identifiers with {others}",
    }


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


class KAnonymity(_Generalisation):
    """k-anonymity over a whole data set: `observe` every microflow, `freeze`, then `anonymize` every microflow.

    Memory grows with the distinct tuples of quasi-identifiers. A frozen anonymizer is small, can be pickled, and may
    be used by many workers at once; a row whose tuple was never observed is suppressed.
    """

    scope = Scope.DATASET
    _AMONG = "of the data set"

    def __init__(self, settings: MethodSettings, schema: DatasetSchema) -> None:
        super().__init__(settings, schema)
        self._coders: list[Coder] = [*self._quasi, *(coder for coder, _ in self._sensitive), *self._person]
        self._cube: Cube | None = Cube(self._sizes)
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._observed = 0
        self._index: CellIndex | None = None
        self._classes: Classes | None = None

    @property
    def _sizes(self) -> list[int]:
        return [coder.size for coder in self._coders]

    def observe(self, rows: pa.RecordBatch) -> None:
        """Count one microflow."""
        self._counting()
        self._waiting.append(rows.select(self._names))
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= _WAITING_ROWS:
            self._count_waiting()

    def _counting(self) -> Cube:
        if self._cube is None:
            raise MicroflowError("the equivalence classes are decided; nothing more can be observed")
        return self._cube

    def _learn(self, columns: Sequence[pa.Array]) -> list[Codes]:
        return [coder.learn(column) for coder, column in zip(self._coders, columns, strict=True)]

    def _count_waiting(self) -> Cube:
        cube = self._counting()
        if self._waiting_rows:
            table = pa.Table.from_batches(self._waiting)
            codes = self._learn([column.combine_chunks() for column in table.columns])
            cube.add(codes, self._sizes)
            self._observed += self._waiting_rows
        self._waiting, self._waiting_rows = [], 0
        return cube

    @property
    def counts(self) -> pa.RecordBatch:
        """Distinct tuples, one example value a column, and how many rows had each."""
        codes, weights = self._count_waiting().cells()
        columns = [coder.examples(column) for coder, column in zip(self._coders, codes, strict=True)]
        return pa.RecordBatch.from_arrays([*columns, pa.array(weights)], names=[*self._names, _COUNT])

    def merge(self, counts: pa.RecordBatch) -> None:
        """Add the `counts` of another anonymizer with the same settings and schema."""
        cube = self._counting()
        codes = self._learn([counts.column(name) for name in self._names])
        weights = counts.column(_COUNT).to_numpy()
        cube.add(codes, self._sizes, weights)
        self._observed += int(weights.sum())

    def freeze(self) -> None:
        """Decide the equivalence classes.

        Raises:
            MicroflowError: already frozen, or a class broke the claim (which would be a fault of ours).
        """
        decision = self._decide(self._count_waiting().cells())
        self._index = CellIndex([coder.size for coder in self._quasi], decision.tuples, decision.class_of)
        self._classes = decision.classes
        self._cube = None

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """Release one microflow of what was observed.

        Raises:
            MicroflowError: called before `freeze`.
        """
        if self._index is None or self._classes is None:
            raise MicroflowError("no equivalence classes yet", hint="observe every microflow, then freeze")
        codes = [coder.find(rows.column(name)) for coder, name in zip(self._quasi, self._names, strict=False)]
        return self._release(rows, self._classes, self._index.find(codes))

    def describe(self) -> dict[str, object]:
        """The claim, and once frozen what was achieved."""
        if self._classes is None:
            return self._claim()
        suppressed = self._observed - self._classes.rows
        return super().describe() | {"rows_observed": self._observed, "rows_suppressed": suppressed}


class MicroflowKAnonymity(_Generalisation):
    """k-anonymity inside each microflow: no state, and labels as wide as a thousand rows need.

    Two microflows may be written differently for equal rows. The union of k-anonymous microflows is k-anonymous.
    """

    scope = Scope.MICROFLOW
    _AMONG = "of its microflow"

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """Release one microflow; all of it is suppressed where it has fewer than k rows."""
        known = [*self._quasi, *(coder for coder, _ in self._sensitive)]
        codes = [coder.learn(rows.column(name)) for coder, name in zip(known, self._names, strict=False)]
        # Numbered again each time: a coder that learned every person would grow without bound.
        persons = [rows.column(name).dictionary_encode("encode") for name in self._names[len(known) :]]
        codes += [np.asarray(person.indices.to_numpy(), np.int32) for person in persons]
        packing = Packing([*(coder.size for coder in known), *(len(person.dictionary) for person in persons)])
        keys, cell_of, counts = np.unique(packing.pack(codes), return_inverse=True, return_counts=True)
        decision = self._decide((packing.unpack(keys), counts))
        return self._release(rows, decision.classes, decision.class_of[decision.owner][cell_of])
