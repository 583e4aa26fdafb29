"""Discord and Slack on this machine: a proxy that answers for them, and keeps what they are sent.

Processes with `environ` reach it instead of the services, by the addresses that people copy there,
over TLS. It runs in a thread; its journal is a file, so that others can read it.
"""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.fakes.http_server import serving_http

ANSWERS = {"discord.com": (204, b""), "hooks.slack.com": (200, b"ok")}
JOURNAL, CERTIFICATE, KEY = "chats.jsonl", "chats.pem", "chats-key.pem"


def messages_at(folder: Path, path: str) -> list[dict[str, Any]]:
    """Return the messages that arrived at this path of a service."""
    lines = (folder / JOURNAL).read_text().splitlines()
    return [one["message"] for one in map(json.loads, lines) if one["path"].startswith(path)]


@contextmanager
def chat_services(folder: Path) -> Iterator[dict[str, str]]:
    """Answer for the services. Yields the environment of a process that is to reach them here."""
    _make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    (folder / JOURNAL).touch()
    handler = type("Handler", (_Handler,), {"context": context, "journal": folder / JOURNAL})
    with serving_http(handler) as port:
        yield {
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
            "REQUESTS_CA_BUNDLE": str(folder / CERTIFICATE),
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    context: ssl.SSLContext
    journal: Path
    host = ""

    def do_CONNECT(self) -> None:
        """Open a tunnel, and be the service at its end."""
        self.host = self.path.partition(":")[0]
        if self.host not in ANSWERS:
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_POST(self) -> None:
        """Keep the message, and answer as the service does."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        line = json.dumps({"path": self.host + self.path, "message": json.loads(body)})
        with self.journal.open("a") as file:
            file.write(line + "\n")
        status, answer = ANSWERS[self.host]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = True

    def finish(self) -> None:
        """Close the tunnel as well."""
        super().finish()
        with suppress(OSError):
            self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Write no lines."""


def _make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Fillcast's tests")])
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
         "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False,
    ) | {"digital_signature": True, "key_cert_sign": True}  # fmt: skip
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(map(x509.DNSName, ANSWERS)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / CERTIFICATE).write_bytes(made.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / KEY).write_bytes(secret)
