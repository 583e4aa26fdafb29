"""Turns every error into problem details (RFC 9457) with a stable code."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog
from django.conf import settings
from django.core import exceptions as django_errors
from django.core.signals import got_request_exception
from django.db import DataError, IntegrityError, OperationalError, transaction
from django.db.models import ProtectedError
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response

from alerts.inbox.storing import RateLimitedError
from api.throttling import retry_after_unauthenticated
from common.db.errors import is_transient, record_database_error
from common.errors import (
    ConflictError,
    FillcastError,
    InvalidInputError,
    MisconfiguredError,
    NotAllowedError,
)
from common.reason_codes import Code
from common.web.reason_links import reason_url
from common.web.repeatable import RunningError
from signals.field_error import FieldError
from signals.reading.errors import field_errors
from users.sign_in.attempt_limits import client_address
from users.sign_in.session_factor import SecondFactorNeededError

log = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"
_STATUS_OF_CODE = {
    Code.BODY_TOO_LARGE: 413,
    Code.FEED_UNKNOWN: 404,
    Code.NOT_FOUND: 404,
    Code.ORDER_ARCHIVED: 404,
    Code.AUTHENTICATION_REQUIRED: 401,
    Code.INSTALLATION_FAULT: 503,
    Code.OBJECT_CHANGED: 412,
}
_CODE_OF_STATUS = {
    400: Code.FIELD_INVALID,
    401: Code.AUTHENTICATION_REQUIRED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    406: Code.NOT_ACCEPTABLE,
    413: Code.BODY_TOO_LARGE,
    415: Code.BODY_NOT_JSON,
    429: Code.THROTTLED,
}
_CODE_OF_DRF = {
    "required": Code.FIELD_REQUIRED,
    "parse_error": Code.BODY_NOT_JSON,
    "authentication_failed": Code.AUTHENTICATION_REQUIRED,
    "not_authenticated": Code.AUTHENTICATION_REQUIRED,
}


def problem(
    code: Code,
    status: int,
    detail: str = "",
    *,
    errors: Sequence[FieldError] = (),
    numbers: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body of a problem response."""
    body: dict[str, Any] = {
        "type": f"urn:fillcast:problem:{code}",
        "title": code.sentence,
        "status": status,
        "detail": _writable(detail or code.sentence),
        "code": str(code),
        "hint": code.hint,
        "help": settings.FILLCAST_PUBLIC_URL.rstrip("/") + reason_url(code),
        "errors": [
            {name: _writable(text) for name, text in error.as_dict().items()} for error in errors
        ],
        "request_id": request_id(),
    }
    if numbers:
        body["numbers"] = {name: str(value) for name, value in numbers.items()}
    return body


def _writable(text: str) -> str:
    """Replace what UTF-8 cannot encode: a text from the request may hold half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def request_id() -> str:
    """Return the id of this request in the logs."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64]


