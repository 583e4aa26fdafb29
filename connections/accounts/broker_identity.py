"""What the broker calls an account whose number is only a name that its owner gave, and with which
credentials it was heard.

A key is of one account for ever. So what was told of a key counts for as long as the key is the
same: nobody needs to ask again on the way of an exit. The mark of a key is a digest of its sealed
box: it tells nothing of what is in there, and is another one once something else is entered.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from common.errors import ConflictError
from common.reason_codes import Code
from common.sql import columns, rows, run
from connections.account_settings.validation import known_form
from connections.exposure import describe_open_items, open_items
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus

# Only of credentials that are still there and need no test: what others tell is for their test.
_STORE_IDENTITIES = """
WITH told AS (
  SELECT c.id, t.identity, t.mark FROM connections_executionconnection c
  JOIN unnest(%s::uuid[], %s::text[], %s::text[]) AS t (id, identity, mark) USING (id)
  JOIN connections_connectionhealth h ON h.connection_id = c.id
  WHERE NOT h.needs_test AND encode(sha256(c.sealed_credentials), 'hex') = t.mark
    AND (c.identity = t.identity OR c.identity = '')
  ORDER BY c.id FOR NO KEY UPDATE OF c
)
UPDATE connections_executionconnection c SET identity = told.identity,
  identity_credentials_digest = told.mark
FROM told WHERE c.id = told.id
RETURNING c.id, told.mark <> '' AND (
  c.credentials_claim = '' OR c.identity <> '' AND c.claim = '') AS is_unclaimed
"""

_REQUEST_TESTS = """
UPDATE connections_connectionhealth h SET test_requested_at = clock_timestamp()
FROM (
  SELECT connection_id FROM connections_connectionhealth
  WHERE connection_id = ANY(%s::uuid[])
    AND coalesce(last_tested_at >= test_requested_at, test_requested_at IS NULL)
    AND NOT (last_test @> '[{"result": "fail"}]' AND coalesce(
      last_tested_at > clock_timestamp() - interval '1 day', false))
  ORDER BY connection_id FOR NO KEY UPDATE
) due WHERE h.connection_id = due.connection_id
"""


def uses_owner_given_name(broker_type: str) -> bool:
    """Whether an account's number is only its owner's name for it. False for an unknown kind."""
    form = known_form(broker_type)
    return form is not None and form.is_own_name


def has_changed(row: Any, identity: str, digest: str) -> bool:
    """Whether `store_identities` has something to do with what was told of credentials with this
    mark."""
    return (
        digest != row.identity_credentials_digest
        or identity not in (row.identity, "")
        or _is_unclaimed(row, identity, digest)
    )


def _is_unclaimed(row: Any, identity: str, digest: str) -> bool:
    """Whether its test is older than what it could claim by now; see `_STORE_IDENTITIES`."""
    return bool(digest) and (not row.credentials_claim or bool(identity and not row.claim))


@transaction.atomic
def store_identities(identities: Sequence[tuple[UUID, str, str]]) -> None:
    """Note what good readings told: connection, identity, and the mark of what it was read with.

    Rows from before there were identities get theirs this way, and those that were sealed anew.
    Whose claim nobody has made yet, since its test is older than claims are, is tested for it, and
    so is whose key says only now whose it is: they trade meanwhile."""
    stored = rows(_STORE_IDENTITIES, columns(sorted(identities), 3)) if identities else []
    if unclaimed := [row.id for row in stored if row.is_unclaimed]:
        run(_REQUEST_TESTS, (unclaimed,))


def ensure_identity_known(connection: ExecutionConnection) -> None:
    """Refuse other credentials while something is open and it was never read whose the present ones
    are: then nobody could tell another account's. Raises ConflictError STATE_CONFLICT.

    Only of an account that is well: it is read within a minute. Where the broker refuses the
    present credentials nothing can be learnt of them, and the new ones must be let in.
    """
    if connection.identity_credentials_digest or not connection.sealed_credentials:
        return
    well = ConnectionHealth.objects.filter(pk=connection.pk, status=HealthStatus.ACTIVE)
    if not uses_owner_given_name(connection.type) or not well.exists():
        return
    if found := open_items(connection.pk):
        raise ConflictError(
            Code.STATE_CONFLICT,
            "It has not been read yet whose account the present key is, and something is open: "
            f"{describe_open_items(found)}. Test the connection with the present key first (or "
            f"wait a "
            "minute); then enter the new one.",
        )
