"""`python -m growreel` is `growreel`."""

import os
import sys

from growreel.cli import main

if __name__ == "__main__":
    code = main()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # Under torchrun, PyTorch 2.13 aborted 1 exit of about 15 on a busy machine, after Python had ended ("terminate called without an
        # active exception", a thread of gloo's), and torchrun then called a whole run failed. Everything is written and closed by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
