"""`python -m collectors.cli`: the command without its installed script."""

from collectors.cli import main

main()
