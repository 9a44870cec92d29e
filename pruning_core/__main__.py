"""`python -m pruning_core` runs the command line."""

import sys

from pruning_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
