"""Texts for chats that give some characters a meaning of their own.

Names and reasons in messages are other users' words: a feed's provider writes what its followers
read. In a chat they must not call everybody, hide an address behind a word, or make it refuse the
message, which would silence an alarm. Pure.
"""

from collections.abc import Mapping
from html import escape

_UNLINKED = "\u200b"  # a space without a width: what follows "@" is no name for the chat
_ENTITIES = {mark: escape(mark, quote=False) for mark in "&<>"}
_LINKS = {"[": r"\[", "\\": r"\\"}  # a backslash of the text would take the meaning of ours
_MARKDOWN = {"@": f"@{_UNLINKED}", **_LINKS}
MARKS: Mapping[str, Mapping[str, str]] = {
    "discord": _MARKDOWN,
    "gchat": {"<": "‹", ">": "›"},
    "mmosts": _MARKDOWN,
    "msteams": {**_ENTITIES, **_LINKS},
    "slack": _ENTITIES,
    "tgram": _ENTITIES,
}
"""Service → what it is sent in place of a character. The others read plain text."""


def plain(text: str, service: str, *, most: int | None = None) -> str:
    """Return the text as a service displays it unchanged, in at most `most` characters."""
    marks = MARKS.get(service, {})
    parts, length = [], 0
    for character in text:
        part = marks.get(character, character)
        length += len(part)
        if most is not None and length > most:
            break
        parts.append(part)
    return "".join(parts)
