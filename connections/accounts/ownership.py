"""Account claims: which connection owns a broker account that several connections name.

Any user can enter any account number; the number alone proves nothing and excludes no other user. A
connection that passes a test, in which the broker itself reports the account, holds a *claim* on
it, and each account has one claim at most. If the number is only a name that its owner gave, the
credentials are claimed, too, since not every broker reports an identity.

A holder is superseded by another connection's passed test if its own test is no longer valid (its
settings have changed) or its broker refuses it: the connection that can log in now more likely
belongs to the owner. A healthy holder, or one that is only unreachable, keeps the claim, and the
other connection's test fails.
"""

import json
from contextlib import suppress
from hashlib import scrypt

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from brokers.types import AccountState
from common.db.sql import rows
from common.errors import ConflictError
from common.reason_codes import Code
from connections.account_settings.validation import claim_for, form_if_available, scope_for
from connections.accounts.broker_identity import uses_owner_given_name
from connections.exposure import describe_open_items, open_items
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from connections.sealing import credentials_digest

SUPERSEDED = (
    "Another connection has passed a test with this account. If the account is yours, change its "
    "password at the broker, enter the new one here and test again."
)


class AccountClaimedError(ConflictError):
    """Another connection has claimed the account. hint: what its owner should do."""

    def __init__(self, detail: str, hint: str, code: Code = Code.STATE_CONFLICT) -> None:
        super().__init__(code, detail)
        self.hint = hint


def claim_account(connection: ExecutionConnection, reported: AccountState | None) -> bool:
    """Claim an account for the connection whose test has passed.

    reported: the account as the broker reported it; None if the test has failed. Returns False if
    settings or credentials have changed since the test began: then its result is void, and a new
    test is requested. A superseded holder is in error until it passes a test.

    Call it in the transaction that stores the test, before other health rows are touched: two
    concurrent tests then run one after the other. Raises AccountClaimedError.
    """
    claim = _claim_of(connection, reported) if reported else ""
    key = _credentials_claim(connection) if reported else ""
    for lock in filter(None, (claim and f"claim of {claim}", key and f"key {key}")):
        rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (lock,))
    live = ExecutionConnection.objects.live()
    is_same = Q(claim=claim) & ~Q(claim="") | Q(credentials_claim=key) & ~Q(credentials_claim="")
    holders = list(live.filter(is_same).exclude(pk=connection.pk))
    involved = [connection.pk, *(holder.pk for holder in holders)]
    # Before their health, as in an edit of a connection: two transactions cannot deadlock.
    accounts = live.filter(pk__in=involved).order_by("pk").select_for_update(no_key=True)
    present = {row.pk: row for row in accounts}
    health_rows = ConnectionHealth.objects.filter(pk__in=involved).order_by("pk")
    states = {state.pk: state for state in health_rows.select_for_update(no_key=True)}
    if not _is_unchanged_since_test(connection, present.get(connection.pk)):
        ConnectionHealth.objects.filter(pk=connection.pk).update(test_requested_at=Now())
        return False
    if reported is None:
        return True
    _store_identity(connection, reported.identity)
    # A connection that was edited while we waited for its row has lost its claim.
    holders = [holder for holder in holders if _still_claims(present.get(holder.pk), claim, key)]
    if valid_holder := next((held for held in holders if _is_valid(states[held.pk])), None):
        raise _already_claimed(valid_holder, connection)
    for holder in holders:
        live.filter(pk=holder.pk).update(claim="", credentials_claim="")
        holder.mark_as_error(SUPERSEDED)
        ConnectionHealth.objects.filter(pk=holder.pk).update(needs_test=True)
    mine = live.filter(pk=connection.pk).exclude(claim=claim, credentials_claim=key)
    mine.update(claim=claim, credentials_claim=key)
    _update_scope(connection)
    ConnectionHealth.objects.filter(pk=connection.pk, needs_test=True).update(needs_test=False)
    return True


def _claim_of(connection: ExecutionConnection, reported: AccountState) -> str:
    return claim_for(
        connection.type, connection.exchange_name, connection.owner_id, connection.settings,
        account=reported.account, identity=reported.identity or _stored_identity(connection),
    )  # fmt: skip


def _stored_identity(connection: ExecutionConnection) -> str:
    """Return the identity that was stored for the tested credentials; '' if there is none."""
    mine = ExecutionConnection.objects.filter(pk=connection.pk)
    identity, digest = mine.values_list("identity", "identity_credentials_digest").get()
    return identity if digest == _credentials_digest(connection) else ""


