"""Answer URLs and forms that no page can read, before a view fails on them.

A form in another encoding than UTF-8 makes Django raise for each look at it, also in its own page
about the error.
"""

import codecs
import logging
from collections.abc import Callable
from urllib.parse import unquote_plus

from django.apps import apps
from django.contrib.admin.utils import unquote
from django.core.exceptions import (
    BadRequest,
    ObjectDoesNotExist,
    TooManyFieldsSent,
    TooManyFilesSent,
    ValidationError,
)
from django.db import DataError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

log = logging.getLogger(__name__)
MAX_ID = 2**63 - 1
FORM = "application/x-www-form-urlencoded"
SENTENCES = {
    400: "A value contains a NUL character.",
    404: "There is nothing at this address.",
    415: "A form must be encoded in UTF-8.",
}


def is_impossible(path: str) -> bool:
    """Return whether a URL of the console names a row by a value that cannot be a primary key."""
    parts = path.strip("/").split("/")
    if len(parts) < 4 or parts[0] != "admin":
        return False
    try:
        named = resolve(path).kwargs.get("object_id")
        if named is None:
            return False  # a list, or one of our own pages
        model = apps.get_model(parts[1], parts[2])
        key = model._meta.pk.to_python(unquote(named))
    except (LookupError, Resolver404):
        return False
    except ValidationError:
        return True
    return isinstance(key, int) and abs(key) > MAX_ID


class UnusableUrlMiddleware:
    """Answers 404 for URLs with an id that no row can have, 400 for a NUL character, which
    PostgreSQL cannot store, and 415 for a form in another encoding."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info or is_impossible(request.path_info):
            return self.get_response(request) if _is_api(request) else _plain(404)
        if not _is_api(request) and "\0" in unquote_plus(request.META.get("QUERY_STRING", "")):
            return _plain(400)
        if not _is_form_in_utf_8(request):
            return _plain(415)
        if not (_is_api(request) or _is_form_readable(request)):
            return _plain(400, "The form cannot be read.")
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 404 if a page that only reads got an unusable value, or if the row of a form was
        deleted meanwhile, by a second click for example; other errors are failures."""
        if _is_api(request):
            return None
        unusable: tuple[type[Exception], ...] = (ObjectDoesNotExist,)
        if request.method in ("GET", "HEAD"):
            unusable += (DataError, ValidationError, OverflowError)
        if not isinstance(error, unusable):
            return None
        log.warning("nothing at this address: %s", request.path_info, exc_info=error)
        if transaction.get_connection().in_atomic_block:
            transaction.set_rollback(True)
        return _plain(404)


def _is_form_in_utf_8(request: HttpRequest) -> bool:
    """Whether a form is in UTF-8, whatever its sender calls it: Django takes no utf8 without a
    dash."""
    named = request.encoding
    if request.content_type != FORM or named is None:
        return True
    if codecs.lookup(named).name != "utf-8":
        return False
    request.encoding = "utf-8"
    return True


def _is_form_readable(request: HttpRequest) -> bool:
    """Whether a form can be read: its boundary, the number of its fields. Otherwise a page about
    another error raises."""
    try:
        return request.POST is not None
    except (BadRequest, TooManyFieldsSent, TooManyFilesSent):
        return False


def _is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(("/api/", "/hooks/"))


def _plain(status: int, sentence: str = "") -> HttpResponse:
    return HttpResponse(sentence or SENTENCES[status], "text/plain", status)
