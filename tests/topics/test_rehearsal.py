"""``microflow kafka run`` in small: three processes, one killed, and the broker too: every record once."""

from __future__ import annotations

from pathlib import Path

import pytest

from microflow.cli.demonstrations import tokenization_of
from microflow.cli.rehearsal import Rehearsal, Work, same
from microflow.errors import SetupError
from microflow.figures.charts import draw_lag
from microflow.figures.style import ieee, save
from microflow.topics.broker import Broker


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", "07" * 32)


@pytest.mark.timeout(200)
def test_whoever_is_killed_every_record_is_there_once(broker: Broker, tmp_path: Path) -> None:
    """Equal to the in-process run as a multiset; messages that cannot be read are dead letters, each once."""
    rehearsal = Rehearsal(broker.address, Work("healthcare", 9_000, 1_500, 1, broken=500), tmp_path, broker)
    rehearsal.run("rehearsed")
    expected, broken = rehearsal.expected(tokenization_of("healthcare"))
    found, dead = rehearsal.results(len(expected), broken)
    assert same(found, expected)
    assert dead == broken == 18
    assert [word for _, word in rehearsal.events] == ["process killed", "broker killed"]
    assert rehearsal.samples[-1][1:] == (9_000, 9_000)
    overall, best = rehearsal.rates
    assert 0 < overall <= best
    with ieee():
        pdf, png = save(draw_lag(rehearsal.samples, rehearsal.events), tmp_path, "lag")
    assert pdf.stat().st_size > 5_000 < png.stat().st_size


@pytest.mark.timeout(60)
def test_a_process_that_fails_is_an_error_with_its_reason(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for it."""
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", "07")
    with pytest.raises(SetupError, match=r"ended with exit status 2.*KEY"):
        Rehearsal(broker.address, Work("healthcare", 10, 10, 1), tmp_path).run("keyless")
