"""``python -m backsweep``: the command line."""

import sys

from backsweep.cli import main

if __name__ == "__main__":
    sys.exit(main())
