"""A trained generator for other programs."""

from growreel.export.files import FORMATS, export
from growreel.export.page import export_page

__all__ = ["FORMATS", "export", "export_page"]
