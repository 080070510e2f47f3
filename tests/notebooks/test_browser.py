"""JupyterLab in a real browser: `explore` runs, a slider moves, a role changes, and no cell shows an error."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

NOTEBOOK = Path(__file__).resolve().parent.parent.parent / "notebooks" / "explore.ipynb"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Where JupyterLab shows a traceback or what a cell wrote to standard error.
ERROR = ", ".join(f"[data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("error", "stderr"))
SECONDS = 1_000.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab of our own on a copy of the notebook; its address."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(NOTEBOOK, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    state = {
        name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
        f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | state)
    try:
        address = f"http://127.0.0.1:{port}/lab"
        _wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert process.poll() is None, "JupyterLab ended before it answered"
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail("JupyterLab does not answer")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of a headless Chromium that is on this machine."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser.new_page(viewport={"width": 1500, "height": 1300})
        browser.close()


@pytest.mark.timeout(300)
def test_explore_answers_a_slider_and_a_role(page: Page, lab: str) -> None:
    """All cells run without an error; k from 5 to 6 adds to the plot, and another role of zip begins it anew."""
    page.goto(f"{lab}/tree/explore.ipynb?reset", timeout=90 * SECONDS)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=90 * SECONDS)
    # What is asked of a kernel that is still starting is lost.
    page.get_by_text("| Idle").first.wait_for(timeout=90 * SECONDS)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    picture = "svg[aria-label='Risk against information loss']"
    page.locator(f"{picture}, {ERROR}").first.wait_for(timeout=150 * SECONDS)
    assert page.locator(ERROR).all_text_contents() == []
    page.get_by_text("linkage attack, success above control").first.wait_for(timeout=90 * SECONDS)
    before = page.locator(picture).first.inner_html()

    handle = page.locator(".widget-slider", has_text="k").locator(".noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")

    page.wait_for_function(
        "([picture, before]) => document.querySelector(picture).innerHTML !== before",
        arg=[picture, before],
        timeout=90 * SECONDS,
    )
    page.get_by_text("k-anonymity, k=6, n = 1,000").first.wait_for(timeout=90 * SECONDS)
    assert page.locator(ERROR).all_text_contents() == []
    if folder := os.environ.get("MICROFLOW_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / "explore.png"))

    assert page.locator(f"{picture} title").count() > 1
    page.get_by_role("tab", name="roles", exact=True).click()
    of_zip = page.locator(".widget-dropdown", has=page.locator("label", has_text=re.compile("^zip$")))
    of_zip.locator("select").select_option("attribute")

    # What was tried while zip was a quasi-identifier is forgotten: the plot has the setting of now alone.
    page.wait_for_function(
        "title => document.querySelectorAll(title).length === 1", arg=f"{picture} title", timeout=90 * SECONDS
    )
    assert page.locator(ERROR).all_text_contents() == []
