"""The HTML of a page without the layout of its template's source."""

import re
from typing import Any

BLOCKS = (
    "html|head|body|main|section|article|aside|header|footer|nav|div|p|h[1-6]|ul|ol|li|dl|dt|dd"
    "|table|thead|tbody|tfoot|tr|th|td|form|fieldset|legend|option|select|details|summary|title"
)
AROUND_A_BLOCK = re.compile(rf"\s*(</?(?:{BLOCKS})\b[^>]*>)\s*")


def html_of(response: Any) -> str:
    """Return the HTML of a response: one space for each run of white space, none beside a block."""
    return AROUND_A_BLOCK.sub(r"\1", re.sub(r"\s+", " ", b"".join(response).decode()))
