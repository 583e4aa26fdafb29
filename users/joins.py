"""Parts of other apps' queries and rows: what they test and store of users and keys.

What an API key set up and that acts on its own, such as an alert address or a Telegram bot, ends
with the key. It has the key in a column, which is NULL for what a person or the system set up.
"""

from typing import TYPE_CHECKING

from django.db.models import Q

from common.db.functions import ClockTimestamp

if TYPE_CHECKING:
    from users.models import User


def is_active_user_sql(user_id: str) -> str:
    """Return SQL: whether a user may sign in. user_id: an expression."""
    return (
        "EXISTS (SELECT FROM users_user active_user"
        f" WHERE active_user.id = {user_id} AND active_user.is_active)"
    )


def is_revoked_key_sql(key_id: str) -> str:
    """Return SQL: whether an API key is revoked; false for NULL. key_id: an expression."""
    return (
        "EXISTS (SELECT FROM users_apikey revoked_key"
        f" WHERE revoked_key.id = {key_id} AND revoked_key.revoked_at IS NOT NULL)"
    )


def of_open_key(field: str) -> Q:
    """Return a filter: what the key of this field set up, while it is neither revoked nor over
    (`ApiKey.is_open`), and what no key set up."""
    open_key = {f"{field}__revoked_at": None, f"{field}__expires_at__gt": ClockTimestamp()}
    return Q(**{field: None}) | Q(**open_key)


def key_of(by: "User | None") -> int | None:
    """Return the API key with which a caller acts; None: a person in a session, or the system."""
    return by.key_id if by else None


def setter_key(by_key: int | None, before: int | None, *, is_changed: bool) -> int | None:
    """Return with which key something is set up from now on. by_key: of the request; None: a
    person's. before: that of until now.

    What a person sets or confirms is theirs; what a key merely repeats stays theirs.
    """
    return by_key if is_changed or before is not None else None
