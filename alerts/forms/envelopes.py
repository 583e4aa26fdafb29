"""What an alert is wrapped in, and the secrets of other services in it. Pure.

Charts post one message to a chat's own address and to ours: `{"content": "BUY EURUSD …"}`. Of the
secrets none is needed, since the address selects the feed: they are hidden before it is stored.
"""

import codecs
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

from alerts.grammar.reading import Note, refusal
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
        raise refusal("several_texts", field=names[0], detail=detail)
    text = parsed[names[0]]
    if not isinstance(text, str):
        raise refusal("text_is_no_text", field=names[0])
    manners = (
        Note(name, "it only says how a chat shows it") for name in parsed if name != names[0]
    )
    return _CALL.sub("", text), tuple(manners)


HIDDEN = "hidden"
_NAMES = (
    rb"(?:[a-z_]*secret(?:_?key)?|[a-z_]*token|[a-z_]*pass(?:word|phrase|wd)?|api_?key|licen[cs]e"
    rb"(?:_?id)?|code|qv_user_id|bot_uuid|auth|authorization)"
)
# Of each name some part. Most alerts have none of them, and three searches take long.
_PARTS = (b"secret", b"token", b"pass", b"key", b"licen", b"code", b"qv_user", b"bot_uuid", b"auth")
_IN_JSON = re.compile(
    rb'(?P<before>"(?P<name>' + _NAMES + rb')"\s*:\s*)(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)',
    re.IGNORECASE,
)
# `token: abc123` in a text, all in one line. “Token: SOL/USDT” alone names a coin. Both may be
# marked up: “**Token:** SOL/USDT”.
_MARKS = rb"[*_`~]*"
_COLON = _MARKS + rb"[ \t]*:[ \t*_`~]*"
_COIN = (
    rb"(?!token" + _COLON + rb"[#$]?(?-i:[0-9]*[A-Z]{2,}(?:[/-][A-Z]{2,})?)" + _MARKS
    + rb"(?![\w.-]))"
)  # fmt: skip


def _in_text(value: bytes) -> list[re.Pattern[bytes]]:
    """Return what finds a secret behind `=` and behind a colon. value: a pattern of the secret."""
    value = rb"(?:(?:bearer|basic)[ \t]+)?" + value
    before_colon = rb"(?:" + _NAMES + rb"|api[ -]key|secret[ -]key)" + _COLON
    return [
        re.compile(
            rb"(?<![\w.])(" + _NAMES + _MARKS + rb"\s*=\s*" + _MARKS + rb")" + value, re.IGNORECASE
        ),
        re.compile(rb"(?<![\w.])" + _COIN + rb"(" + before_colon + rb")" + value, re.IGNORECASE),
    ]


_IN_TEXT = _in_text(rb"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&|(){}]+)")
_IN_TEXT_OF_JSON = _in_text(
    rb"(?:\\\"[^\"\\]*\\\"|[^\s,;&|(){}\"\\]+)"
)  # such as a chat's {"content": "token: abc"}
_LICENCE = re.compile(rb"\A(\s*)(?:[0-9]{8,20}|(?=[A-Za-z-]*[0-9])[A-Za-z0-9-]{16,60})(?=\s*,)")
_STARTS_OF_JSON = (b"{", b"[", b'"')


def without_secrets(body: bytes, paths: Iterable[str] = ()) -> bytes:
    """Return an alert with the values of its secrets hidden; all else as it was sent.

    paths: of the feed's mapping. What they read in a JSON is no secret, whatever its name.
    """
    is_json = body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(_STARTS_OF_JSON)
    if not is_json:
        body = _LICENCE.sub(rb"\1" + HIDDEN.encode(), body)
    lower = body.lower()
    if not any(part in lower for part in _PARTS):
        return body
    if is_json:
        read = {name.encode().lower() for path in paths for name in path.split(".")}

        def hidden(match: re.Match[bytes]) -> bytes:
            is_read = match["name"].lower() in read
            return match[0] if is_read else match["before"] + b'"' + HIDDEN.encode() + b'"'

        body, patterns = _IN_JSON.sub(hidden, body), _IN_TEXT_OF_JSON
    else:
        patterns = _IN_TEXT
    for pattern in patterns:
        body = pattern.sub(rb"\1" + HIDDEN.encode(), body)
    return body
