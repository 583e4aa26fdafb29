"""What goes wrong with embedded servers, in one sentence for the person at the terminal."""


class EmbeddedError(Exception):
    """An embedded server cannot run; the text says why and what to do."""
