"""The broker's identity of accounts whose number is only a name that the owner gave them.

An API key belongs to one account for ever. So an identity is valid for as long as the key is the
same, and an exit needs no query for it. We store it with a digest of the sealed credentials: the
digest reveals nothing of them, and changes when other credentials are entered.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from common.db.sql import columns, rows, run
from common.errors import ConflictError
from common.reason_codes import Code
from connections.account_settings.validation import form_if_available
from connections.credentials.specs import ReadRow
from connections.exposure import describe_open_items, open_items
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus

# Only with the credentials that are stored now, if they need no test: otherwise the test stores it.
_STORE_IDENTITIES = """
WITH reported AS (
  SELECT c.id, t.identity, t.digest FROM connections_executionconnection c
  JOIN unnest(%s::uuid[], %s::text[], %s::text[]) AS t (id, identity, digest) USING (id)
  JOIN connections_connectionhealth h ON h.connection_id = c.id
  WHERE NOT h.needs_test AND encode(sha256(c.sealed_credentials), 'hex') = t.digest
    AND (c.identity = t.identity OR c.identity = '')
  ORDER BY c.id FOR NO KEY UPDATE OF c
)
UPDATE connections_executionconnection c SET identity = reported.identity,
  identity_credentials_digest = reported.digest
FROM reported WHERE c.id = reported.id
RETURNING c.id, reported.digest <> '' AND (
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
    """Return whether an account's number is only its owner's name for it.

    False for an unknown broker type.
    """
    form = form_if_available(broker_type)
    return form is not None and form.is_own_name


def has_changed(row: ReadRow, identity: str, digest: str) -> bool:
    """Return whether `store_identities` would change anything.

    identity: as reported. digest: of the credentials that were used.
    """
    return (
        digest != row.identity_credentials_digest
        or identity not in (row.identity, "")
        or _is_unclaimed(row, identity, digest)
    )


def _is_unclaimed(row: ReadRow, identity: str, digest: str) -> bool:
    """Return whether the account could be claimed, but its last test was before that."""
    return bool(digest) and (not row.credentials_claim or bool(identity and not row.claim))


@transaction.atomic
def store_identities(identities: Sequence[tuple[UUID, str, str]]) -> None:
    """Store reported identities: connection id, identity, digest of the credentials used.

    A connection whose account is not claimed yet, for example because its key reports an identity
    only now, gets a test that claims it. It trades meanwhile.
    """
    stored = rows(_STORE_IDENTITIES, columns(sorted(identities), 3)) if identities else []
    if unclaimed := [row.id for row in stored if row.is_unclaimed]:
        run(_REQUEST_TESTS, (unclaimed,))


def ensure_identity_known(connection: ExecutionConnection) -> None:
    """Raise ConflictError STATE_CONFLICT if new credentials could silently change the account.

    That is so while anything is open and the identity for the present credentials is unknown: new
    credentials of another account could not be detected. Only healthy accounts are checked: their
    identity is read within a minute. If the broker refuses the present credentials, their identity
    can never be read, and the new ones must be accepted.
    """
    if connection.identity_credentials_digest or not connection.sealed_credentials:
        return
    healthy = ConnectionHealth.objects.filter(pk=connection.pk, status=HealthStatus.ACTIVE)
    if not uses_owner_given_name(connection.type) or not healthy.exists():
        return
    if items := open_items(connection.pk):
        raise ConflictError(
            Code.STATE_CONFLICT,
            "We do not know yet which account the present key belongs to, and something is open:"
            f" {describe_open_items(items)}. Test the connection with the present key first (or"
            " wait a minute); then enter the new one.",
        )
