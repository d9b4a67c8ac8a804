"""`python -m growreel` is `growreel`."""

import sys

from growreel.cli import main

if __name__ == "__main__":
    sys.exit(main())
