"""`growreel report`: reading run folders, writing a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from growreel.errors import GrowreelError
from growreel.report.comparison import comparison_page
from growreel.report.folder import read_run
from growreel.report.single import report_page
from growreel.runtime.durable import replace_text, writing

PAGE, COMPARISON = "report.html", "comparison.html"


def write_report(runs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write the report of a run, or of several beside each other, as one HTML file that needs nothing else.

    Args:
        runs: run folders; they are read, and nothing in them is changed but `report.html` of a single one.
        out: the file; None is RUN/report.html, and for several runs comparison.html in the current folder.

    Returns:
        The path of the file.

    Raises:
        GrowreelError: a folder is no run folder, a model file in it is damaged, or the file cannot be written.
    """
    if not runs:
        raise GrowreelError("report: give at least one run folder")
    paths = [Path(run) for run in runs]
    default = paths[0] / PAGE if len(paths) == 1 else Path(COMPARISON)
    target = default if out is None else Path(out)
    if target.suffix.lower() not in (".html", ".htm"):
        raise GrowreelError(f"--out {target}: a report is a .html file; change the name")
    read = [read_run(path) for path in paths]
    page = report_page(read[0]) if len(read) == 1 else comparison_page(read)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_text(target, page)
    return target
