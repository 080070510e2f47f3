"""What a paper embeds besides figures: LaTeX tables, a macro for every number, and the README's results table."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from microflow.experiments import (
    contamination,
    cores,
    detection,
    privacy_utility,
    rq1,
    rq2,
    scalability,
    timing_separation,
    transport,
)
from microflow.experiments.answers import Answer, method_name
from microflow.experiments.results import IncompleteError, Results
from microflow.figures.catalogue import FIGURES, Drawn
from microflow.figures.numbers import numbers_tex
from microflow.figures.storm import storm_table
from microflow.figures.tables import Table, with_interval, with_spread
from microflow.store.experiments import ExperimentStore

__all__ = ["ANSWERS", "TABLES", "answers_table", "write_tables"]

_SMALLEST_P = 0.001
_ANALYSIS = "95 % intervals over blocks, g is Hedges' effect size of the paired log-ratios, p is corrected by Holm"

#: Question to what answers it from the database.
ANSWERS = {
    "detection": detection.answer,
    "timing separation": timing_separation.answer,
    "rq1": rq1.answer,
    "rq1 on storm": transport.answer,
    "rq2": rq2.answer,
    "scalability": scalability.answer,
    "cores": cores.answer,
}


def throughput_table(profile: str, store: ExperimentStore) -> Table:
    """RQ-1: records per second, and each arm's time beside the batch's."""
    results = Results.read(rq1.throughput(profile), store)
    analyses = rq1.analyses(results)
    rows = []
    for row in rq1.throughput_frame(results).to_dict("records"):
        rate = with_interval(row["rate"], row["low"], row["high"])
        if row["arm"] == "batch":
            rows.append([row["data_type"], "batch", rate, "1", "", "", "reference"])
            continue
        one = analyses[row["data_type"]][row["arm"]]
        ratio = with_interval(one.ratio, one.low, one.high, "×")
        rows.append([row["data_type"], row["arm"], rate, ratio, *_test(one.effect, one.p_holm), one.verdict.value])
    rows += [_storm_row(row) for row in transport.beside(results, profile, store).to_dict("records")]
    floors = ", ".join(f"{kind} {found.noise_floor:.1%}" for kind, found in analyses.items())
    return Table(
        ["data", "pipeline", "records/s", "time beside batch", "g", "p", "difference"],
        rows,
        f"Pure processing, Spark's on all cores and the others' on one; {_ANALYSIS}; differences inside the noise "
        f"floor ({floors}) are none.",
    )


def _storm_row(row: dict[Any, Any]) -> list[str]:
    """Storm's own matrix says nothing of g and p: no test is needed to see a transport."""
    beside = row["over_batch"]
    cells = [
        with_interval(row["rate"], row["low"], row["high"]),
        with_interval(beside.value, beside.low, beside.high, "×"),
    ]
    return [row["data_type"], row["arm"], *cells, "", "", "with its transport"]


def contamination_table(profile: str, store: ExperimentStore) -> Table:
    """What each kind of database work inside the clock does to the measured time, for both kinds of work."""
    found = contamination.penalties(Results.read(contamination.matrix(profile), store).trials)
    rows = [
        [
            f"{one.arm}, {one.work}",
            with_interval(one.ratio, one.low, one.high, "×"),
            f"{one.share:.1%} [{one.share_low:.1%}, {one.share_high:.1%}]",
            *_test(one.effect, one.p_holm),
            one.verdict.value,
        ]
        for one in found
    ]
    floors = ", ".join({one.work: f"{one.work} {one.noise_floor:.1%}" for one in found}.values())
    return Table(
        ["inside the clock", "measured beside clean", "not processing", "g", "p", "difference"],
        rows,
        "Time inside the clock with one kind of database work left in it, and the part of it that is not processing; "
        f"{_ANALYSIS}; differences inside the noise floor ({floors}) are none.",
    )


def methods_table(profile: str, store: ExperimentStore) -> Table:
    """RQ-2: what each setting costs, risks, loses and keeps."""
    speeds = rq2.speed_frame(Results.read(rq2.speed(profile), store))
    attacked = privacy_utility.frontier_frame(Results.read(rq2.privacy(profile), store))
    rows = [
        [
            f"{method_name(row['method'])}, {row['setting']}",
            "" if pd.isna(row["rate"]) else with_interval(row["rate"], row["low"], row["high"]),
            f"{row['risk']:.3f} [{row['risk_low']:.3f}, {row['risk_high']:.3f}]",
            f"{row['loss']:.3f}",
            "" if pd.isna(row["kept"]) else f"{row['kept']:.2f}",
            f"{row['delay_p50']:,.0f}",
        ]
        for row in rq2.methods_frame(speeds, attacked).to_dict("records")
    ]
    return Table(
        ["setting", "records/s", "linkage risk", "loss", "learnt", "delay"],
        rows,
        "Pure processing on the batch pipeline, or of a stream; success of a linkage attack above its control; "
        "information loss; part of what a model learns from originals that it learns from the release; median number "
        "of later records that a record of a stream waits for. Intervals are 95 %.",
    )


