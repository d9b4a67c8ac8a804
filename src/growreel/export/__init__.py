"""A trained generator for other programs."""

from growreel.export.files import FORMATS, export

__all__ = ["FORMATS", "export"]
