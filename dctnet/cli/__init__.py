"""The command line."""

from dctnet.cli.main import main

__all__ = ["main"]
