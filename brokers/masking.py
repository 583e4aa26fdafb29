"""What a broker said, before it is kept or shown: without secrets, and as a database takes it."""

import json
from collections.abc import Collection, Mapping

SHORTEST_SECRET = 3  # shorter ones would black out half of every sentence
END_BYTES = 8_000  # of each end of what came, before secrets are taken out
LONGEST = 1_400  # characters of what came that are kept: of both ends, for it breaks off at one
GAP, BLACK = " ... ", "***"


def without_secrets(text: str, credentials: Mapping[str, str]) -> str:
    """Return the text with every value of the credentials as ***, however JSON spells it."""
    for value in _secrets(credentials):
        text = text.replace(value, BLACK)
    return text


def what_came(came: bytes, credentials: Mapping[str, str], coding: str = "utf-8") -> str:
    """Return what came of an answer that broke off or makes no sense, as its owner is shown it: the
    two ends of what is long, without secrets and without the piece of one that is cut."""
    ends = [came]
    if len(came) > 2 * END_BYTES:  # from an even byte on: a character may have two
        ends = [came[:END_BYTES], came[len(came) % 2 - END_BYTES :]]
    secrets = [one.encode(coding, "backslashreplace") for one in _secrets(credentials)]
    black = BLACK.encode(coding)
    clean = (_without_pieces(one, secrets, black) for one in ends)
    text = storable(GAP.join(one.decode(coding, "backslashreplace") for one in clean))
    if len(text) > LONGEST:
        half = (LONGEST - len(GAP)) // 2
        text = text[: LONGEST - len(GAP) - half] + GAP + text[-half:]
    return text


def storable(text: str) -> str:
    """Return the text with what no database takes written out: raw bytes of an answer that makes
    no sense may hold NUL, and what is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _secrets(credentials: Mapping[str, str]) -> list[str]:
    """As they are, and as JSON spells them: an answer is kept as it came. The longest first."""
    values = [value for value in credentials.values() if len(value) >= SHORTEST_SECRET]
    spelled = dict.fromkeys(one for value in values for one in _spellings(value))
    return sorted(spelled, key=len, reverse=True)


def _spellings(value: str) -> Collection[str]:
    if value.isascii() and value.isalnum():
        return (value,)  # most are of letters and digits, which have one spelling
    in_json = [json.dumps(value, ensure_ascii=is_plain)[1:-1] for is_plain in (True, False)]
    return (value, *in_json, *(one.replace("/", r"\/") for one in in_json))


def _without_pieces(came: bytes, secrets: list[bytes], black: bytes) -> bytes:
    """Black out whole secrets, and at the ends what may be a part of one: bytes, for a character
    may be cut, too."""
    for one in secrets:
        came = came.replace(one, black)
    cuts = [(one, n) for one in secrets for n in range(len(black), len(one))]
    if last := max((n for one, n in cuts if came.endswith(one[:n])), default=0):
        came = came[:-last] + black
    if first := max((n for one, n in cuts if came.startswith(one[-n:])), default=0):
        came = black + came[first:]
    return came
