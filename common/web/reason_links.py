"""Links to the page of a reason code, the same for every user and in every message."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.reason_codes import RETRIES
from common.web.formatting import known_code


def reason_url(reason: str) -> str:
    """Return the path of the code's page; empty for a reason that is not in the table."""
    return f"/reasons/{reason}/" if known_code(reason) else ""


def reason_link(reason: str) -> SafeString:
    """Return the code as HTML, linked to its page if it has one."""
    if address := reason_url(reason):
        return format_html('<a href="{}"><code>{}</code></a>', address, reason)
    return format_html("<code>{}</code>", reason) if reason else SafeString("")


def retry_sentence(reason: str) -> str:
    """Return a sentence about whether and how an order with this reason is tried again."""
    code = known_code(reason)
    if code is None or code not in RETRIES:
        return "It is not tried again automatically."
    return f"It is tried again automatically: {RETRIES[code]}."
