"""Privacy and utility: what does each setting leave to an attacker, and what is its release still good for?

Risk is measured by attack, never taken from a formula of the parameter; it depends on how many records there are, so
the number of records is said with it, beside the release without any method (identity) and the bound that theory gives.
Local differential privacy is also measured as it is meant to be used: by estimates from a whole release, and by an
audit of its ε.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.contract import Method, Scope
from microflow.anonymize.differential_privacy import Perturbed, perturbed_columns
from microflow.assess import assess
from microflow.assess.attacks import Attack
from microflow.assess.inference import epsilon_lower_bound
from microflow.engine import ProcessingSpec, build_processor
from microflow.engine.contract import with_scope
from microflow.engine.stream import releasing
from microflow.experiments.speed import IDENTITY, K_ANONYMITY, SETTINGS, TYPICAL, Setting
from microflow.experiments.work import data_checksum, source, spec_of
from microflow.lab.experiment import Claim, Experiment, Matrix, Plot, scale_of
from microflow.lab.report import Answer, Table, design, from_to, method_name, per_cent
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import Estimate, mean_of
from microflow.lab.trials import Arm
from microflow.records import Microflow
from microflow.timing.clock import PhaseClock

__all__ = [
    "PRIVACY", "aggregates_table", "answer", "attacks_table", "bound", "form_of", "frame", "matrix", "table", "trial",
]  # fmt: skip

Index = npt.NDArray[np.int64]
#: What a model learns varies so much with the split that fewer seeds say nothing.
_SEEDS = 20
#: Domains larger than this have estimators that take longer than the release.
_LARGEST_DOMAIN = 256


_Settings = Sequence[Setting]
#: Settings on batch, those of k-anonymity that are attacked in the stream's and in the hybrid's form too; rows,
#: attempts of each attack, blocks.
_SCALES: dict[str, tuple[_Settings, _Settings, _Settings, int, int, int]] = {
    "smoke": (TYPICAL, K_ANONYMITY[1:2], (), 500, 100, 1),
    "quick": (SETTINGS, K_ANONYMITY[1:2], K_ANONYMITY[1:2], 2_000, 300, 1),
    "paper": (SETTINGS, K_ANONYMITY[1::2], K_ANONYMITY[1::2], 3_000, 400, _SEEDS),
}


def matrix(profile: str) -> Matrix:
    """Every setting released and attacked, the identity among them; every block has data and seeds of its own.

    What works record by record releases the same rows on every pipeline; k-anonymity does not, because its scope does
    not: it is attacked in its form for streams (CASTLE) and inside microflows (the hybrid's) as well.
    """
    *settings, rows, attempts, blocks = scale_of(_SCALES, profile)
    cells = [{"method": {"method": IDENTITY}, "setting": "", "pipeline": "batch"}]
    for pipeline, own in zip(("batch", "stream", "hybrid"), settings, strict=True):
        cells += [setting.cell | {"pipeline": pipeline} for setting in own]
    work = {"data_type": "healthcare", "rows": rows, "attempts": attempts}
    arms = [Arm(f"{form_of(cell)} {cell['setting']}".strip(), f"{__name__}:trial", work | cell) for cell in cells]
    return Matrix("rq2-privacy", tuple(arms), blocks, side_by_side=True)


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Release ``rows`` rows on a pipeline and attack the release; a target for a fresh process.

    Args:
        config: ``data_type``, ``rows``, ``pipeline``, ``method`` (fields of `MethodSettings`), ``attempts`` of each
            attack, ``seed``.

    Returns:
        ``linkage`` (of an attacker who knows every quasi-identifier), ``singling_out``, ``passed`` (of one who knows
        what passes untouched), ``inference`` (of the sensitive value) and ``membership`` (of others of the same
        population), each ``risk``, ``low``, ``high``; ``loss``
        (mean over quasi-identifiers of the larger of NCP and distortion), ``gcp``, ``k``, ``suppressed``, and ``kept``,
        the part of what a model could learn that it still learns (``None`` where nothing could be learnt);
        ``data_checksum`` of the originals. ``delay_p50`` and ``delay_max``: how many later records a record of a stream
        waited for before it left (0 elsewhere: a file is there as a whole). With local differential privacy also
        ``aggregates``: errors of estimates from the release, beside their theory, and ``epsilon_shown``: what an audit
        of the release shows ε to be at least.
    """
    spec, flows = spec_of(config), list(source(config, config["rows"]))
    processor = build_processor(spec, config["pipeline"])
    done = list(processor.process(flows, PhaseClock()))
    original = pa.Table.from_batches([flow.rows for flow in flows])
    # The rows that follow in the same population: as many persons as half of those who are released.
    more = pa.Table.from_batches([flow.rows for flow in source(config, config["rows"] * 3 // 2)])
    released = pa.Table.from_batches([result.released for result in done], processor.output_schema)
    ordinals = np.concatenate([result.ordinals for result in done])
    found = assess(
        original, released, ordinals, spec.schema,
        control=more.slice(original.num_rows), attempts=config["attempts"], seed=config["seed"],
    )  # fmt: skip
    return {
        "linkage": _risk(found.linkage[-1]),
        "singling_out": _risk(found.singling_out),
        "passed": _risk(found.linkage_by_passed),
        "inference": _risk(found.inference),
        "membership": _risk(found.presence.membership if found.presence else None),
        "loss": found.information_loss,
        "gcp": found.loss.gcp,
        "kept": found.utility and found.utility.kept,
        "k": found.achieved.k,
        "suppressed": found.achieved.suppressed,
        **_of_noise(spec, original, released, ordinals),
        "data_checksum": data_checksum(flows),
        **_delay(spec, flows if config["pipeline"] == "stream" else []),
    }


def _delay(spec: ProcessingSpec, flows: Sequence[Microflow]) -> dict[str, float]:
    """A second run through the last bolt alone, record by record, because a microflow does not tell who left when."""
    if not flows:  # no stream: and a stream may not even offer what the setting asks for (l, t)
        return {"delay_p50": 0.0, "delay_max": 0.0}
    last, waited = releasing(with_scope(spec, Scope.STREAM)), [0]
    for now, record in enumerate(record for flow in flows for record in flow.rows.to_pylist()):
        waited += [now - ordinal for ordinal, _ in last.push(now, record)]
    return {"delay_p50": float(np.median(waited)), "delay_max": float(max(waited))}


def _risk(found: Attack | None) -> dict[str, float] | None:
    return None if found is None else {"risk": found.risk, "low": found.low, "high": found.high}


def _of_noise(spec: ProcessingSpec, original: pa.Table, released: pa.Table, ordinals: Index) -> dict[str, Any]:
    """Measures of perturbed columns with small domains: estimates from them, and an audit of ε."""
    if spec.method.method is not Method.DIFFERENTIAL_PRIVACY:
        return {"aggregates": [], "epsilon_shown": None}
    every = perturbed_columns(spec.schema, spec.method.epsilon)
    columns = [perturbed for perturbed in every if perturbed.domain.size <= _LARGEST_DOMAIN]
    truths, reported = ([_codes(perturbed, table) for perturbed in columns] for table in (original, released))
    pairs = [(truth[ordinals], out) for truth, out in zip(truths, reported, strict=True)]
    return {
        "aggregates": [_estimate(*parts) for parts in zip(columns, truths, reported, strict=True)],
        "epsilon_shown": epsilon_lower_bound(pairs),
    }


def _codes(perturbed: Perturbed, table: pa.Table) -> Index:
    column = perturbed.column
    return perturbed.domain.encode(table[column.name].combine_chunks().cast(column.dtype.arrow)).astype(np.int64)


def _estimate(perturbed: Perturbed, truth: Index, reported: Index) -> dict[str, Any]:
    """Unbiased estimate of a statistic of a column, beside the truth.

    Categories: the frequency of the first; numbers: the mean. With the mechanism's matrix ``P[true, released]`` the
    estimator ``mean(w[released])`` with ``P w = v`` is unbiased for ``mean(v[true])``; its standard deviation follows
    from the same matrix (Kairouz, Bonawitz and Ramage 2016 for randomised response).
    """
    codes, values = range(perturbed.domain.size + 1), perturbed.domain.values
    matrix = np.array([[float(perturbed.mechanism.probability(out, true)) for out in codes] for true in codes])
    numbers = perturbed.domain.is_ordered
    wanted = np.array([float(value or 0) for value in values]) if numbers else np.eye(len(codes))[0]
    weights = np.linalg.solve(matrix, wanted)
    variance = matrix @ weights**2 - (matrix @ weights) ** 2
    counts: npt.NDArray[np.int64] = np.bincount(truth, minlength=len(codes))
    return {
        "column": perturbed.column.name,
        "statistic": "mean" if numbers else f"frequency of {values[0]}",
        "truth": float(wanted[truth].mean()),
        "estimate": float(weights[reported].mean()),
        "theory_sd": math.sqrt(float(counts @ variance)) / len(truth),
    }


def bound(method: Mapping[str, Any], rows: int) -> float:
    """Theoretical bound of the success of a linkage attack: 1 for a method without a guarantee.

    k-anonymity: 1/k. Local differential privacy: an attacker who guesses among n equally likely records is right with a
    probability of at most e^ε / (n - 1 + e^ε).

    >>> bound({"method": "k_anonymity", "k": 5}, 1_000), bound({"method": "tokenization"}, 1_000)
    (0.2, 1.0)
    """
    if method["method"] == Method.K_ANONYMITY:
        return 1 / int(method["k"])
    if method["method"] == Method.DIFFERENTIAL_PRIVACY:
        likelier = math.exp(method["epsilon"])
        return likelier / (rows - 1 + likelier)
    return 1.0


def form_of(config: Mapping[str, Any]) -> str:
    """The method of a configuration, and the pipeline where it works in a form that is not the batch's.

    >>> form_of({"method": {"method": "k_anonymity"}, "pipeline": "stream"})
    'k_anonymity_stream'
    """
    method, pipeline = config["method"]["method"], config["pipeline"]
    return method if pipeline == "batch" else f"{method}_{pipeline}"


def frame(results: Results) -> Frame:
    """Means over blocks by setting, with intervals, as `microflow.figures.charts` wants them.

    Columns: ``method``, ``setting``, ``n``, ``bound``; ``risk``, ``loss`` and ``kept`` with ``_low`` and ``_high``: the
    95 % interval of the mean over blocks, each with data and seeds of its own; of a single block, the attack's own
    (Wilson) interval, and none of the loss. ``kept`` is nan below `_SEEDS` blocks. Also ``k`` (smallest),
    ``suppressed``, ``delay_p50`` and ``delay_max``.
    """
    rows = []
    for arm in results.matrix.arms:
        own = results.of(arm)
        risk = mean_of([result["linkage"]["risk"] for result in own])
        loss = mean_of([result["loss"] for result in own])
        learnt = [result["kept"] for result in own if result["kept"] is not None]
        kept = mean_of(learnt) if len(learnt) >= _SEEDS else Estimate(math.nan, math.nan, math.nan)
        alone = own[0]["linkage"] if len(own) == 1 else None
        rows.append({
            "method": form_of(arm.config), "setting": arm.config["setting"], "n": arm.config["rows"],
            "bound": bound(arm.config["method"], arm.config["rows"]),
            "risk": risk.value,
            "risk_low": alone["low"] if alone else max(risk.low, 0.0),
            "risk_high": alone["high"] if alone else min(risk.high, 1.0),
            "loss": loss.value,
            "loss_low": loss.value if alone else loss.low, "loss_high": loss.value if alone else loss.high,
            "kept": kept.value, "kept_low": kept.low, "kept_high": kept.high,
            "k": min(result["k"] for result in own),
            "suppressed": float(np.median([result["suppressed"] for result in own])),
            "delay_p50": float(np.median([result["delay_p50"] for result in own])),
            "delay_max": max(result["delay_max"] for result in own),
        })  # fmt: skip
    return data_frame(rows)


def table(results: Results) -> Table:
    """Table of the risk of each setting beside the identity and its bound, of its loss, and of its utility."""
    found = frame(results)
    learnt = bool(found["kept"].notna().any())
    rows = [
        [
            method_name(row["method"], row["setting"]), _three(row, "risk"),
            "none" if row["bound"] >= 1 else f"{row['bound']:.2g}", f"{row['loss']:.3f}", f"{row['suppressed']:,.0f}",
            *([_three(row, "kept", digits=2)] if learnt else []), f"{row['delay_p50']:,.0f}",
        ]
        for row in found.to_dict("records")
    ]  # fmt: skip
    blocks = results.matrix.blocks
    count = f"{found['n'].iloc[0]:,} records"
    intervals = f"Means over {blocks} data sets of {count}, each with seeds of its own, and 95 % intervals"
    if blocks == 1:
        intervals = f"One data set of {count}; intervals are Wilson's over the attack's attempts, 95 %"
    learning = "; part of what a model learns from originals that it learns from the release" if learnt else ""
    return Table(
        [
            "setting", f"linkage risk, n={found['n'].iloc[0]:,}", "bound", "loss", "suppressed",
            *(["learnt"] if learnt else []), "delay",
        ],
        rows,
        "Success of a linkage attack above its control, which falls as n grows, beside the release without a method "
        "(identity) and the bound that theory gives on success; information loss; suppressed rows"
        f"{learning}; median number of later records that a record of a stream waits for. {intervals}. "
        f"{design(results)}.",
    )  # fmt: skip


def _three(row: Mapping[Any, Any], name: str, digits: int = 3) -> str:
    if math.isnan(row[name]):
        return ""
    return f"{row[name]:.{digits}f} [{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]"


_MEMBERSHIP = "; membership: who is in the release, controlled by others of the same population"


def attacks_table(results: Results) -> Table:
    """Every attack on each setting, and what an audit shows ε to be at least."""
    rows = []
    attacks = [name for name in _ATTACKS if any(name in trial.run.result for trial in results.trials)]
    for arm in results.matrix.arms:
        own = results.of(arm)
        risks = [[result[name]["risk"] for result in own if result[name] is not None] for name in attacks]
        cells = [f"{mean_of(values).value:.3f}" if values else "" for values in risks]
        shown = [result["epsilon_shown"] for result in own if result["epsilon_shown"] is not None]
        name = method_name(form_of(arm.config), arm.config["setting"])
        rows.append([name, *cells, f"{mean_of(shown).value:.2f}" if shown else ""])
    return Table(
        ["setting", *(_ATTACKS[name] for name in attacks), "ε at least"],
        rows,
        "Success of attacks above their controls, means over blocks. Linkage: an attacker knows all quasi-identifiers; "
        "by what passes: the columns that no method touches, which a release has to treat or drop; singling out: "
        "controlled by persons who had no part in the predicates; inference: of the sensitive column, controlled by "
        f"the same guess without the target's row{_MEMBERSHIP * ('membership' in attacks)}. ε at least: what an audit "
        f"shows of the columns with small domains (95 %). {design(results)}.",
    )


def aggregates_table(results: Results) -> Table:
    """Local differential privacy as it is meant to be used: estimates over the whole release, beside their theory."""
    rows = []
    for arm in results.matrix.arms:
        own = [result["aggregates"] for result in results.of(arm)]
        for parts in zip(*own, strict=True):
            errors = np.array([part["estimate"] - part["truth"] for part in parts])
            theory = float(np.mean([part["theory_sd"] for part in parts]))
            measured = float(np.sqrt(np.mean(errors**2)))
            rows.append([
                arm.config["setting"], f"{parts[0]['statistic']} ({parts[0]['column']})", f"{parts[0]['truth']:.3g}",
                f"{measured:.2g}", f"{theory:.2g}", f"{measured / theory:.2f}",
            ])  # fmt: skip
    rows_of = results.matrix.arms[0].config["rows"]
    return Table(
        ["ε", "estimate", "truth", "error", "error in theory", "error / theory"],
        rows,
        f"Unbiased estimates from a release of {rows_of:,} records: root mean square error over "
        f"{results.matrix.blocks} data set{'s' * (results.matrix.blocks != 1)}, and the standard deviation that the "
        f"mechanism's probabilities give. {design(results)}.",
    )


def answer(results: Results) -> Answer:
    """Remaining risk and loss of each method, with n and the identity beside it."""
    found = frame(results)
    rows = int(found["n"].iloc[0])
    numbers = {"rq2 attacked records": f"{rows:,}"}
    for row in found.to_dict("records"):
        name = f"rq2 {row['method']} {row['setting']}".strip()
        numbers |= {f"{name} risk": per_cent(row["risk"]), f"{name} loss": f"{row['loss']:.2f}"}
        if row["delay_p50"] > 0:
            numbers[f"{name} delay records"] = f"{row['delay_p50']:,.0f}"
    said = []
    for method, own in found[found["method"] != IDENTITY].groupby("method", sort=False):
        risks = from_to(*(per_cent(float(own["risk"].agg(end))) for end in ("min", "max")))
        losses = from_to(*(f"{own['loss'].agg(end):.2f}" for end in ("min", "max")))
        said.append(f"{method_name(str(method))} {risks} at a loss of {losses}")
    plain = per_cent(float(found[found["method"] == IDENTITY]["risk"].iloc[0]))
    return Answer(
        f"Among {rows:,} records, an attacker who knows the quasi-identifiers links so many above chance: {plain} "
        f"where nothing is done to them; {'; '.join(said)} (0 nothing lost, 1 all).",
        numbers,
        _headline(found),
    )


def _headline(found: Frame) -> str:
    """Risk of the first setting of each method for files, with its interval."""
    said = []
    files = found[found["method"].isin([IDENTITY, *Method])]
    for row in files.groupby("method", sort=False).head(1).to_dict("records"):
        risk, low, high = (per_cent(float(row[name])) for name in ("risk", "risk_low", "risk_high"))
        what = "nothing was done" if row["method"] == IDENTITY else method_name(row["method"], row["setting"])
        said.append(f"{risk} [{low}, {high}] ({what})")
    listed = f"{', '.join(said[:-1])} and {said[-1]}"
    return f"An attacker who knows the quasi-identifiers links, above chance, {listed} of the records."


#: Name in a result to heading; membership is not in recordings of earlier versions.
_ATTACKS = {
    "linkage": "linkage", "passed": "by what passes", "singling_out": "singling out", "inference": "inference",
    "membership": "membership",
}  # fmt: skip
_SAME = (
    *_ATTACKS, "epsilon_shown", "loss", "gcp", "kept", "k", "suppressed", "delay_p50", "delay_max", "data_checksum",
)  # fmt: skip

PRIVACY = Experiment(
    name="rq2-privacy",
    asks="Which method, with which parameter?",
    notebook="rq2",
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=lambda config: 0.7 + float(config["rows"]) * (7e-4 if config["pipeline"] == "stream" else 3e-4),
    same=_SAME,
    tables={"methods": table, "attacks": attacks_table, "aggregates": aggregates_table},
    claims=(Claim(r"(eleven|thirteen|fourteen) settings|settings of three methods"),),
    plot=Plot(
        "privacy-utility",
        "frontier",
        "Risk under a linkage attack against information loss (mean over quasi-identifiers of the larger of NCP and "
        "distortion), by setting; lower left is better.",
    ),
)
