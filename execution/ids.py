"""Client order ids: our name of an order at its broker.

18 characters of [a-z0-9], which every broker accepts: installation tag (3), random (14), attempt
digit (1). Not the primary key: a restored or a staging database must not reuse ids. A resend after
a proven absence keeps the id; a retry after a definitive rejection increments the digit. Reports
are matched by the base, the id without its digit.
"""

import secrets

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
RANDOM_LENGTH = 14
_LETTERS = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))
LAST_ATTEMPT = 9


def new_client_order_id(tag: str) -> str:
    """Return a new id at attempt 0: the installation's tag, 14 random characters, the digit."""
    (new,) = new_client_order_ids(tag, 1)
    return new


def new_client_order_ids(tag: str, count: int) -> list[str]:
    """Return so many new ids; their random characters are read from the system at once."""
    letters = secrets.token_bytes(RANDOM_LENGTH * count).translate(_LETTERS).decode()
    starts = range(0, len(letters), RANDOM_LENGTH)
    return [f"{tag}{letters[start : start + RANDOM_LENGTH]}0" for start in starts]


def at_attempt(client_order_id: str, attempt: int) -> str:
    """Return the id of another attempt of the same order. Raises ValueError past the last digit."""
    if not 0 <= attempt <= LAST_ATTEMPT:
        raise ValueError(f"attempt {attempt} is not one digit")
    return f"{base_of(client_order_id)}{attempt}"


def base_of(client_order_id: str) -> str:
    """Return the id without the attempt digit: all attempts of an order share it."""
    return client_order_id[:-1]


def attempt_of(client_order_id: str) -> int:
    """Return the attempt of an id, -1 if the id is not ours."""
    digit = client_order_id[-1:]
    return int(digit) if digit in "0123456789" and digit else -1


def all_attempts(client_order_id: str) -> list[str]:
    """Return the ids of all possible attempts of an order."""
    return [f"{base_of(client_order_id)}{digit}" for digit in range(LAST_ATTEMPT + 1)]
