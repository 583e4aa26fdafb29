"""Hide the secrets of alert addresses and API keys. Free of Django: logging needs it early."""

import re

# By its place in the address, even in a mistyped address.
_ALERT_PATH = re.compile(
    r"(?i)((?:/|%2f)hooks(?:/|%2f)+[a-z]+(?:/|%2f)+[^/\s\"'%]*(?:/|%2f)+)[^/\s\"']+"
)
# By its form, anywhere: an alert token, even shortened (but not a SHA-256), an API key, and the
# token of a Telegram bot, which is a part of each address that is called.
_FORM = re.compile(
    r"(?<![0-9a-fA-F])[0-9a-f]{50,62}(?![0-9a-fA-F])|\bfc_[0-9a-f]{12}_[\w-]{20,}"
    r"|(?<![0-9])[0-9]{6,20}(?::|%3[aA])[\w-]{30,}"
)


def hide_tokens(text: str) -> str:
    """Return a text without alert tokens and API keys, for logs."""
    return _FORM.sub("[hidden]", _ALERT_PATH.sub(r"\1[hidden]", text))