def _credentials_claim(connection: ExecutionConnection) -> str:
    """Return a digest of the credentials and the place where they are used.

    Equal credentials mean the same account, even if the broker reports no identity. '' if accounts
    have the broker's own numbers, or no credentials are stored.

    Only required credentials count, and not the exchange's name: an unused passphrase, or a second
    name of one exchange, must not make a different claim. The digest is slow to compute (scrypt),
    because a credential may be a short password.
    """
    form = form_if_available(connection.type)
    if form is None or not form.is_own_name or not connection.sealed_credentials:
        return ""
    opened = connection.open_credentials()
    required = {secret.key for secret in form.secrets if secret.required}
    # Many exchanges accept a key that was pasted with a line end.
    key = {name: value.strip() for name, value in opened.items() if name in required}
    text = json.dumps(
        [connection.type, form.account_location(connection.settings), key or opened], sort_keys=True
    )
    return scrypt(text.encode(), salt=b"connections.claims", n=2**14, r=8, p=1, dklen=32).hex()


def _still_claims(holder: ExecutionConnection | None, claim: str, key: str) -> bool:
    """Return whether a holder, as it is now, still has one of these claims."""
    if holder is None:
        return False
    return (holder.claim == claim != "") or (holder.credentials_claim == key != "")


def _credentials_digest(connection: ExecutionConnection) -> str:
    return (
        credentials_digest(connection.sealed_credentials)
        if uses_owner_given_name(connection.type)
        else ""
    )


def _update_scope(connection: ExecutionConnection) -> None:
    """Set the account scope by the form of the broker type.

    A row has none if the package of its broker type was not installed when the row was made. It
    stays as it is if the owner already has the account in that scope.
    """
    if not (scope := scope_for(connection.type, connection.owner_id, connection.settings)):
        return
    mine = ExecutionConnection.objects.filter(pk=connection.pk).exclude(account_scope=scope)
    with suppress(IntegrityError), transaction.atomic():
        mine.update(account_scope=scope)


def _store_identity(connection: ExecutionConnection, reported: str) -> None:
    """Store the identity that the broker reported, and the digest of the credentials used.

    Raises AccountClaimedError if the identity changes while anything is open: the positions of
    another account would be taken for those of this one.
    """
    mine = ExecutionConnection.objects.filter(pk=connection.pk)
    identity, stored_digest = mine.values_list("identity", "identity_credentials_digest").get()
    digest = _credentials_digest(connection)
    if identity and not reported and digest == stored_digest:
        return  # the same key reported it before
    if identity and reported != identity and (items := open_items(connection.pk)):
        raise _account_mismatch(describe_open_items(items), is_reported=bool(reported))
    if (reported, digest) != (identity, stored_digest):
        mine.update(identity=reported, identity_credentials_digest=digest)


def _account_mismatch(open_there: str, *, is_reported: bool) -> AccountClaimedError:
    code = Code.ACCOUNT_MISMATCH
    if is_reported:
        return AccountClaimedError(f"{code.sentence} Open there: {open_there}.", code.hint, code)
    return AccountClaimedError(
        "The new key is not allowed to read which account it belongs to, and something is open"
        f" there: {open_there}.",
        "Allow the key to read the (spot) account at the exchange, too, or enter the former key "
        "again; then test again.",
        code,
    )


def _is_unchanged_since_test(
    tested: ExecutionConnection, present: ExecutionConnection | None
) -> bool:
    """Return whether the connection is still as it was tested.

    The time of a test request does not show this: an edit may request a test before this test
    began, and commit after that.
    """
    return (
        present is not None
        and present.settings == tested.settings
        and present.credentials_changed_at == tested.credentials_changed_at
    )


def _is_valid(holder: ConnectionHealth) -> bool:
    """Return whether a claim is valid: its test is, and the broker has not refused it since."""
    if holder.needs_test or holder.status == HealthStatus.UNTESTED:
        return False
    return not holder.has_error() or holder.unreachable_at is not None


def _already_claimed(holder: ExecutionConnection, mine: ExecutionConnection) -> AccountClaimedError:
    if holder.owner_id == mine.owner_id:
        return AccountClaimedError(
            f"This account is connected here already, as {holder.name!r}.",
            "Each signal would be traded twice: archive one of the two connections.",
        )
    return AccountClaimedError(
        "Another user has connected this account here and passed the test.",
        "If it is yours, change its password (or key) at the broker: a few minutes later theirs is "
        "refused, and your test with the new one passes. Otherwise contact the operators.",
    )