def handle(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: roll back and return a problem for any error."""
    if transaction.get_connection().in_atomic_block:
        transaction.set_rollback(True)
    if is_transient(error) and (request := context.get("request")) is not None:
        # config/middleware/request_retry.py tries the request again, or answers it.
        record_database_error(request._request, error)
        return _answer(problem(Code.DATABASE_BUSY, 503))
    if isinstance(error, Http404 | django_errors.ObjectDoesNotExist):
        error = exceptions.NotFound(_nothing_at(context))
    elif isinstance(error, exceptions.MethodNotAllowed):
        error.detail = exceptions.ErrorDetail(_allowed_instead(context), error.default_code)
    elif isinstance(error, django_errors.PermissionDenied):
        error = exceptions.PermissionDenied()
    elif isinstance(error, django_errors.RequestDataTooBig):
        error = InvalidInputError(Code.BODY_TOO_LARGE)
    elif isinstance(error, SecondFactorNeededError):
        error = NotAllowedError(Code.SECOND_FACTOR_NEEDED)
    if wait := _wait_if_unauthenticated(error, context):
        error = exceptions.Throttled(wait)
    if isinstance(error, exceptions.APIException):
        return _from_drf_error(error)
    if isinstance(error, FillcastError):
        return refusal(error)
    return _unexpected_error(error, context)


def _nothing_at(context: dict[str, Any]) -> str | None:
    request = context.get("request")
    return f"There is nothing at {request.path}, or it is not yours." if request else None


def _allowed_instead(context: dict[str, Any]) -> str:
    request, view = context["request"], context["view"]
    allowed = ", ".join(sorted(set(view.allowed_methods) - {"HEAD", "OPTIONS"}))
    return f"{request.method} is not allowed here. Allowed: {allowed}."


def _wait_if_unauthenticated(error: Exception, context: dict[str, Any]) -> int:
    """Return the seconds to wait after too many unauthenticated calls; DRF does not limit them."""
    failures = exceptions.NotAuthenticated | exceptions.AuthenticationFailed
    is_unauthenticated = isinstance(error, failures)
    if isinstance(error, FillcastError) and error.code == Code.FEED_UNKNOWN:  # a wrong token
        is_unauthenticated = getattr(context.get("view"), "opens_by_token", False)
    request = context.get("request")
    if not is_unauthenticated or request is None:
        return 0
    return retry_after_unauthenticated(client_address(request))


def refusal(error: FillcastError) -> Response:
    """Return the problem of a refusal whose transaction is not rolled back: it stores why."""
    return _answer(*refusal_problem(error))


def _answer(body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(body, body["status"], headers=headers, content_type=CONTENT_TYPE)


def refusal_problem(error: FillcastError) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body of the problem of one of our errors, and its headers."""
    headers: dict[str, str] = {}
    status = _STATUS_OF_CODE.get(error.code, 400)
    if isinstance(error, RunningError):
        status, headers = 409, {"Retry-After": str(error.retry_after)}
    elif isinstance(error, ConflictError):
        status = 409
    elif isinstance(error, NotAllowedError):
        status = 403
    elif isinstance(error, RateLimitedError):
        status, headers = 429, {"Retry-After": str(error.retry_after)}
    errors = field_errors(error) if isinstance(error, InvalidInputError) else ()
    errors = tuple(one for one in errors if one.field)
    return problem(error.code, status, error.detail, errors=errors, numbers=error.numbers), headers


def _from_drf_error(error: exceptions.APIException) -> Response:
    headers: dict[str, str] = {}
    if auth := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = f"{wait:.0f}"
    if isinstance(error, exceptions.ValidationError):
        errors = list(_errors(error.detail))
        first = errors[0]
        return _answer(problem(first.code, 400, first.detail, errors=errors), headers)
    codes = error.get_codes()
    name = codes if isinstance(codes, str) else ""
    code = _CODE_OF_DRF.get(name) or _CODE_OF_STATUS.get(error.status_code, Code.FIELD_INVALID)
    numbers = getattr(error, "numbers", None)
    body = problem(code, error.status_code, _text(error.detail), numbers=numbers)
    return _answer(body, headers)


def _text(detail: Any) -> str:
    return str(detail) if isinstance(detail, str) else ""


def _errors(detail: Any, at: str = "") -> Iterator[FieldError]:
    """Flatten a serializer's errors: {"targets": [{"price": [ErrorDetail]}]}."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            place = at if name in ("non_field_errors", "__all__") else f"{at}{name}."
            yield from _errors(inner, place)
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list | tuple)
            yield from _errors(inner, f"{at}{index}." if nested else at)
    else:
        name = getattr(detail, "code", "")
        code = Code.__members__.get(name) or _CODE_OF_DRF.get(name, Code.FIELD_INVALID)
        yield FieldError(code, at.rstrip("."), str(detail))


def _unexpected_error(error: Exception, context: dict[str, Any]) -> Response:
    """Return a problem for an unexpected error, without details; they are in the log."""
    code, status = problem_of_unexpected(error)
    if status < 500:
        log.warning("refused by the database", exc_info=error)
        return _answer(problem(code, status))
    request = context.get("request")
    got_request_exception.send(sender=None, request=getattr(request, "_request", request))
    log.error("unhandled error in the API", exc_info=error)
    return _answer(problem(code, status), {"Retry-After": "5"} if status == 503 else None)


def problem_of_unexpected(error: Exception) -> tuple[Code, int]:
    """Return the code and the status with which an unexpected error is answered."""
    if isinstance(error, ProtectedError | IntegrityError):
        return Code.STATE_CONFLICT, 409
    if isinstance(error, DataError):  # a value that PostgreSQL cannot hold
        return Code.FIELD_INVALID, 400
    if isinstance(error, OperationalError | MisconfiguredError):  # no database, no key, …
        return Code.INSTALLATION_FAULT, 503
    return Code.INTERNAL_ERROR, 500


@csrf_exempt  # a program has no CSRF token, and nothing here changes anything
def not_found(request: HttpRequest, *_: Any, **__: Any) -> JsonResponse:
    """Answer 404 for an unknown address under /api/ or /hooks/."""
    detail = f"There is nothing at {request.path[:200]}."
    if not request.path.endswith("/"):
        detail += " Addresses of the API end with a slash."
    return JsonResponse(problem(Code.NOT_FOUND, 404, detail), status=404, content_type=CONTENT_TYPE)
