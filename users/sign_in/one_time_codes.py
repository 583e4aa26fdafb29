"""One-time codes, time-based (RFC 6238) and for recovery. Pure: no database, no clock."""

import base64
import hmac
import secrets
import struct
from hashlib import sha256
from urllib.parse import quote

import qrcode
from qrcode.image.svg import SvgPathFillImage

STEP_SECONDS, DIGITS, DRIFT_STEPS = 30, 6, 1
SECRET_BYTES = 20
RECOVERY_CODES, RECOVERY_LETTERS = 10, 16
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # no letters or digits that look alike


def new_secret() -> bytes:
    """Return a new random secret for an authenticator app."""
    return secrets.token_bytes(SECRET_BYTES)


def typed_secret(secret: bytes) -> str:
    """Return a secret as users type it into an app: base32, in groups of four."""
    text = base64.b32encode(secret).decode().rstrip("=")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def code_at(secret: bytes, step: int) -> str:
    """Return the code of one time step. Source: RFC 4226 §5.3, RFC 6238 §4."""
    digest = hmac.new(secret, struct.pack(">Q", step), "sha1").digest()
    offset = digest[-1] & 0x0F
    number: int = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def matching_step(secret: bytes, typed: str, *, now: float, after: int) -> int | None:
    """Return the time step of a typed code; None if no step matches, or the match was used.

    now: Unix seconds. after: the last step whose code was used. A phone's clock may be one step
    off.
    """
    current = int(now) // STEP_SECONDS
    steps = range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1)
    matching = [step for step in steps if hmac.compare_digest(code_at(secret, step), typed)]
    return next((step for step in matching if step > after), None)


def cleaned(typed: str) -> str:
    """Return a typed code without blanks and hyphens; "" if it has other than ASCII characters."""
    text = "".join(typed.split()).replace("-", "").lower()
    return text if text.isascii() and text.isalnum() else ""


def is_time_code(text: str) -> bool:
    """Whether it looks like an app's code; otherwise it may be a recovery code."""
    return len(text) == DIGITS and text.isdigit()


def new_recovery_codes() -> list[str]:
    """Return new recovery codes: 79 random bits each, in groups of four."""
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def _recovery_code() -> str:
    text = "".join(secrets.choice(_LETTERS) for _ in range(RECOVERY_LETTERS))
    return "-".join(text[at : at + 4] for at in range(0, RECOVERY_LETTERS, 4))


def recovery_hash(user_id: int, text: str) -> str:
    """Return the stored hash of a recovery code. A fast hash is enough: the code is random."""
    return sha256(f"fillcast recovery {user_id} {cleaned(text)}".encode()).hexdigest()


def app_address(secret: bytes, *, name: str, issuer: str) -> str:
    """Return the otpauth:// address that an app reads from a QR code."""
    key = base64.b32encode(secret).decode().rstrip("=")
    label = f"{quote(issuer)}:{quote(name)}"
    return f"otpauth://totp/{label}?secret={key}&issuer={quote(issuer)}"


def qr_image(address: str) -> str:
    """Return an address as a QR code: an SVG in a data: URL, for a page."""
    drawn = qrcode.make(address, image_factory=SvgPathFillImage, box_size=12, border=3)
    svg: str = drawn.to_string(encoding="unicode")
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
