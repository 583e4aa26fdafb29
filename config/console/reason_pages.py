"""A reason's page for operators: what it means, whom it hit lately, and what was dropped."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse

from common.reasons import tried_again
from common.shown import known_code
from common.sql import rows
from config.console.pages import View, page

LATELY = 50_000  # orders that are looked through, the newest

HIT = """
SELECT o.connection_id, c.name, coalesce(u.username, '') AS owner, count(*) AS many,
  count(*) FILTER (WHERE o.done_at IS NULL) AS waiting, max(o.id) AS latest,
  max(coalesce(o.done_at, o.created_at)) AS at
FROM execution_order o JOIN connections_executionconnection c ON c.id = o.connection_id
LEFT JOIN users_user u ON u.id = coalesce(c.user_id, c.admin_id)
WHERE o.reason = %(reason)s AND o.id > (SELECT coalesce(max(id), 0) FROM execution_order) - %(last)s
GROUP BY o.connection_id, c.name, u.username ORDER BY many DESC, at DESC LIMIT 50
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """An account that met it. waiting: orders that have not ended."""

    connection_id: UUID
    name: str
    owner: str
    many: int
    waiting: int
    latest: int
    at: datetime


def show(request: HttpRequest, code: str, **_: Any) -> HttpResponse:
    """The page itself."""
    known = known_code(code)
    if known is None:
        raise Http404
    found = [Hit(*row) for row in rows(HIT, {"reason": known.value, "last": LATELY})]
    return page(
        request,
        "reason.html",
        known.value,
        code=known,
        tried=tried_again(known),
        hits=found,
        many=sum(hit.many for hit in found),
        lately=LATELY,
    )


URLS: tuple[tuple[str, str, View], ...] = (("reasons/<str:code>/", "console_reason", show),)
