"""Self-contained HTML pages for a recommendation, a release and a job, each with its verdict first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from microflow import __version__
from microflow.advise.recommend import Recommendation
from microflow.advise.release import Made, ReleaseConstraints, fingerprint
from microflow.advise.sample import setting_name
from microflow.advise.search import Estimate
from microflow.anonymize.contract import Method
from microflow.lab.report import Table
from microflow.pipeline.metrics import JobVerdict

if TYPE_CHECKING:
    from microflow.assess import Assessment
    from microflow.store.jobs import JobView

__all__ = ["Point", "frontier_svg", "job_page", "page", "release_page"]


_ROWS = ("read", "released", "suppressed", "quarantined")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 400, 60, 50, 20
#: Shapes as well as colours tell the methods apart, also on grey paper (colours: Okabe and Ito 2008).
_COLOURS = {Method.K_ANONYMITY: "#0072b2", Method.DIFFERENTIAL_PRIVACY: "#d55e00", Method.TOKENIZATION: "#009e73"}


@dataclass(frozen=True, slots=True)
class Point:
    """Setting in a plot: its name, method, risk and loss; one setting is marked."""

    name: str
    method: Method
    risk: Estimate
    loss: Estimate
    is_marked: bool = False


def frontier_svg(points: Iterable[Point], max_risk: float | None = None, *, note: str = "") -> str:
    """An ``<svg>``; both axes run from 0 to 1, so that two pictures can be compared. ``note`` stands below (n, say)."""
    parts = []
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = _x(share), _y(share)
        parts += [_line(x, _TOP, x, _HEIGHT), _text(x, _HEIGHT + 16, f"{share:g}", "middle")]
        parts += [_line(_LEFT, y, _WIDTH, y), _text(_LEFT - 6, y + 4, f"{share:g}", "end")]
    parts.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT + 36, "information loss", "middle"))
    upward = _text(0, 0, "linkage risk", "middle")
    parts.append(f'<g transform="translate(14 {_HEIGHT / 2}) rotate(-90)">{upward}</g>')
    if max_risk is not None:
        limit = _y(max_risk)
        parts.append(_line(_LEFT, limit, _WIDTH, limit, colour="#a00", dashes="6 4"))
        parts.append(_text(_WIDTH - 4, limit - 5, "greatest risk allowed", "end", "#a00"))
    parts += map(_mark, points)
    parts.append(_text(_WIDTH, _HEIGHT + 36, note, "end", "#555"))
    for place, method in enumerate(_COLOURS):
        y = _TOP + 16 + 18 * place
        parts += [_shape(method, _WIDTH - 150, y), _text(_WIDTH - 138, y + 4, method.value.replace("_", " "))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 20} {_HEIGHT + _BOTTOM}" role="img" '
        f'font-size="12" font-family="sans-serif" aria-label="Risk against information loss">{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, *, colour: str = "#ddd", dashes: str = "none") -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-dasharray="{dashes}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#000") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _mark(point: Point) -> str:
    x, y = _x(point.loss.value), _y(point.risk.value)
    title = f"<title>{escape(point.name)}: risk {point.risk}, loss {point.loss}</title>"
    ring = f'<circle cx="{x}" cy="{y}" r="10" fill="none" stroke="#222" stroke-width="2"/>' if point.is_marked else ""
    bar = _line(x, _y(point.risk.low), x, _y(point.risk.high), colour=_COLOURS.get(point.method, "#444"))
    return bar + _shape(point.method, x, y, title) + ring


def _shape(method: Method, x: float, y: float, title: str = "") -> str:
    colour = _COLOURS.get(method, "#444")
    if method is Method.K_ANONYMITY:
        return f'<circle cx="{x}" cy="{y}" r="5" fill="{colour}">{title}</circle>'
    if method is Method.DIFFERENTIAL_PRIVACY:
        return f'<rect x="{x - 4.5}" y="{y - 4.5}" width="9" height="9" fill="{colour}">{title}</rect>'
    return f'<path d="M{x} {y - 6}l6 11h-12z" fill="{colour}">{title}</path>'


def _x(loss: float) -> float:
    return round(_LEFT + min(max(loss, 0), 1) * (_WIDTH - _LEFT), 1)


def _y(risk: float) -> float:
    return round(_HEIGHT - min(max(risk, 0), 1) * (_HEIGHT - _TOP), 1)


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
pre { background: #f3f3f3; padding: .8rem; border-radius: 4px; overflow-x: auto }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0 } th { border-bottom: 1px solid #444 }
tr.marked { font-weight: 600; background: #eef6fb } .no { color: #a00 } .quiet { color: #666 }
"""


