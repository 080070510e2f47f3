"""A recommendation as one HTML page with the frontier drawn, nothing to load from anywhere else."""

from __future__ import annotations

from html import escape

from microflow.advise.chart import Point, frontier_svg
from microflow.advise.recommend import Recommendation
from microflow.advise.trial import setting_name

__all__ = ["page"]

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
