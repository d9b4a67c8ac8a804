"""The one exception that growreel raises on purpose for bad input."""

LONGEST = 3000


class GrowreelError(ValueError):
    """Bad input from the user. The message names the flag or file and the bad value, and says what to do.

    The command line prints it without a traceback and leaves with exit code 2, or 3 where the machine refused something
    (`growreel.reading.faults`). Names and values in it may come from anybody's file: what a terminal would obey is escaped, and a message
    longer than a page is cut.
    """

    def __init__(self, message: str = "") -> None:
        message = message if len(message) <= LONGEST else f"{message[: LONGEST - 500]} ... {message[-400:]}"
        super().__init__(
            "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "backslashreplace").decode() for c in message)
        )