def page(found: Recommendation) -> str:
    """Page of a recommendation: the answer and the command first, then the plot, then the table."""
    advised, limits = found.advised, found.search.constraints
    title = "No setting meets the constraints" if advised is None else setting_name(advised.settings)
    command = "" if found.command is None else f"<pre>{escape(found.command)}</pre>"
    points, rows = [], []
    for candidate in sorted(found.search.candidates, key=lambda candidate: candidate.loss.value):
        name, risk, loss = setting_name(candidate.settings), candidate.risk, candidate.loss
        points.append(Point(name, candidate.settings.method, risk, loss, candidate is advised))
        allowed = "yes" if candidate.meets(limits) else "no"
        rows.append([name, risk, loss, f"{candidate.rate:,.0f}", f"{candidate.trials[-1].rows:,}", allowed])
    picture = frontier_svg(points, limits.max_risk, note=f"n = {found.search.rows:,}")
    table = _table(("setting", "risk", "loss", "records/s", "tried on", "allowed"), rows, marked=title)
    note = f"Tried on {found.sampled:,} sampled rows, predicted for {found.search.rows:,}; intervals are 95 %."
    body = f"{command}{_items(found.reasons())}{picture}{table}<p>{note}</p>"
    return _document(f"Recommendation: {title}", title, body)


def release_page(made: Made, failures: Sequence[str], thresholds: ReleaseConstraints) -> str:
    """Page of a release: the verdict first, then its measurements."""
    title = "Not released" if failures else "Released"
    asked = [[name.replace("_", " "), f"{value:g}"] for name, value in asdict(thresholds).items()]
    facts = {
        "input": made.file, "output": made.output.name, "schema": made.schema.name, "policy": made.policy,
        "microflow": __version__, "SHA-256 of the input": fingerprint(made.file)["sha256"],
        "SHA-256 of the output": fingerprint(made.output)["sha256"],
    }  # fmt: skip
    return _document(
        f"{title}: {made.file.name}",
        title,
        f"{_items(failures)}{_verdict(made.verdict)}<h2>Thresholds</h2>{_table(('threshold', 'value'), asked)}"
        f"{_settings(facts, made.metrics['method'])}{_measured(made.assessment)}",
    )


def job_page(view: JobView, violations: Iterable[Sequence[Any]], assessment: Assessment | str) -> str:
    """Page of a job: the verdict first, then settings, violations by rule, phases, risk and utility.

    Args:
        view: The job.
        violations: Rule, regulation, article, severity, number of violations and of records.
        assessment: What was measured of its output, or why nothing was.
    """
    metrics, spec = view.metrics or {}, view.spec
    body = f'<p class="no">{escape(view.error)}</p>' if view.error else ""
    if "verdict" in metrics:
        body += _verdict(JobVerdict.from_dict(metrics["verdict"]))
    else:
        counted = (view.rows_read, view.rows_released, view.rows_suppressed, view.rows_quarantined)
        body += _table(_ROWS, [[f"{count:,}" for count in counted]])
    facts = {
        "input": spec["input"], "output": spec["output"], "schema": spec["schema"],
        "policy": spec.get("policy") or "the schema's", "pipeline": f"{view.pipeline} on {view.engine}",
        "created": f"{view.created_at:%Y-%m-%d %H:%M %Z}", "microflow": __version__,
        "SHA-256 of the input": view.input_sha256, "SHA-256 of the output": view.output_sha256 or "–",
    }  # fmt: skip
    rows = [[*row[:4], *(f"{count:,}" for count in row[4:])] for row in violations]
    head = ("rule", "regulation", "article", "severity", "violations", "records")
    timing = metrics.get("timing_separation")
    body += f"{_settings(facts, spec['method'])}<h2>Violations by rule</h2>"
    body += f"{_table(head, rows) if rows else '<p>None were found.</p>'}<h2>Phases</h2>"
    body += _phases(timing) if timing else "<p>Measured when the job is complete.</p>"
    if isinstance(assessment, str):
        body += f"<h2>Risk and utility</h2><p>Not measured: {escape(assessment)}.</p>"
    else:
        body += _measured(assessment)
    return _document(view.id, f"{view.id}: {view.status}", body)