def pipelines_table(profile: str, store: ExperimentStore) -> Table:
    """RQ-2: the settings that were measured on every pipeline and at several volumes, a row each."""
    speeds = rq2.speed_frame(Results.read(rq2.speed(profile), store))
    everywhere = speeds[speeds.duplicated(["method", "setting"], keep=False)]
    places = list(dict.fromkeys(zip(everywhere["pipeline"], everywhere["rows"], strict=True)))
    rates: dict[str, dict[tuple[str, int], str]] = defaultdict(dict)
    for row in everywhere.to_dict("records"):
        name = ", ".join(filter(None, (method_name(row["method"]), row["setting"])))
        rates[name][row["pipeline"], row["rows"]] = with_spread(row["rate"], row["low"], row["high"])
    return Table(
        ["setting", *(f"{pipeline}, {rows:,} rows" for pipeline, rows in places)],
        [[name, *(cells.get(place, "") for place in places)] for name, cells in rates.items()],
        "Records/s of pure processing by pipeline and volume; ± is half the 95 % interval.",
    )


def cores_table(profile: str, store: ExperimentStore) -> Table:
    """Spark's fixed cost and its rate beyond it, by number of cores."""
    rows = [
        [
            str(row["cores"]),
            f"{row['fixed_s']:.2f}",
            with_interval(row["rate"], row["low"], row["high"]),
            with_interval(row["share"], row["share_low"], row["share_high"], "×"),
        ]
        for row in cores.frame(Results.read(cores.matrix(profile), store)).to_dict("records")
    ]
    return Table(
        ["cores", "a job, s", "records/s beyond", "beside local"],
        rows,
        "Spark on one machine: what a job costs whatever it holds, the rate beyond it (files and transport included), "
        "and that rate over as many times the local engine's pure processing. Intervals are 95 %.",
    )


TABLES = {
    "throughput": throughput_table,
    "storm": storm_table,
    "contamination": contamination_table,
    "methods": methods_table,
    "pipelines": pipelines_table,
    "cores": cores_table,
}


def write_tables(profile: str, store: ExperimentStore, folder: Path) -> list[Drawn]:
    """Write ``table-*.tex``, ``numbers.tex`` and ``captions.tex``, which ``figures/paper.tex`` reads.

    Says what is missing of those whose trials have not all run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, build in TABLES.items():
        path = folder / f"table-{name}.tex"
        try:
            path.write_text(build(profile, store).to_latex(name), "utf-8")
        except IncompleteError as error:
            written.append(Drawn(path.stem, (), error.message))
        else:
            written.append(Drawn(path.stem, (path,)))
    return [*written, _write_numbers(profile, store, folder), _write_captions(folder)]


def answers_table(profile: str, store: ExperimentStore) -> Table:
    """One sentence a question that the database can answer."""
    rows = [[question, answer.sentence] for question, answer in _answers(profile, store)[0].items()]
    return Table(
        ["question", "answer"], rows, f"Profile {profile}; every number from the results database.", prose=True
    )


def _write_numbers(profile: str, store: ExperimentStore, folder: Path) -> Drawn:
    answers, missing = _answers(profile, store)
    numbers = {name: _for_latex(value) for answer in answers.values() for name, value in answer.numbers.items()}
    path = folder / "numbers.tex"
    path.write_text(numbers_tex(numbers), "utf-8")
    return Drawn("numbers", (path,), "; ".join(missing))


def _write_captions(folder: Path) -> Drawn:
    path = folder / "captions.tex"
    path.write_text(numbers_tex({f"caption {one.name}": _for_latex(one.caption) for one in FIGURES}), "utf-8")
    return Drawn("captions", (path,))


def _answers(profile: str, store: ExperimentStore) -> tuple[dict[str, Answer], list[str]]:
    """The answers that can be given, and what is missing for the others."""
    answers, missing = {}, []
    for question, ask in ANSWERS.items():
        try:
            answers[question] = ask(profile, store)
        except IncompleteError as error:
            missing.append(error.message)
    return answers, missing


def _test(effect: float, p_holm: float) -> tuple[str, str]:
    """Effect size and corrected p, as cells."""
    return f"{effect:.1f}", "<0.001" if p_holm < _SMALLEST_P else f"{p_holm:.3f}"


def _for_latex(value: str) -> str:
    return value.replace("%", r"\%").replace("ε", r"$\varepsilon$").replace("×", r"$\times$")
