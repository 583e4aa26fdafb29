"""Client order ids: the name by which a broker and we mean the same order.

At most 18 characters of [a-z0-9], which every venue takes: installation tag (3) + random (14) +
attempt digit (1). Never the primary key, because a restored or a staging database must not reuse
ids. A resend after proven absence keeps the id; a retry after a definitive rejection counts the
last digit up. Reports match on the base, the id without its digit.
"""

import secrets

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
RANDOM_LENGTH = 14
_LETTERS = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))
LAST_ATTEMPT = 9


def new_client_order_id(tag: str) -> str:
    """Return a fresh id at attempt 0: 14 random characters behind the installation's tag."""
    return f"{tag}{secrets.token_bytes(RANDOM_LENGTH).translate(_LETTERS).decode()}0"


def at_attempt(client_order_id: str, attempt: int) -> str:
    """Return the id of another attempt of the same order. Raises ValueError past the last digit."""
    if not 0 <= attempt <= LAST_ATTEMPT:
        raise ValueError(f"attempt {attempt} has no digit")
    return f"{base_of(client_order_id)}{attempt}"


def base_of(client_order_id: str) -> str:
    """Return what all attempts of an order share."""
    return client_order_id[:-1]


def attempt_of(client_order_id: str) -> int:
    """Return the attempt that an id names; -1 for one that is not of our making."""
    digit = client_order_id[-1:]
    return int(digit) if digit in "0123456789" and digit else -1


def all_attempts(client_order_id: str) -> list[str]:
    """Return every id that the same order may have had."""
    return [f"{base_of(client_order_id)}{digit}" for digit in range(LAST_ATTEMPT + 1)]
