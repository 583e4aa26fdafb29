"""The secrets in addresses of alerts. No Django: whatever writes logs needs it from its start."""

import re

# By its place in the address, right or wrong. Whoever types the address may get it wrong, too.
_ALERT_PATH = re.compile(
    r"(?i)((?:/|%2f)hooks(?:/|%2f)+[a-z]+(?:/|%2f)+[^/\s\"'%]*(?:/|%2f)+)[^/\s\"']+"
)
# By its form, wherever it stands: a token of the alert door, also cut short (but no SHA-256), and
# an API key.
_FORM = re.compile(r"(?<![0-9a-fA-F])[0-9a-f]{50,62}(?![0-9a-fA-F])|\bfc_[0-9a-f]{12}_[\w-]{20,}")


def hide_tokens(text: str) -> str:
    """Return a text without the secrets of the alert door and of API keys: for logs."""
    return _FORM.sub("[hidden]", _ALERT_PATH.sub(r"\1[hidden]", text))
