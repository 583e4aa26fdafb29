"""The API keys with which things were set up, as the owner of these may know them.

Such a key may be another user's, such as an operator's, whose row the owner cannot read. What it
set up of theirs ends with it, so they learn whether it is open, and not its name.
"""

from collections.abc import Iterable
from typing import Any

from django.db.models import Model

from users.models import ApiKey
from users.tenancy import for_all_tenants


def read_keys(rows: Iterable[Model], *fields: str) -> None:
    """Read the keys of these fields, also of other users, into the rows: one statement for all."""
    found = [(row, field, getattr(row, f"{field}_id")) for row in rows for field in fields]
    wanted = {key_id for _, _, key_id in found if key_id is not None}
    if not wanted:
        return
    with for_all_tenants():
        shown = ApiKey.objects.only("user", "name", "prefix", "revoked_at", "expires_at")
        keys = shown.in_bulk(wanted)
    for row, field, key_id in found:
        if key_id in keys:
            setattr(row, field, keys[key_id])


def ended_with(row: Model, field: str) -> bool:
    """Whether the key of this field has ended; False without one.

    Reads the key unless `read_keys` has. One that is not found is not known to be open.
    """
    if getattr(row, f"{field}_id") is None:
        return False
    column: Any = row._meta.get_field(field)
    if column.get_cached_value(row, default=None) is None:
        read_keys([row], field)
    key: ApiKey | None = column.get_cached_value(row, default=None)
    return key is None or not key.is_open


def shown_key(row: Model, field: str, *, owner_id: int) -> str:
    """Return what the owner of what it set up sees of the key of this field: its name, unless it is
    another user's."""
    read_keys([row], field)
    key: ApiKey | None = getattr(row, field)
    return str(key) if key is not None and key.user_id == owner_id else "of an operator"
