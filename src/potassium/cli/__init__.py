"""The command ``potassium``."""

from potassium.cli.main import main

__all__ = ["main"]
