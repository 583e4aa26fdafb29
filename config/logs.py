"""Structured logs: the ids of a request also mark its tasks, and secrets are redacted."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from django.http import HttpRequest

from api.alert_paths import hide_tokens
from common.operational.document import Document
from common.operational.reading import InvalidDocumentError
from common.operational.source import base_of
from config.error_reports import note_error
from users.mails.link_paths import hide_link_secrets

HIDDEN = "[hidden]"
_SECRET_NAME = re.compile(
    r"passw|secret|token|api_?key|private|credential|authorization|cookie|signature|ciphertext",
    re.IGNORECASE,
)
_URL_LOGIN = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_ASSIGNED = re.compile(
    r"(?i)\b((?:password|secret|token|api_?key|authorization)['\"]?\s*[=:]\s*)\S+"
)


def redact_text(text: str) -> str:
    """Return `text` without assigned secrets, logins in URLs, and our paths' tokens and secrets."""
    text = _ASSIGNED.sub(rf"\1{HIDDEN}", _URL_LOGIN.sub(HIDDEN, text))
    return hide_link_secrets(hide_tokens(text))


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
    """Redact secrets in a log entry, found by the names of its values and by patterns in texts."""
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
    """Add the client's address to every log line of a request (config/middleware/proxies.py)."""
    structlog.contextvars.bind_contextvars(ip=request.META.get("REMOTE_ADDR") or None)


def configure_structlog() -> None:
    """Route structlog's loggers through the standard library, so that all share one handler."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            note_error,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _renderers(log_format: str) -> list[Any]:
    """Return the last processors. Redaction is just before rendering, so that it sees all."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer]


def log_format(*, is_production: bool) -> str:
    """Return "json" for programs that collect logs, "console" for people."""
    return "json" if is_production and not sys.stderr.isatty() else "console"


LEVELLED = ("", "django", "django.server", "uvicorn")
"""The loggers that have the level of the operational settings."""


def first_level(source: str) -> str:
    """Return the level until the settings are read. source: FILLCAST_SETTINGS_SOURCE."""
    try:
        return base_of(source).messages.log_level
    except (InvalidDocumentError, OSError):  # the settings' readers report it
        return "INFO"


def set_level(document: Document) -> None:
    """Log from now on what is at least as severe as the settings state."""
    for name in LEVELLED:
        logging.getLogger(name).setLevel(document.messages.log_level)


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """Return Django's LOGGING: one format, to standard error.

    Standard output is for the result of a command, which a program may read.
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
            },
            "reports": {"class": "config.error_reports.ErrorReports", "level": "ERROR"},
        },
        "root": {"handlers": ["stderr", "reports"], "level": level},
        "loggers": {
            "django": {"handlers": [], "propagate": True, "level": level},
            "django.server": {"handlers": [], "propagate": True, "level": level},
            "uvicorn": {"handlers": [], "propagate": True, "level": level},
            # django_structlog already logs one line per request, with its ids
            "uvicorn.access": {"handlers": [], "propagate": False, "level": "WARNING"},
            "httpx": {"level": "WARNING"},  # used by installed adapters; logs whole URLs at INFO
            "httpcore": {"level": "WARNING"},
            "psycopg.pool": {"level": "ERROR"},
            # Of services that receive errors and traces: config/ states once that one is away.
            "urllib3.connectionpool": {"level": "ERROR"},
            "opentelemetry": {"level": "CRITICAL"},
        },
    }