def _document(title: str, heading: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(heading)}</h1>{body}</html>"
    )


def _items(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], **options: Any) -> str:
    return Table(head, [list(map(str, row)) for row in rows], **options)._repr_html_()


def _settings(facts: Mapping[str, object], method: Mapping[str, Any]) -> str:
    chosen = {name.replace("_", " "): value for name, value in method.items() if value not in (None, False)}
    return f"<h2>Settings</h2>{_table(('what', 'value'), [*facts.items(), *chosen.items()], prose=True)}"


def _verdict(found: JobVerdict) -> str:
    """Fate of the rows, reasons why some were quarantined, and what a person must know."""
    rows = [[name, f"{getattr(found, name):,}"] for name in _ROWS]
    reasons = [[reason, f"{count:,}"] for reason, count in found.quarantine_reasons.items()]
    quarantine = _table(("reason of the quarantine", "rows"), reasons) if reasons else ""
    # Rows and reasons stand in the tables already.
    said = [line for line in list(found.lines())[1:] if not line.startswith("  ")]
    return f"{_table(('rows', 'number'), rows)}{quarantine}{_items(said)}"


def _phases(timing: Mapping[str, float]) -> str:
    """Shares of wall time as a bar, and seconds as a table."""
    shares = {name: timing[f"{name}_processing"] for name in ("pre", "pure", "post")} | {"residual": timing["residual"]}
    shares["pure"] -= timing.get("overlap", 0.0)
    whole, x, bars = sum(shares.values()) or 1.0, 0.0, []
    for (name, seconds), colour in zip(shares.items(), ("#9ecae1", "#0072b2", "#e69f00", "#bbb"), strict=True):
        width = 600 * max(seconds, 0.0) / whole
        bars.append(f'<rect x="{x:.1f}" width="{width:.1f}" height="24" fill="{colour}"><title>{name}</title></rect>')
        x += width
    picture = f'<svg viewBox="0 0 600 24" role="img" aria-label="Shares of wall time by phase">{"".join(bars)}</svg>'
    rows = [[name.replace("_", " "), f"{seconds:.3f}"] for name, seconds in timing.items()]
    return picture + _table(("phase", "seconds"), rows)


def _measured(found: Assessment) -> str:
    """Classes, attacks and losses as tables, and the reasons."""
    achieved = found.achieved
    classes = [[f"k (smallest class, in {achieved.unit}s)", f"{achieved.k:,}"], ["classes", f"{achieved.classes:,}"]]
    classes += ([f"l of {name}", str(value)] for name, value in achieved.l_diversity.items())
    classes += ([f"t of {name}", f"{value:.3f}"] for name, value in achieved.t_closeness.items())
    named = [(f"{attack.name}, knows {attack.knows} columns", attack) for attack in found.linkage]
    others = filter(None, (found.singling_out, found.linkage_by_passed, found.inference))
    named += ((attack.name, attack) for attack in others)
    attacks = [[name, attack, f"{attack.main.value:.1%}", f"{attack.control.value:.1%}"] for name, attack in named]
    losses = [[name, f"{column.ncp:.3f}", f"{column.distortion:.3f}"] for name, column in found.loss.columns.items()]
    return (
        f"<h2>Risk and utility</h2><p class=quiet>n = {found.rows:,}; intervals are 95 %.</p>"
        f"{_table(('attack', 'risk above control', 'success', 'by chance'), attacks)}"
        f"{_table(('equivalence classes', 'value'), classes)}"
        f"{_table(('column', 'what labels leave open (NCP)', 'distortion'), losses)}{_items(found.reasons)}"
    )
