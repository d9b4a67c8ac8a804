"""The one exception that growreel raises on purpose for bad input."""


class GrowreelError(ValueError):
    """Bad input from the user. The message names the flag or file and the bad value, and says what to do.

    The command line prints it without a traceback and leaves with exit code 2.
    """
