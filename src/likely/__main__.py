"""python -m likely: the command line."""

from likely.cli import main

main()
