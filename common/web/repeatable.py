"""POST requests that may be sent again with their Idempotency-Key, and are carried out once.

The answer is kept in the request's own transaction (users/middleware.py): what was done and its
answer are stored together or not at all, so a killed request leaves nothing, its key included. An
advisory lock of that transaction shows a second request that the first one still runs.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.fields import BooleanField
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from common.db.sql import rows
from common.errors import ConflictError
from common.models import KeptAnswer
from common.money import canonical
from common.operational.current import settings_now
from common.reason_codes import Code
from common.web.idempotency import read_key
from common.web.kept_answers import kept_for

REPLAYED = "Idempotency-Replayed"
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0)) AS is_free"


class RunningError(ConflictError):
    """The first request with this key is still being answered. retry_after: seconds."""

    retry_after = 1


class _Answered(Exception):
    """Ends a request with the answer that an earlier one got."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Repeatable(APIView):
    """A view whose POST operations are carried out once for each Idempotency-Key.

    own_keys: actions that recognise repetitions themselves, for longer than a day. keyless: actions
    that do nothing which a repetition could do twice, and why. shown_once: actions whose answer
    has a secret; it is not kept, and a repetition is refused.
    """

    own_keys: ClassVar[frozenset[str]] = frozenset()
    keyless: ClassVar[Mapping[str, str]] = {}
    shown_once: ClassVar[frozenset[str]] = frozenset()
    _kept: KeptAnswer | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Answer a repetition as its first request was answered."""
        super().initial(request, *args, **kwargs)
        # Without a key the body stays unread: operations without one take any content type.
        key = read_key(request) if request.method == "POST" and keeps_answer(self) else ""
        if key and settings_now().idempotency.enabled and not _is_trial(request):
            self._kept = _unanswered(request, key)

    def handle_exception(self, exc: Exception) -> Response:
        """Return the kept answer of a repetition."""
        if isinstance(exc, _Answered):
            return exc.response
        self._kept = None  # refused: nothing was changed, so the key may be used again
        return super().handle_exception(exc)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        """Keep the answer beside what was done."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if self._kept is not None and final.status_code < 300:
            _keep(self._kept, final, is_secret=getattr(self, "action", "") in self.shown_once)
        return final


def keeps_answer(view: Any) -> bool:
    """Return whether the answer of this POST operation is kept under the request's key."""
    action = getattr(view, "action", None)
    return isinstance(view, Repeatable) and action not in view.own_keys | view.keyless.keys()


def takes_key(view: Any) -> bool:
    """Return whether a POST operation takes an Idempotency-Key."""
    return isinstance(view, Repeatable) and getattr(view, "action", None) not in view.keyless


def fingerprint(body: Any, query: Mapping[str, Any]) -> str:
    """Return a keyed hash of a request's contents by their meaning: `1.10` and `"1.1"` are the
    same, and so is any order of the fields. The contents themselves may be secret."""
    text = json.dumps([_meaning(body), _meaning(query)], sort_keys=True, ensure_ascii=True)
    return salted_hmac("common.web.repeatable", text, algorithm="sha256").hexdigest()


def _meaning(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _meaning(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_meaning(inner) for inner in value]
    return canonical(value) if isinstance(value, str) else value


def _is_trial(request: Request) -> bool:
    """Whether `dry_run` is on, as its field reads it: the text `false` is not."""
    body: Any = request.data
    given = body.get("dry_run") if isinstance(body, Mapping) else None
    return isinstance(given, str | int) and given in BooleanField.TRUE_VALUES


def _unanswered(request: Request, key: str) -> KeptAnswer:
    """Return the row of a first request, to be kept with its answer.

    Raises _Answered for a repetition, ConflictError DUPLICATE_REQUEST, RunningError.
    """
    new = KeptAnswer(
        user_id=int(request.user.pk or 0),
        operation=f"{request.method} {request.path}",
        key=key,
        fingerprint=fingerprint(request.data, dict(request.query_params.lists())),
    )
    lock = f"kept answer {new.user_id} {new.operation} {key}"
    if not rows(_LOCK, (lock,))[0].is_free:
        raise RunningError(Code.REQUEST_RUNNING)
    same = KeptAnswer.objects.filter(user=new.user_id, operation=new.operation, key=key)
    first = same.first()
    if first is None:
        return new
    if first.created_at < timezone.now() - kept_for():
        same.delete()
        return new
    if first.fingerprint != new.fingerprint:
        raise ConflictError(Code.DUPLICATE_REQUEST)
    if first.is_secret:
        raise ConflictError(Code.SECRET_SHOWN_ONCE)
    data = json.loads(first.body) if first.body else None
    raise _Answered(Response(data, status=first.status, headers={REPLAYED: "true"}))


def _keep(row: KeptAnswer, response: Response, *, is_secret: bool) -> None:
    row.is_secret = is_secret or "no-store" in response.get("Cache-Control", "")
    row.status = response.status_code
    if not row.is_secret and response.data is not None:
        row.body = JSONRenderer().render(response.data).decode()
    row.save(force_insert=True)
