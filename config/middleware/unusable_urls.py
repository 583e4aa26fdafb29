"""Answer 404 for URLs with an id that no row can have, before a view fails on it."""

from collections.abc import Callable
from urllib.parse import unquote_plus

from django.apps import apps
from django.contrib.admin.utils import unquote
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import DataError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

MAX_ID = 2**63 - 1


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
    """Answers 404 for such URLs, and 400 for a NUL character, which PostgreSQL cannot store."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        if "\0" in request.path_info or is_impossible(request.path_info):
            return self.get_response(request) if _is_api(request) else _plain(404)
        if not _is_api(request) and "\0" in unquote_plus(request.META.get("QUERY_STRING", "")):
            return _plain(400)
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 404 if a page that only reads got an unusable value; other errors are failures."""
        if request.method not in ("GET", "HEAD") or _is_api(request):
            return None
        if isinstance(error, DataError | ValidationError | OverflowError | ObjectDoesNotExist):
            if transaction.get_connection().in_atomic_block:
                transaction.set_rollback(True)
            return _plain(404)
        return None


def _is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(("/api/", "/hooks/"))


def _plain(status: int) -> HttpResponse:
    sentence = (
        "There is nothing at this address."
        if status == 404
        else "A value contains a NUL character."
    )
    return HttpResponse(sentence, "text/plain", status)
