"""What the expert advisor wrote and nobody could read, as people are shown it. Pure."""

from collections.abc import Mapping

from brokers.base import OutcomeUnknown
from brokers.masking import storable, without_secrets
from common.codes import Code

LONGEST = 1_500  # characters; a file breaks off at its end, so both ends are kept
READ_BYTES = 8_000  # of each end, before secrets are taken out


def as_it_came(raw: bytes, credentials: Mapping[str, str]) -> str:
    """Return a sentence with the text, without secrets and cut in the middle; '' for nothing."""
    if not raw:
        return ""
    ends = [raw] if len(raw) <= 2 * READ_BYTES else [raw[:READ_BYTES], raw[-READ_BYTES:]]
    coding = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(raw[:2], "utf-8")
    text = " ... ".join(one.decode(coding, "backslashreplace") for one in ends)
    text = storable(without_secrets(text.removeprefix("\ufeff"), credentials))
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return f"As it came: {text}"


def unknown(credentials: Mapping[str, str], detail: str, raw: bytes = b"") -> OutcomeUnknown:
    """The outcome of an order of which nothing certain is seen, with what could not be read."""
    came = as_it_came(raw, credentials)
    return OutcomeUnknown(Code.REPLY_LOST, f"{detail} {came}".strip())
