"""The command line: the same verbs as the library, one file a verb. Starts without torch."""

from likely.cli.app import main as main
