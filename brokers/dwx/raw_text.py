"""What the expert advisor wrote and nobody could read, as people are shown it. Pure."""

from collections.abc import Mapping

from brokers.base import OutcomeUnknown
from brokers.redaction import readable_excerpt
from common.reason_codes import Code


def quoted_text(raw: bytes, credentials: Mapping[str, str]) -> str:
    """Return a sentence with the text of a file, which says its coding; '' for nothing."""
    if not raw:
        return ""
    coding = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(raw[:2], "utf-8")
    text = readable_excerpt(raw, credentials, coding).removeprefix("\ufeff")
    return f"As it came: {text}"


def unknown_outcome(
    credentials: Mapping[str, str], detail: str, raw: bytes = b""
) -> OutcomeUnknown:
    """The outcome of an order of which nothing certain is seen, with what could not be read."""
    came = quoted_text(raw, credentials)
    return OutcomeUnknown(Code.REPLY_LOST, f"{detail} {came}".strip())
