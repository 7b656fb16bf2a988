"""`python -m advbench`: the command, where its script is not on the path."""

from advbench.cli import main

main()
