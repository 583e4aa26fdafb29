"""The error of embedded servers, with a sentence for the operator."""


class EmbeddedError(Exception):
    """An embedded server cannot run; the text states why and what to do about it."""
