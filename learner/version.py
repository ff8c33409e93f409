"""The version of Thaw."""

__version__ = "0.1.0"
