"""The end of every `prepare` and `merge`: the facts of the whole store, taken from the rows of its sources."""

from __future__ import annotations

from collections.abc import Sequence

from growreel.data.writer import StoreWriter
from growreel.preparation.faces.manifest import summary, write_findings
from growreel.preparation.report import PrepareReport, SourceRow, clips_at_rates, store_rate


def finish_store(writer: StoreWriter, rows: Sequence[SourceRow], *, anonymous: bool) -> PrepareReport:
    """Put the store in place, or remove it if it has no clip.

    Args:
        writer: has the clips of all sources.
        rows: of what was not used, then of the sources in their order.
        anonymous: as of `prepare`.

    Raises:
        GrowreelError: if nothing can be held out of these sources, or the disk is full.
    """
    faces = [row.faces for row in rows if row.faces is not None]
    told = (summary(faces),) if faces else ()
    if writer.clip_count == 0:
        writer.discard()
        return PrepareReport(None, 0, tuple(rows), told)
    if faces:
        try:
            write_findings(writer.partial, faces)
        except OSError as error:
            writer.trouble(error)
    rate, notes = store_rate(rows)
    skipped = [(row.name, row.note) for row in rows if row.status == "skipped"]
    if anonymous:  # a reason may name files too
        skipped = [(f"source {number}", "not kept") for number in range(1, len(skipped) + 1)]
    writer.finish(fps=rate, skipped=skipped, rates=clips_at_rates(rows))
    return PrepareReport(writer.path, writer.clip_count, tuple(rows), notes + told)
