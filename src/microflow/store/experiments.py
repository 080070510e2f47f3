"""`ExperimentStore`: every trial with its raw samples, machine and versions; read back as pandas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's own class is in lower case
from sqlalchemy import Engine, Select, create_engine, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from microflow.errors import StoreError
from microflow.settings import Settings
from microflow.store.bulk import copy_table
from microflow.store.database import engine_url, ensure_schema
from microflow.store.models import ExperimentRow, SampleRow, TrialRow
from microflow.store.progress import json_document
from microflow.store.server import ensure_server

__all__ = ["ExperimentStore"]

Query = Select[*tuple[Any, ...]]
Samples = Mapping[str, Sequence[float] | npt.NDArray[np.float64]]


class ExperimentStore:
    """Trials of experiments in PostgreSQL; a context manager that closes its connections.

    At most one trial per experiment and configuration hash is *current*: recording it again supersedes the old one,
    which stays in the database. Everything here reads current trials only.

    Args:
        url: By default ``DATABASE_URL``, else the embedded server.

    Raises:
        StoreError: PostgreSQL cannot be reached or refuses.
    """

    def __init__(self, url: str | None = None) -> None:
        self.url = url or Settings.read().database_url or ensure_server()
        ensure_schema(self.url)
        # A server may default to repeatable read, where the snapshot is older than the lock of `_record`: the
        # trial that another process has just recorded would not be superseded but collide.
        self._engine: Engine = create_engine(
            engine_url(self.url), pool_pre_ping=True, json_serializer=json_document, isolation_level="READ COMMITTED"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def record_trial(
        self,
        experiment: str,
        *,
        config: Mapping[str, Any],
        config_hash: str,
        samples: Samples,
        metrics: Mapping[str, Any],
        machine: Mapping[str, Any],
        seed: int,
        git: str,
        versions: Mapping[str, Any] | None = None,
    ) -> int:
        """Record one finished trial in one transaction and return its id; a trial half recorded cannot exist.

        Args:
            experiment: Its name; made when it is new.
            config: The cell of the matrix, JSON-ready.
            config_hash: Names the configuration.
            samples: Raw values by series, in the order they were measured (put the unit into the name).
            metrics: Results derived from the samples, JSON-ready.
            machine: What it ran on.
            seed: The seed of everything random in it.
            git: The commit of the code that ran.
            versions: Versions of the libraries that matter.
        """
        trial = {
            "config": config, "config_hash": config_hash, "samples": samples, "metrics": metrics, "machine": machine,
            "seed": seed, "git": git, "versions": versions or {},
        }  # fmt: skip
        with self._session() as session:
            return self._record(session, experiment, trial)

    def record_new(self, trials: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
        """Record trials (experiment, and the arguments of `record_trial`) in one transaction; returns how many.

        Those whose configuration the database holds already are left as they are. An error, here or in whatever gives
        the trials, leaves none of them.
        """
        recorded, held = 0, dict[str, set[str]]()
        with self._session() as session:
            for experiment, trial in trials:
                if experiment not in held:
                    hashes = _current(select(TrialRow.config_hash), experiment)
                    held[experiment] = set(session.scalars(hashes))
                if trial["config_hash"] in held[experiment]:
                    continue
                held[experiment].add(trial["config_hash"])
                self._record(session, experiment, trial)
                recorded += 1
        return recorded

    def _record(self, session: Session, experiment: str, given: Mapping[str, Any]) -> int:
        session.execute(insert(ExperimentRow).values(name=experiment).on_conflict_do_nothing())
        # The lock makes two processes that record the same trial take turns instead of failing; the one that inserts a
        # trial in any other way holds a share of it by the foreign key, and is waited for too.
        found = select(ExperimentRow.id).where(ExperimentRow.name == experiment).with_for_update()
        experiment_id = session.execute(found).scalar_one()
        current = (TrialRow.experiment_id == experiment_id, TrialRow.config_hash == given["config_hash"], _IS_CURRENT)
        session.execute(update(TrialRow).where(*current).values(superseded_at=func.now()))
        plain = {name: given[name] for name in ("config_hash", "git", "seed")}
        documents = {name: dict(given[name]) for name in ("config", "metrics", "machine", "versions")}
        trial = TrialRow(experiment_id=experiment_id, **plain, **documents)
        session.add(trial)
        session.flush()
        self._copy_samples(session, trial.id, given["samples"])
        return trial.id

    def experiments(self) -> list[str]:
        """Names of all experiments, sorted."""
        with self._session() as session:
            return list(session.scalars(select(ExperimentRow.name).order_by(ExperimentRow.name)))

    def trials(self, experiment: str) -> pd.DataFrame:
        """One row a current trial, in order of recording.

        Columns: ``trial_id``, ``config_hash``, ``seed``, ``git``, ``created_at``, ``config``, ``metrics``,
        ``machine``, ``versions`` (the last four as dicts).
        """
        columns = (
            TrialRow.id.label("trial_id"), TrialRow.config_hash, TrialRow.seed, TrialRow.git, TrialRow.created_at,
            TrialRow.config, TrialRow.metrics, TrialRow.machine, TrialRow.versions,
        )  # fmt: skip
        return self._frame(_current(select(*columns), experiment).order_by(TrialRow.id))

    def samples(self, experiment: str, name: str | None = None) -> pd.DataFrame:
        """Raw samples of the current trials, of one series or of all, in order.

        Columns: ``trial_id``, ``config_hash``, ``name``, ``ordinal``, ``value``.
        """
        columns = (SampleRow.trial_id, TrialRow.config_hash, SampleRow.name, SampleRow.ordinal, SampleRow.value)
        query = _current(select(*columns).join(SampleRow, SampleRow.trial_id == TrialRow.id), experiment)
        if name is not None:
            query = query.where(SampleRow.name == name)
        return self._frame(query.order_by(SampleRow.trial_id, SampleRow.name, SampleRow.ordinal))

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._engine) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or type(error).__name__).strip().splitlines()[0]
            raise StoreError(f"PostgreSQL failed on an experiment: {reason}") from error

    def _frame(self, query: Query) -> pd.DataFrame:
        with self._session() as session:
            return pd.read_sql(query, session.connection())

    @staticmethod
    def _copy_samples(session: Session, trial_id: int, samples: Samples) -> None:
        cursor = cast("Cursor", session.connection().connection.cursor())
        for name, values in samples.items():
            if len(values) == 0:
                continue
            trial, series = (pa.repeat(pa.scalar(value), len(values)) for value in (trial_id, name))
            ordinals, measured = np.arange(len(values), dtype=np.int32), np.asarray(values, np.float64)
            columns = {"trial_id": trial, "name": series, "ordinal": ordinals, "value": measured}
            copy_table(cursor, "samples", pa.table(columns))


_IS_CURRENT = TrialRow.superseded_at.is_(None)


def _current(query: Query, experiment: str) -> Query:
    return query.join(ExperimentRow, ExperimentRow.id == TrialRow.experiment_id).where(
        ExperimentRow.name == experiment, _IS_CURRENT
    )
