"""`python -m ops.sealed_stream seal|open KEY_FILE`: encrypt standard input to standard output.

For backups of any size. The result is `header | chunks`: ChaCha20-Poly1305 over each MiB, with a
key derived from FILLCAST_BACKUP_KEY and the header's salt, and a nonce that counts the chunks and
marks the last one. So a backup that was changed, reordered or cut off does not open; nothing of a
chunk is written before it is proven. The key is the first line of a file: `ps` shows command lines.
"""

import os
import sys
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"fillcast backup 1\n"
SALT, CHUNK, TAG = 32, 1 << 20, 16
SHORTEST_KEY = 32


class CannotOpenError(Exception):
    """The file is no backup, was changed or cut off, or has another key."""


def seal(source: BinaryIO, target: BinaryIO, key: str) -> None:
    """Encrypt all of `source`."""
    salt = os.urandom(SALT)
    cipher = _cipher(key, salt)
    target.write(MAGIC + salt)
    number, chunk = 0, _read(source, CHUNK)
    while True:
        following = _read(source, CHUNK) if len(chunk) == CHUNK else b""
        target.write(cipher.encrypt(_nonce(number, is_last=not following), chunk, None))
        if not following:
            return
        number, chunk = number + 1, following


def open_sealed(source: BinaryIO, target: BinaryIO, key: str) -> None:
    """Decrypt what `seal` wrote. Raises CannotOpenError; what was written until then is genuine."""
    if _read(source, len(MAGIC)) != MAGIC or len(salt := _read(source, SALT)) != SALT:
        raise CannotOpenError("this is no backup of Fillcast")
    cipher = _cipher(key, salt)
    number, chunk = 0, _read(source, CHUNK + TAG)
    while True:
        following = _read(source, CHUNK + TAG) if len(chunk) == CHUNK + TAG else b""
        try:
            target.write(cipher.decrypt(_nonce(number, is_last=not following), chunk, None))
        except (InvalidTag, ValueError) as error:
            raise CannotOpenError(
                "it was changed or cut off, or FILLCAST_BACKUP_KEY is another one"
            ) from error
        if not following:
            return
        number, chunk = number + 1, following


def _cipher(key: str, salt: bytes) -> ChaCha20Poly1305:
    derived = HKDF(SHA256(), length=32, salt=salt, info=b"fillcast backup").derive(key.encode())
    return ChaCha20Poly1305(derived)


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _read(source: BinaryIO, count: int) -> bytes:
    """Read so many bytes, fewer only at the end: a pipe gives what it has."""
    parts = []
    while count and (part := source.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main(arguments: list[str]) -> int:
    """Run one of both; exit code 1 with a sentence if it fails."""
    try:
        [key] = Path(arguments[1]).read_text().splitlines()[:1] or [""]
    except OSError as error:
        print(f"FILLCAST_BACKUP_KEY cannot be read: {error}", file=sys.stderr)
        return 1
    if len(key) < SHORTEST_KEY:
        print(f"FILLCAST_BACKUP_KEY needs {SHORTEST_KEY} characters or more", file=sys.stderr)
        return 1
    work = {"seal": seal, "open": open_sealed}[arguments[0]]
    try:
        work(sys.stdin.buffer, sys.stdout.buffer, key)
    except CannotOpenError as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
