"""What was typed into a form whose session had ended: it is shown again after signing in.

A POST without a session changes nothing. Its fields, secrets excepted, wait in the visitor's
session for half an hour. They are shown on the form's page to the user who typed them (a signed
cookie names the last user of the browser), and nothing is sent until that user presses the button.
So are those of a form that was open while its user signed in again (`stale_forms.py`), and of one
that needs the second factor again (`config/middleware/second_factor.py`).
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import RequestDataTooBig
from django.core.signing import BadSignature
from django.forms import BaseForm
from django.forms.utils import ErrorDict
from django.http import HttpRequest, HttpResponse, QueryDict, UnreadablePostError

from brokers.registry import broker_types, form_of
from common.errors import FillcastError, MisconfiguredError
from common.web.confirmation import ConfirmationPage

SESSION_NAME = "kept_form"
KEPT_SECONDS = 1800
MAX_CHARACTERS = 60_000
"""More than the longest form: a feed's terms, 20,000 characters; browsers send two a line's end."""
COOKIE, SALT, COOKIE_SECONDS = "fillcast_user", "fillcast.last-user", 30 * 86_400
SECRET_NAME = re.compile(
    r"passw|secret|token|api_?key|private|credential|passphrase|^code$|url|csrf", re.IGNORECASE
)
NOT_TYPED = frozenset({"csrfmiddlewaretoken", "next"})
# Pages whose fields are secrets, whatever their names are.
NEVER_KEPT = frozenset({"portal:credentials", "portal:sign_in", "portal:sign_out"})


class Why(StrEnum):
    """Why a form was not taken, for the sentence above it."""

    SESSION_ENDED = "session_ended"
    SIGNED_IN_ELSEWHERE = "signed_in_elsewhere"
    STALE_FACTOR = "stale_factor"


def keep(request: HttpRequest, why: Why = Why.SESSION_ENDED) -> bool:
    """Keep the fields of a POST that was not taken, for its user. Returns whether any were kept."""
    user_id, match = request.user.pk or _last_user(request), request.resolver_match
    if user_id is None or match is None or match.view_name in NEVER_KEPT:
        return False
    try:
        fields = {name: values for name, values in request.POST.lists() if not _is_secret(name)}
    except (RequestDataTooBig, UnreadablePostError):
        return False
    size = sum(len(name) + sum(map(len, texts)) for name, texts in fields.items())
    if not fields or size > MAX_CHARACTERS:
        return False
    request.session[SESSION_NAME] = {
        "path": request.path, "fields": fields, "user": user_id, "at": time.time(), "why": why,
    }  # fmt: skip
    return True


def loss_of(request: HttpRequest) -> str:
    """Return what was lost with a POST that was not taken and not kept, in one sentence."""
    try:
        is_typed = any(text for name, text in request.POST.items() if name not in NOT_TYPED)
    except (RequestDataTooBig, UnreadablePostError):
        is_typed = True
    return "What you typed could not be kept: please enter it again." if is_typed else ""


def restore(request: HttpRequest, context: Mapping[str, Any]) -> str:
    """Fill the forms of a page with what was typed there, once.

    Returns why it was not taken then; '' if nothing was filled.
    """
    kept: dict[str, Any] = request.session.get(SESSION_NAME) or {}
    if not kept or request.method != "GET" or kept["path"] != request.path:
        return ""
    del request.session[SESSION_NAME]
    is_late = not 0 <= time.time() - kept["at"] <= KEPT_SECONDS
    if is_late or kept["user"] != request.user.pk:
        return ""
    filled = [_fill(form, kept["fields"]) for form in _forms(context.values())]
    return str(kept.get("why", Why.SESSION_ENDED)) if any(filled) else ""


def remember_user(request: HttpRequest, response: HttpResponse) -> None:
    """Let the browser name its last user, who may see what was typed after the session ended."""
    pk = request.user.pk
    if pk is not None and _last_user(request) != pk:
        response.set_signed_cookie(
            COOKIE,
            str(pk),
            salt=SALT,
            max_age=COOKIE_SECONDS,
            secure=bool(settings.SESSION_COOKIE_SECURE),
            httponly=True,
            samesite="Lax",
        )


def _last_user(request: HttpRequest) -> int | None:
    try:
        text = request.get_signed_cookie(COOKIE, salt=SALT, max_age=COOKIE_SECONDS)
    except (KeyError, BadSignature):
        return None
    return int(str(text))


def _is_secret(name: str) -> bool:
    plain = name.rpartition("-")[2]  # without a form's prefix, and without "initial-"
    return bool(SECRET_NAME.search(plain)) or plain in _secrets_of_brokers()


@cache
def _secrets_of_brokers() -> frozenset[str]:
    """Return the names of all brokers' credentials."""
    keys: set[str] = set()
    for broker_type in broker_types():
        with suppress(FillcastError, ImportError, AttributeError, MisconfiguredError):
            keys.update(secret.key for secret in form_of(broker_type).secrets)
    return frozenset(keys)  # a broker type without its package has no page with a form either


def _forms(values: Any) -> Iterator[BaseForm]:
    """Return the forms of a page's context, also those of a question."""
    for value in values:
        if isinstance(value, BaseForm):
            yield value
        elif isinstance(value, (ConfirmationPage, AdminForm)):
            yield from _forms([value.form])
        elif isinstance(value, (list, tuple)):
            yield from _forms(value)


def _fill(form: BaseForm, fields: Mapping[str, list[str]]) -> bool:
    """Bind a form to what was typed, without judging it yet."""
    if form.is_bound or not any(form.add_prefix(name) in fields for name in form.fields):
        return False
    data = QueryDict(mutable=True)
    for name, texts in fields.items():
        data.setlist(name, texts)
    form.data, form.is_bound = data, True
    vars(form)["_errors"] = ErrorDict()  # no error is shown before it is sent
    return True
