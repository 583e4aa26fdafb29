"""What a broker said, before it is kept or shown: without secrets, and as a database takes it."""

from collections.abc import Mapping

SHORTEST_SECRET = 3  # shorter ones would black out half of every sentence


def without_secrets(text: str, credentials: Mapping[str, str]) -> str:
    """Return the text with every value of the credentials as ***, the longest first."""
    for value in sorted(credentials.values(), key=len, reverse=True):
        if len(value) >= SHORTEST_SECRET:
            text = text.replace(value, "***")
    return text


def storable(text: str) -> str:
    """Return the text with what no database takes written out: raw bytes of an answer that makes
    no sense may hold NUL, and what is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
