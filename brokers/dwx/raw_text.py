"""Unreadable files of the expert advisor, as text for people. Pure."""

from collections.abc import Mapping

from brokers.base import OutcomeUnknown
from brokers.redaction import readable_excerpt
from common.reason_codes import Code


def quoted_text(raw: bytes, credentials: Mapping[str, str]) -> str:
    """Return a sentence with the text of a file, decoded by its byte order mark; '' if empty."""
    if not raw:
        return ""
    coding = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(raw[:2], "utf-8")
    text = readable_excerpt(raw, credentials, coding).removeprefix("\ufeff")
    return f"As it came: {text}"


def unknown_outcome(
    credentials: Mapping[str, str], detail: str, raw: bytes = b""
) -> OutcomeUnknown:
    """Return the unknown outcome of an order, with the content that could not be read."""
    came = quoted_text(raw, credentials)
    return OutcomeUnknown(Code.REPLY_LOST, f"{detail} {came}".strip())
