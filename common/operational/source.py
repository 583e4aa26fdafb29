"""The central source of operational settings: a file or a URL that an installation follows.

Until a version is stored, a file (or JSON in the variable itself) is the base of a process. A
worker reads the source again every few seconds. A new text is stored as a version, if all of it is
valid; else nothing of it is used, and an alarm says why. A source that does not answer changes
nothing. Whatever it does, no reader of settings waits for it.
"""

import base64
import binascii
import json
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.operational.document import Document
from common.operational.reading import LONGEST, Json, merged, parse, read

VARIABLE = "FILLCAST_SETTINGS_SOURCE"
SECONDS = 10.0
SIGNATURE = "X-Fillcast-Signature"
KEY = "ed25519="
_HERE = ("localhost", "127.0.0.1", "::1")


class SourceError(Exception):
    """The source cannot be read now, or is not signed as it should be; the message says why.

    is_forged: it answered, with another signature than ours.
    """

    def __init__(self, reason: str, *, is_forged: bool = False) -> None:
        super().__init__(reason)
        self.is_forged = is_forged


@dataclass(frozen=True, slots=True)
class Text:
    """What the source has now."""

    text: str

    @property
    def digest(self) -> str:
        """Return what a stored version remembers it by."""
        return sha256(self.text.encode()).hexdigest()


def is_json(source: str) -> bool:
    """Return whether it is a document itself, no path or URL of one."""
    return source.startswith("{")


def check_source(source: str) -> None:
    """Raise ValueError unless it is a JSON document, a path, or a URL with TLS (or of here)."""
    if is_json(source):
        read(parse(source))
    elif "://" in source:
        parts = urlsplit(source)
        is_here = parts.scheme == "http" and parts.hostname in _HERE
        if not (parts.scheme == "https" and parts.hostname) and not is_here:
            raise ValueError(source)
        if parts.fragment:
            _key_of(parts.fragment)


def with_settings(source: str, settings: Mapping[str, Any], *, keeps: bool = False) -> str:
    """Return JSON for the variable: what `source` has, if it is JSON itself, with these settings.

    settings: by path, such as `execution.poll_seconds`. keeps: what `source` has stays. For the
    demo, benchmarks and tests, which start processes with settings of their own.
    """
    given = parse(source) if is_json(source) else {}
    added: Json = {}
    for path, value in settings.items():
        group, _, name = path.partition(".")
        added.setdefault(group, {})[name] = value
    return json.dumps(merged(added, given) if keeps else merged(given, added), default=str)


def followed(source: str, *, production: bool) -> str:
    """Return the source whose document becomes a version; "": none does.

    JSON in the variable does in production, where each process may have a variable of its own, or
    none. Elsewhere it is the base of one process: tests start some with other settings.
    """
    return source if production or not is_json(source) else ""


def base_of(source: str, *, lease_seconds: int | None = None) -> Document:
    """Return the settings that hold until a version is stored. lease_seconds: as for `read`.

    Raises InvalidDocumentError, and OSError for a file.
    """
    text = _text_of(source) if source and not _is_url(source) else "{}"
    return read(parse(text), lease_seconds=lease_seconds)


def fetch(source: str) -> Text:
    """Return what the source has. Raises SourceError. Never call it inside a transaction."""
    try:
        text = _text_of(source)
    except UnicodeDecodeError:
        raise SourceError("It is not text in UTF-8.") from None
    except OSError as error:
        raise SourceError(f"It cannot be read: {error}.") from None
    if len(text) > LONGEST:
        raise SourceError(f"It has more than {LONGEST:,} characters.")
    return Text(text)


def _text_of(source: str) -> str:
    if is_json(source):
        return source
    return _get(source) if _is_url(source) else _read_file(source)


def _is_url(source: str) -> bool:
    return "://" in source and not is_json(source)


def _read_file(path: str) -> str:
    with Path(path).open(encoding="utf-8") as file:
        return file.read(LONGEST + 1)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead from a checked address to another one."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _get(source: str) -> str:
    url, _, fragment = source.partition("#")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        _NoRedirects,
    )
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with opener.open(request, timeout=SECONDS) as answer:
        body: bytes = answer.read(LONGEST * 4 + 1)
        signature = answer.headers.get(SIGNATURE, "")
    if fragment:
        _require_signed(body, signature, fragment)
    return body.decode("utf-8")


def _require_signed(body: bytes, signature: str, fragment: str) -> None:
    try:
        _key_of(fragment).verify(base64.b64decode(signature, validate=True), body)
    except (InvalidSignature, binascii.Error, ValueError):
        detail = f"Its header {SIGNATURE} does not sign it with the key of FILLCAST_SETTINGS_SOURCE"
        raise SourceError(f"{detail}.", is_forged=True) from None


def _key_of(fragment: str) -> Ed25519PublicKey:
    if not fragment.startswith(KEY):
        raise ValueError(fragment)
    raw = base64.b64decode(fragment.removeprefix(KEY), validate=True)
    return Ed25519PublicKey.from_public_bytes(raw)
