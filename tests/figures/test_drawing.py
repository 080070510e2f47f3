"""Every figure: exact width, real fonts, the same bytes twice, legible without colour."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from microflow.figures.catalogue import drawing_of
from microflow.figures.style import COLUMN_IN, PAGE_IN, ieee, look, save
from microflow.lab.experiment import Plot


def drawn(name: str, frame: pd.DataFrame) -> Figure:
    with ieee():
        figure = drawing_of(Plot(name, name, ""))(frame)
    assert isinstance(figure, Figure)
    return figure


def test_widths_are_those_of_the_paper(figure_and_frame: tuple[str, pd.DataFrame]) -> None:
    """One column or one page wide, to the point."""
    assert drawn(*figure_and_frame).get_figwidth() in {COLUMN_IN, PAGE_IN}


def test_text_is_eight_to_nine_points(figure_and_frame: tuple[str, pd.DataFrame]) -> None:
    """Nothing needs a magnifying glass at printed size."""
    sizes = {text.get_fontsize() for text in drawn(*figure_and_frame).findobj(Text) if text.get_text()}
    assert sizes <= {8.0, 8.5, 9.0}


def test_the_same_frame_gives_the_same_bytes(figure_and_frame: tuple[str, pd.DataFrame], tmp_path: Path) -> None:
    """PDF and PNG are byte-identical when drawn again, whatever the caller's own settings are."""
    name, frame = figure_and_frame
    once = save(drawn(name, frame), tmp_path / "once", name)
    with mpl.rc_context({"font.size": 20, "pdf.fonttype": 3}):
        again = save(drawn(name, frame), tmp_path / "again", name)
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_pdf_embeds_truetype_at_exact_width(figure_and_frame: tuple[str, pd.DataFrame], tmp_path: Path) -> None:
    """Type 42 fonts only, and a page box of exactly the figure's width: nothing was cropped."""
    figure = drawn(*figure_and_frame)
    pdf, _ = save(figure, tmp_path, figure_and_frame[0])
    data = pdf.read_bytes()
    assert b"/TrueType" in data or b"/CIDFontType2" in data
    assert b"/Type3" not in data
    assert b"CreationDate" not in data
    box = data.split(b"/MediaBox [")[1].split(b"]")[0].split()
    assert float(box[2]) == pytest.approx(figure.get_figwidth() * 72, abs=0.01)


def test_nothing_is_cut_off(figure_and_frame: tuple[str, pd.DataFrame]) -> None:
    """Every label and name lies inside the page."""
    with ieee():
        figure = drawn(*figure_and_frame)
        figure.draw_without_rendering()
        texts = [text for ax in figure.axes for text in (*ax.texts, ax.xaxis.label, ax.yaxis.label)]
        outside = [text.get_text() for text in texts if text.get_text() and not _inside(text, figure)]
    assert not outside


def _inside(text: Text, figure: Figure) -> bool:
    box, page = text.get_window_extent(), figure.bbox
    return bool(box.x0 > page.x0 - 1 and box.x1 < page.x1 + 1 and box.y0 > page.y0 - 1 and box.y1 < page.y1 + 1)


def test_arms_differ_without_colour() -> None:
    """No two pipelines, and no two methods, share both marker and line."""
    for arms in (("batch", "stream", "hybrid", "spark"), ("k_anonymity", "differential_privacy", "tokenization")):
        assert len({look(arm).marker for arm in arms}) == len(arms)


def test_every_panel_of_rules_says_whose_they_are(accuracy_frame: pd.DataFrame) -> None:
    """The title names the regulation; where there are two, each line says which it is of."""
    healthcare, financial = drawn("accuracy", accuracy_frame).axes
    assert healthcare.get_title(loc="left") == "Healthcare: HIPAA"
    assert financial.get_title(loc="left") == "Financial: PCI DSS, GDPR"
    labels = [[label.get_text() for label in ax.get_yticklabels()][:2] for ax in (healthcare, financial)]
    assert labels == [["name", "ssn"], ["hipaa-name", "hipaa-ssn"]]


def test_a_ratio_that_is_not_known_is_not_written() -> None:
    """An interval wider than ±50 % has words in its place; a narrow one its ratio."""
    rows = [("microflows", "row insert", 30.0, 9.0, 90.0, 0.03), ("microflows", "conversion", 1.5, 1.4, 1.6, 0.03)]
    frame = pd.DataFrame(rows, columns=["work", "arm", "ratio", "low", "high", "noise_floor"])
    said = {text.get_text() for text in drawn("contamination", frame).axes[0].texts}
    assert said == {"not known to ±50%", "1.50×"}
