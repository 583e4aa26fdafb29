"""What an alert is wrapped in: a form's encoding, or the message of a chat as its robots send it.

Charts post one message to a chat's own address and to ours: `{"content": "BUY EURUSD …"}`. Pure.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from alerts.grammar.reading import Note
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.reading.strict_json import JsonObject

_FIELD = r"[A-Za-z_][A-Za-z0-9_.]{0,40}=[^\s&=]*"
_FORM = re.compile(rf"{_FIELD}(?:&{_FIELD})+", re.ASCII)
_CALL = re.compile(r"\A\s*@(?:everyone|here)(?=\s)")  # of all members of a chat
_TEXTS = ("content", "text", "message")
# How a chat shows a message, and where; it changes nothing that a message says.
_MANNERS = {
    "username", "avatar_url", "tts", "chat_id", "parse_mode", "disable_web_page_preview",
    "disable_notification", "channel", "icon_emoji", "icon_url", "mrkdwn",
}  # fmt: skip


def from_form(text: str) -> str:
    """Return the fields of an encoded form, `a=b&c=d%2E1`, one a line; another text as it is."""
    if not _FORM.fullmatch(text.strip()):
        return text
    return "\n".join(unquote_plus(field) for field in text.strip().split("&"))


def message_of(parsed: Mapping[str, Any]) -> tuple[str, tuple[Note, ...]] | None:
    """Return the text of a chat's message, and what has no effect; None: it is another object.

    Raises InvalidInputError for one with several texts.
    """
    names = [name for name in _TEXTS if name in parsed]
    if not names or not set(parsed) <= {*_TEXTS, *_MANNERS}:
        return None
    is_doubled = isinstance(parsed, JsonObject) and bool(parsed.duplicates)
    if len(names) > 1 or is_doubled:
        detail = f"Send one of {', '.join(names)}, once." if len(names) > 1 else "Send each once."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field=names[0])
    text = parsed[names[0]]
    if not isinstance(text, str):
        raise InvalidInputError(Code.FIELD_INVALID, "It is a text.", field=names[0])
    manners = (
        Note(name, "it only says how a chat shows it") for name in parsed if name != names[0]
    )
    return _CALL.sub("", text), tuple(manners)
