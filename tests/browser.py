"""A page in a real browser without a screen: how it is laid out at a width, and what the browser complains about."""

import html
import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="neither Chromium nor Chrome is installed")
SECONDS = 120
LOOK = """
<script>
for (const folded of document.querySelectorAll("details")) folded.open = OPEN;
const texts = [...document.body.querySelectorAll("*")].filter(
  (element) => element.checkVisibility() && !element.closest("svg") && !element.closest(".hidden")
    && [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
const page = document.documentElement;
parent.postMessage(JSON.stringify({
  window: innerWidth, content: Math.max(page.scrollWidth, document.body.scrollWidth), height: page.scrollHeight,
  smallest: Math.min(...texts.map((element) => parseFloat(getComputedStyle(element).fontSize))),
}), "*");
</script>
"""
# A window is not made narrower than 500 pixels, a frame is; to the page in it the frame is the window.
FRAME = """<!doctype html>
<script>onmessage = (message) => document.title = message.data;</script>
<iframe src="PAGE" width="WIDTH" height="900" style="border: 0"></iframe>
"""


@dataclass(frozen=True)
class Layout:
    """How a page was laid out.

    Attributes:
        window, content, height: CSS pixels; content that is wider than the window scrolls sideways.
        smallest: size of the smallest visible text outside figures, in CSS pixels.
        complaints: lines of the browser's console.
    """

    window: int
    content: int
    height: int
    smallest: float
    complaints: list[str]


def lay_out(page: Path, width: int, folder: Path, unfolded: bool = False) -> Layout:
    """Open a copy of the page, with everything folded away opened or not, and look at it.

    Args:
        folder: for the copy and the browser's own files.
    """
    copy = folder / f"{page.stem}-{width}.html"
    copy.write_text(page.read_text() + LOOK.replace("OPEN", "true" if unfolded else "false"))
    frame = folder / f"{page.stem}-{width}-frame.html"
    frame.write_text(FRAME.replace("PAGE", copy.as_uri()).replace("WIDTH", str(width)))
    out, log = _run(["--dump-dom", "--virtual-time-budget=10000", frame.as_uri()], folder)
    title = re.search(r"<title>(.*?)</title>", out, flags=re.DOTALL)
    assert title is not None, log
    complaints = [line for line in log.splitlines() if "CONSOLE" in line]
    return Layout(**json.loads(html.unescape(title[1])), complaints=complaints)


def _run(arguments: list[str], folder: Path) -> tuple[str, str]:
    assert BROWSER is not None
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--no-first-run", "--hide-scrollbars", "--enable-logging=stderr", "--v=0"]
    command += [f"--user-data-dir={folder / 'browser'}", *arguments]
    # A group of its own, so that its helpers end with it.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        return process.communicate(timeout=SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
