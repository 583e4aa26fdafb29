"""One-time codes, pure: by time (RFC 6238) and for recovery. No database, no clock of its own."""

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
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is read as another


def new_secret() -> bytes:
    """Return a fresh secret of an authenticator app."""
    return secrets.token_bytes(SECRET_BYTES)


def typed_secret(secret: bytes) -> str:
    """Write a secret as apps take it by hand, in groups of four."""
    text = base64.b32encode(secret).decode().rstrip("=")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def code_at(secret: bytes, step: int) -> str:
    """Return the code of one time step. Source: RFC 4226 §5.3, RFC 6238 §4."""
    digest = hmac.new(secret, struct.pack(">Q", step), "sha1").digest()
    offset = digest[-1] & 0x0F
    number: int = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def matching_step(secret: bytes, typed: str, *, now: float, after: int) -> int | None:
    """Return the time step whose code this is, if none of it or later was used (`after`).

    A phone's clock may be one step off.
    """
    present = int(now) // STEP_SECONDS
    steps = range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1)
    found = [step for step in steps if hmac.compare_digest(code_at(secret, step), typed)]
    return next((step for step in found if step > after), None)


def cleaned(typed: str) -> str:
    """Return what was typed without blanks and hyphens, in ASCII; "" if it has anything else."""
    text = "".join(typed.split()).replace("-", "").lower()
    return text if text.isascii() and text.isalnum() else ""


def is_time_code(text: str) -> bool:
    """Whether it looks like an app's code, else it may be a recovery code."""
    return len(text) == DIGITS and text.isdigit()


def new_recovery_codes() -> list[str]:
    """Return fresh recovery codes: 79 random bits each, in groups of four."""
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def _recovery_code() -> str:
    text = "".join(secrets.choice(_LETTERS) for _ in range(RECOVERY_LETTERS))
    return "-".join(text[at : at + 4] for at in range(0, RECOVERY_LETTERS, 4))


def recovery_hash(user_id: int, text: str) -> str:
    """Return what is stored of a recovery code. No slow hash: there is nothing to guess in it."""
    return sha256(f"fillcast recovery {user_id} {cleaned(text)}".encode()).hexdigest()


def app_address(secret: bytes, *, name: str, issuer: str) -> str:
    """Return the address that an app reads from a QR code."""
    key = base64.b32encode(secret).decode().rstrip("=")
    label = f"{quote(issuer)}:{quote(name)}"
    return f"otpauth://totp/{label}?secret={key}&issuer={quote(issuer)}"


def qr_image(address: str) -> str:
    """Draw an address as a QR code: an SVG as the address of an image, for a page."""
    drawn = qrcode.make(address, image_factory=SvgPathFillImage, box_size=12, border=3)
    svg: str = drawn.to_string(encoding="unicode")
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
