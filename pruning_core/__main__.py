"""`python -m pruning_core` runs the command line."""

import sys

from pruning_core.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
