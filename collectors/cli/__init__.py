"""The command `mangaops`: wires sources, store, judge and console together, and nothing more.

Exit codes: 0 done; 1 the answer is no (mistakes found, nothing found, a check failed); 2 wrong usage or
configuration; 3 the store or a recording cannot be used.
"""

from collectors.cli.main import main

__all__ = ["main"]
