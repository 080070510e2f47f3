"""Where a server lives is known before it is started, and what its programs refuse is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from microflow.errors import SetupError
from microflow.store.server import Place


def test_a_folder_too_long_for_a_socket_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """PostgreSQL's own message would not say what to do."""
    with pytest.raises(SetupError, match="MICROFLOW_STATE"):
        Place.of(tmp_path / ("long" * 30))


def test_a_program_that_fails_says_why_and_one_that_may_fail_does_not(tmp_path: Path) -> None:
    """The last line of what it printed, and the way out; who starts a server looks for himself whether it answers."""
    place = Place(tmp_path, None)
    with pytest.raises(SetupError, match=r"^pg_ctl failed: \S.* \(or set DATABASE_URL"):
        place.run("pg_ctl", "stop", "-D", str(place.data))
    place.run("pg_ctl", "stop", "-D", str(place.data), check=False)
