"""Settings from the environment, read once per call and frozen.

Nothing here is read at import: a test, a notebook or a worker can change the environment and ask again.
Keys are not settings: `microflow.anonymize.tokenization` reads them at the moment they are used and keeps no copy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

__all__ = ["MICROFLOW_BYTES", "MICROFLOW_ROWS", "MORSEL", "MORSEL_ROWS", "Retries", "Settings", "child_environment"]

#: The upper bound of a microflow, in rows. A smaller one is allowed, a larger one is not.
MICROFLOW_ROWS = 1_000
#: A microflow of longer text has fewer rows than were asked for: memory is bounded, whatever the cells hold.
MICROFLOW_BYTES = 2**26
#: So many microflows are worked on at once where so many are at hand: see `microflow.engine.kernel`.
MORSEL = 24
MORSEL_ROWS = MORSEL * MICROFLOW_ROWS

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

#: What a child process may know of our environment, by name or by the beginning of a name. Everything else, above all
#: token keys and passwords, is not passed on: a user who can make the child run a command can read its environment.
_INHERITED = frozenset(
    """PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR TERM SYSTEMROOT JAVA_HOME LD_LIBRARY_PATH DYLD_LIBRARY_PATH
    PYTHONPATH PYTHONHOME VIRTUAL_ENV CONDA_PREFIX SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE XDG_STATE_HOME
    XDG_CACHE_HOME MICROFLOW_STATE MICROFLOW_SPARK_FOLDER""".split()  # noqa: SIM905
)
_INHERITED_BEGINNINGS = ("LC_", "OPENBLAS_", "OMP_", "NUMBA_", "POLARS_", "SPARK_LOCAL_", "PYSPARK_", "MAVEN_")


def child_environment(**more: str) -> dict[str, str]:
    """The environment of a child process: an allow-list of ours, and ``more``.

    >>> import os
    >>> os.environ["MICROFLOW_TOKEN_KEY"] = "00" * 32
    >>> "MICROFLOW_TOKEN_KEY" in child_environment()
    False
    >>> del os.environ["MICROFLOW_TOKEN_KEY"]
    """
    ours = os.environ.items()
    kept = {name: value for name, value in ours if name in _INHERITED or name.startswith(_INHERITED_BEGINNINGS)}
    return kept | more


@dataclass(frozen=True, slots=True)
class Retries:
    """Pauses in seconds before each further attempt at a server or a full disk; ``sleep`` is injected by tests.

    The default waits about half a minute in all: a server that was killed has recovered by then.
    """

    pauses: tuple[float, ...] = (0.1, 0.2, 0.5, 1, 2, 4, 8, 15)
    sleep: Callable[[float], None] = field(default=time.sleep)

    def persist(self, attempt: Callable[[], T], errors: type[E], may_pass: Callable[[E], bool]) -> T:
        """Call ``attempt`` again after each pause as long as it ends by an error that may pass; return its result."""
        for pause in self.pauses:
            try:
                return attempt()
            except errors as error:
                if not may_pass(error):
                    raise
            self.sleep(pause)
        return attempt()


@dataclass(frozen=True, slots=True)
class Settings:
    """Addresses of this machine's servers, and the folders of Microflow's own files.

    >>> Settings.read({"DATABASE_URL": "postgresql://db/one"}).database_url
    'postgresql://db/one'
    """

    database_url: str | None
    spark_master: str
    spark_folder: Path | None
    kafka_bootstrap_servers: str | None
    state_folder: Path

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read ``DATABASE_URL``, ``SPARK_MASTER``, ``KAFKA_BOOTSTRAP_SERVERS``, and two folders of our own.

        ``MICROFLOW_SPARK_FOLDER`` is where driver and workers of a Spark cluster hand rows to each other: a file system
        that all of them see; by default this machine's temporary folder.
        ``MICROFLOW_STATE`` is the folder of what outlives a process (the embedded server, caches); by default
        ``$XDG_STATE_HOME/microflow`` or ``~/.local/state/microflow``, never the repository.
        """
        env = os.environ if environ is None else environ
        state = env.get("MICROFLOW_STATE") or f"{env.get('XDG_STATE_HOME') or '~/.local/state'}/microflow"
        return cls(
            database_url=env.get("DATABASE_URL") or None,
            spark_master=env.get("SPARK_MASTER") or "local[*]",
            spark_folder=Path(folder) if (folder := env.get("MICROFLOW_SPARK_FOLDER")) else None,
            kafka_bootstrap_servers=env.get("KAFKA_BOOTSTRAP_SERVERS") or None,
            state_folder=Path(state).expanduser(),
        )
