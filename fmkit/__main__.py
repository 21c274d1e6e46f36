"""`python -m fmkit` is `fmkit`."""

import sys

from fmkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
