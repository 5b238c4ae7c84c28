"""Numbers and file names as people read them."""

import os
from pathlib import Path

MINUS = "−"


def signed(value: float | None) -> str:
    """A difference with its sign; empty if there is none."""
    if value is None:
        return ""
    text = f"{abs(value):.1f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else MINUS}{text}"


def plain(value: float | None, decimals: int = 1) -> str:
    """A number; empty if there is none."""
    return "" if value is None else f"{value:.{decimals}f}"


def wall(seconds: float | None) -> str:
    """A time in its two largest units; empty if there is none."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60:02} min"


def gpu_hours(hours: float | None) -> str:
    """GPU hours with as many decimals as say something; empty if there are none."""
    if hours is None:
        return ""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 or hours == 0 else f"{hours:.2g}"


def version(commit: str | None) -> str:
    """A commit, short, and whether the code had been changed since."""
    if commit is None:
        return "not known"
    return commit[:12] + (" with changes" if commit.endswith("-dirty") else "")


def braced(files: list[str]) -> str:
    """All of these names as the pattern that a shell would write for them: `folder/{a,b}.json`."""
    if len(files) < 2:
        return "".join(files)
    folder = os.path.commonpath([os.path.dirname(file) for file in files])
    start = f"{folder}/" if folder else ""
    endings = {"".join(Path(file).suffixes) for file in files}
    ending = endings.pop() if len(endings) == 1 else ""
    names = ",".join(file.removeprefix(start).removesuffix(ending) for file in files)
    return f"{start}{{{names}}}{ending}"
