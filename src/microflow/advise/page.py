"""A recommendation as a page: the frontier drawn, the settings as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from microflow.advise.recommend import Recommendation
from microflow.advise.sample import setting_name
from microflow.advise.search import Estimate
from microflow.anonymize.contract import Method

__all__ = ["Point", "frontier_svg", "page"]


_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 400, 60, 50, 20
#: Shapes as well as colours tell the methods apart, also on grey paper (colours: Okabe and Ito 2008).
_COLOURS = {Method.K_ANONYMITY: "#0072b2", Method.DIFFERENTIAL_PRIVACY: "#d55e00", Method.TOKENIZATION: "#009e73"}


@dataclass(frozen=True, slots=True)
class Point:
    """One setting: its name, method, risk and loss, and whether it is the one to point at."""

    name: str
    method: Method
    risk: Estimate
    loss: Estimate
    is_marked: bool = False


def frontier_svg(points: Iterable[Point], max_risk: float | None = None, *, note: str = "") -> str:
    """An ``<svg>``; both axes run from 0 to 1, so that two pictures can be compared. ``note`` stands below (n, say)."""
    parts = [*_axes()]
    if max_risk is not None:
        limit = _y(max_risk)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{limit}" y2="{limit}" stroke="#a00" stroke-dasharray="6 4"/>'
        )
        parts.append(
            f'<text x="{_WIDTH - 4}" y="{limit - 5}" text-anchor="end" fill="#a00">greatest risk allowed</text>'
        )
    parts += map(_mark, points)
    parts.append(f'<text x="{_WIDTH}" y="{_HEIGHT + 36}" text-anchor="end" fill="#555">{escape(note)}</text>')
    parts += _legend()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 20} {_HEIGHT + _BOTTOM}" role="img" '
        f'font-size="12" font-family="sans-serif" aria-label="Risk against information loss">{"".join(parts)}</svg>'
    )


def _axes() -> Iterator[str]:
    for tenth in range(0, 11, 2):
        share = tenth / 10
        x, y = _x(share), _y(share)
        yield f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT}" stroke="#ddd"/>'
        yield f'<text x="{x}" y="{_HEIGHT + 16}" text-anchor="middle">{share:g}</text>'
        yield f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{share:g}</text>'
    middle = (_LEFT + _WIDTH) / 2
    yield f'<text x="{middle}" y="{_HEIGHT + 36}" text-anchor="middle">information loss</text>'
    yield f'<text transform="translate(14 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">linkage risk</text>'


def _legend() -> Iterator[str]:
    for place, method in enumerate(_COLOURS):
        y = _TOP + 16 + 18 * place
        yield _shape(method, _WIDTH - 150, y, "")
        yield f'<text x="{_WIDTH - 138}" y="{y + 4}">{escape(method.value.replace("_", " "))}</text>'


def _mark(point: Point) -> str:
    x, y = _x(point.loss.value), _y(point.risk.value)
    colour = _COLOURS.get(point.method, "#444")
    title = f"<title>{escape(point.name)}: risk {point.risk}, loss {point.loss}</title>"
    ring = f'<circle cx="{x}" cy="{y}" r="10" fill="none" stroke="#222" stroke-width="2"/>' if point.is_marked else ""
    bar = f'<line x1="{x}" x2="{x}" y1="{_y(point.risk.low)}" y2="{_y(point.risk.high)}" stroke="{colour}"/>'
    return bar + _shape(point.method, x, y, title) + ring


def _shape(method: Method, x: float, y: float, title: str) -> str:
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
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
code, pre { background: #f3f3f3; padding: .2rem .4rem; border-radius: 4px } pre { padding: .8rem; overflow-x: auto }
table { border-collapse: collapse; width: 100% } th, td { text-align: right; padding: .25rem .6rem }
th:first-child, td:first-child { text-align: left } tr.advised { font-weight: 600; background: #eef6fb }
thead { border-bottom: 2px solid #444 } .no { color: #a00 }
"""


def page(found: Recommendation) -> str:
    """The page: the answer and the command first, then the picture, then the table."""
    advised = found.advised
    title = "No setting meets the constraints" if advised is None else setting_name(advised.settings)
    command = "" if found.command is None else f"<pre>{escape(found.command)}</pre>"
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in found.reasons())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Recommendation: {escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{command}<ul>{reasons}</ul>"
        f"{_figure(found)}{_table(found)}"
        f"<p>Tried on {found.sampled:,} sampled rows, predicted for {found.search.rows:,}; intervals are 95 %.</p>"
        "</html>"
    )


def _figure(found: Recommendation) -> str:
    points = [
        Point(setting_name(one.settings), one.settings.method, one.risk, one.loss, one is found.advised)
        for one in found.search.candidates
    ]
    return frontier_svg(points, found.search.constraints.max_risk, note=f"n = {found.search.rows:,}")


def _table(found: Recommendation) -> str:
    head = "<tr><th>setting</th><th>risk</th><th>loss</th><th>records/s</th><th>tried on</th><th>allowed</th></tr>"
    rows = []
    for one in sorted(found.search.candidates, key=lambda one: one.loss.value):
        mark = ' class="advised"' if one is found.advised else ""
        allowed = "yes" if one.meets(found.search.constraints) else '<span class="no">no</span>'
        cells = (escape(setting_name(one.settings)), one.risk, one.loss, f"{one.rate:,.0f}", f"{one.trials[-1].rows:,}")
        rows.append(f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in cells)}<td>{allowed}</td></tr>")
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
