"""What a run folder shows, as one page to look at and to pass on. It reads the folder; training knows nothing of it."""

from growreel.report.write import write_report

__all__ = ["write_report"]
