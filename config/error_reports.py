"""Errors in the log, to Sentry: the extra `observe`, off while `observe.sentry_dsn` is not set.

A report is made here from what it may contain, not cleaned of what it must not: types of errors,
the places in the code, the log line's own text, which is a template. No variables, parameters,
headers, users or lines before the error, and no error's message, but its code: no rule finds a name
or a password in a sentence. The SDK sends from a thread of its own and
drops what does not fit into its queue, so that nothing waits for Sentry.
"""

import importlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from common.operational.document import Document

log = logging.getLogger(__name__)
MOST_FRAMES, MOST_CAUSES, LENGTH = 60, 5, 200
MISSING = "observe.sentry_dsn is set, but the extra `observe` is not installed here."
MASK = "#"
QUIET = ("sentry_sdk", "urllib3", "opentelemetry", __name__)  # what reports itself
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\([^)]*\)=?\([^)]*\)|\{.*\}|\[.*\]")
_LINK = re.compile(r"\S*(?:://|@|/)\S*")
_NUMBER = re.compile(r"[-+]?\d[\d.,:_]*")
_LONG = re.compile(r"\S*[A-Za-z0-9_\-+/=]{20,}\S*")
_ASSIGNED = re.compile(r"\S+\s*[=:]\s*\S+")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,79}|\d{1,6}", re.ASCII)
_error: ContextVar[BaseException | None] = ContextVar("error", default=None)
_sdk: Any = None  # sentry_sdk, while a DSN is set


def masked(text: str) -> str:
    """Return the first line of a log line's text without figures, keys and quoted texts. Pure.

    Only for texts that are written in code: names and passwords in a sentence stay.
    """
    line = text.strip().split("\n", 1)[0]
    for pattern in (_QUOTED, _LINK, _ASSIGNED, _LONG, _NUMBER):
        line = pattern.sub(MASK, line)
    return line[:LENGTH]


def note_error(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep a log line's error for its report, before structlog makes it a text."""
    if _sdk is not None:
        _error.set(_error_of(event.get("exc_info")))
    return event


def _error_of(given: Any) -> BaseException | None:
    """Return the error that a log line states by `exc_info`."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        error: BaseException | None = given[1]
        return error
    return sys.exc_info()[1] if given else None


class ErrorReports(logging.Handler):
    """The handler of the root logger that reports errors, if there is a DSN."""

    def emit(self, record: logging.LogRecord) -> None:
        """Report a line of the level ERROR or above. Never raises, as a handler must not."""
        if (sdk := _sdk) is None or record.name.startswith(QUIET):
            return
        try:
            sdk.capture_event(event_of(record))
        except Exception:  # any: a report must not become an error of what is reported
            self.handleError(record)
        finally:
            _error.set(None)


def event_of(record: logging.LogRecord) -> dict[str, Any]:
    line = record.msg
    text = str(line.get("event", "")) if isinstance(line, Mapping) else _template_of(record)
    event: dict[str, Any] = {
        "level": "fatal" if record.levelno >= logging.CRITICAL else "error",
        "logger": record.name,
        "logentry": {"message": masked(text)},  # the template, never its parameters
    }
    error = _error.get() if isinstance(line, Mapping) else _error_of(record.exc_info)
    if error is not None:
        event["exception"] = {"values": [_value(one) for one in [*_causes(error)][::-1]]}
    return event


def _template_of(record: logging.LogRecord) -> str:
    """Return the text of a line of the standard library.

    Packages put values into it, too: without parameters apart from it, it may not be a template.
    """
    if record.args or "site-packages" not in record.pathname:
        return str(record.msg)
    return f"an error of {record.name}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it."""
    one: BaseException | None = error
    for _ in range(MOST_CAUSES):
        if one is None:
            return
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _value(error: BaseException) -> dict[str, Any]:
    value: dict[str, Any] = {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "stacktrace": {"frames": [*_frames(error.__traceback__)][-MOST_FRAMES:]},
    }
    code = getattr(error, "code", None)
    if code is not None and _CODE.fullmatch(str(code)):
        value["value"] = str(code)
    return value


def _frames(trace: TracebackType | None) -> Iterator[dict[str, Any]]:
    """Yield the places that an error went through, without variables and lines of source."""
    while trace is not None:
        code, module = trace.tb_frame.f_code, trace.tb_frame.f_globals.get("__name__", "")
        yield {
            "filename": code.co_filename.rpartition("site-packages/")[2],
            "function": code.co_name,
            "module": module,
            "lineno": trace.tb_lineno,
            "in_app": "site-packages" not in code.co_filename,
        }
        trace = trace.tb_next


def use(document: Document) -> None:
    """Report to the DSN of the settings from now on; without one to none."""
    global _sdk
    dsn = document.observe.sentry_dsn
    if dsn == _dsn():
        return
    old, _sdk = _sdk, None
    if old is not None:
        old.get_client().close(timeout=0)
    if dsn is None:
        return
    try:
        sdk = importlib.import_module("sentry_sdk")
    except ImportError:
        log.warning(MISSING)
        return
    sdk.init(
        dsn=dsn, default_integrations=False, auto_enabling_integrations=False, max_breadcrumbs=0,
        include_local_variables=False, include_source_context=False,
        auto_session_tracking=False, enable_backpressure_handling=False, send_client_reports=False,
        traces_sample_rate=None, before_send=_only_known, max_request_body_size="never",
    )  # fmt: skip
    _sdk = sdk


KNOWN = frozenset({"level", "logger", "logentry", "exception", "event_id", "timestamp", "platform",
                   "server_name", "release", "environment", "sdk"})  # fmt: skip


def _only_known(event: dict[str, Any], _hint: Any) -> dict[str, Any]:
    """Remove what the SDK has added of its own."""
    return {name: value for name, value in event.items() if name in KNOWN}


def _dsn() -> str | None:
    if _sdk is None:
        return None
    dsn: str | None = _sdk.get_client().dsn
    return dsn
