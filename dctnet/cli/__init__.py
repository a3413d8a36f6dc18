"""The command line."""

from dctnet.cli.verbs import main

__all__ = ["main"]
