"""Child processes that talk in pickles through their standard streams.

It is not `multiprocessing`, which imports the caller's main program in every child and so needs a guard in every script that calls
`growreel.prepare` or `growreel.train`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import BinaryIO

PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def start_child(module: str) -> subprocess.Popen[bytes]:
    """Start a Python that calls `main()` of a module of growreel's, with pipes as its input and output and this process's `sys.path`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # Not -m: the module would be there twice, as __main__ and as what pickles name, and their exceptions would differ.
    command = [sys.executable, "-P", "-c", f"from {module} import main; main()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def answer_stream() -> BinaryIO:
    """In a child: return what was its standard output, for answers alone, and leave Ctrl-C and its end to the parent.

    A child that hangs must not outlive a parent that was killed: on Linux it ends with it, elsewhere when it next has something to say.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints must not get between the answers
    return answers
