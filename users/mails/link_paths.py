"""Hide what opens a login in the addresses of links. Free of Django: logging needs it early."""

import re

_SECRET_PART = re.compile(
    r"(?i)((?:/|%2f)(?:sign-up|invitation|confirm-address|reset-password(?:/|%2f)[^/\s%]+)"
    r"(?:/|%2f))[^/\s\"']+"
)


def hide_link_secrets(text: str) -> str:
    """Return a text without the secrets of links, for logs."""
    return _SECRET_PART.sub(r"\1[hidden]", text)
