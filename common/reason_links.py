"""Where people read what a reason code means: one address for everybody, in links and messages."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.formatting import known_code
from common.reason_codes import TRIED_AGAIN


def reason_url(reason: str) -> str:
    """Return the page's path; empty for a reason that is not listed."""
    return f"/reasons/{reason}/" if known_code(reason) else ""


def reason_link(reason: str) -> SafeString:
    """The code, as a link to its page where it has one."""
    if address := reason_url(reason):
        return format_html('<a href="{}"><code>{}</code></a>', address, reason)
    return format_html("<code>{}</code>", reason) if reason else SafeString("")


def retry_sentence(reason: str) -> str:
    """Whether it is tried again by itself, in a sentence."""
    code = known_code(reason)
    if code is None or code not in TRIED_AGAIN:
        return "It is not tried again by itself."
    return f"It is tried again by itself: {TRIED_AGAIN[code]}."
