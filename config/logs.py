"""Logs: structured, with ids that follow a request into its jobs, and without secrets."""

import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog
from django.http import HttpRequest

from api.alert_paths import hide_tokens

# Here from the start: an alert may be the first request of a process, before any URL was looked up.
_redactors: list[Callable[[str], str]] = [hide_tokens]
HIDDEN = "[hidden]"
_SECRET_NAME = re.compile(
    r"passw|secret|token|api_?key|private|credential|authorization|cookie|signature|ciphertext",
    re.IGNORECASE,
)
_URL_LOGIN = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_ASSIGNED = re.compile(
    r"(?i)\b((?:password|secret|token|api_?key|authorization)['\"]?\s*[=:]\s*)\S+"
)


def add_redactor(redactor: Callable[[str], str]) -> None:
    """Let `redactor` see every text before it is logged and return what may be shown of it."""
    if redactor not in _redactors:
        _redactors.append(redactor)


def redact_text(text: str) -> str:
    """Return `text` without logins in URLs, assigned secrets and what redactors know of."""
    text = _ASSIGNED.sub(rf"\1{HIDDEN}", _URL_LOGIN.sub(HIDDEN, text))
    for redactor in _redactors:
        text = redactor(text)
    return text


def _redact_value(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {key: _redact_value(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_value("", inner) for inner in value]
    return value


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide secrets in a log entry: by the names of its values and by how texts look."""
    return {name: _redact_value(name, value) for name, value in event.items()}


def _shared() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]


def bind_address(request: HttpRequest, **_: Any) -> None:
    """Have every line of a request name its caller's address, as config/middleware/proxies.py
    found it."""
    structlog.contextvars.bind_contextvars(ip=request.META.get("REMOTE_ADDR") or None)


def configure_structlog() -> None:
    """Send structlog's loggers through the standard library, so that there is one way out."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _renderers(log_format: str) -> list[Any]:
    """Redaction is the last step before rendering: nothing is added to the entry after it."""
    last: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, last]


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """Return Django's LOGGING: one format, to standard error.

    Standard output belongs to what a command was asked for; its last line may be read by a machine.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _shared(),
                "processors": _renderers(log_format),
            }
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "structured",
            }
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "propagate": True, "level": level},
            "django.server": {"handlers": [], "propagate": True, "level": level},
            "uvicorn": {"handlers": [], "propagate": True, "level": level},
            # one line a request is django_structlog's, with its ids
            "uvicorn.access": {"handlers": [], "propagate": False, "level": "WARNING"},
            "httpx": {"level": "WARNING"},  # of installed adapters: whole URLs at INFO
            "httpcore": {"level": "WARNING"},
            "psycopg.pool": {"level": "ERROR"},
        },
    }
