"""Whose account it is, where several say that it is theirs.

Anybody may type any number; that keeps nobody out. Who has passed a test, in which the broker
itself called the account by its number, holds a *claim* on it, and one account has one claim. Where
the number is only a name that its owner gave, the very credentials are a claim, too: not each
broker says whose they are, nor always. A
holder gives way to another passed test while its own is not valid any more (its settings have
changed), or when its broker refuses it: then whoever can log in now is more likely the owner. One
that is well, or that is merely not reached, keeps it, and the other's test fails.
"""

import json
from contextlib import suppress
from hashlib import scrypt

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from brokers.types import AccountState
from common.errors import ConflictError
from common.reason_codes import Code
from common.sql import rows
from connections.account_settings.validation import claim_for, known_form, scope_for
from connections.accounts.broker_identity import uses_owner_given_name
from connections.credentials.sealing import credentials_digest
from connections.exposure import describe_open_items, open_items
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus

SUPERSEDED = (
    "Another connection has passed a test with this account. If the account is yours, change its "
    "password at the broker, enter the new one here and test again."
)


class AccountClaimedError(ConflictError):
    """The account is another connection's. hint: what to do."""

    def __init__(self, detail: str, hint: str, code: Code = Code.STATE_CONFLICT) -> None:
        super().__init__(code, detail)
        self.hint = hint


def claim_account(connection: ExecutionConnection, reported: AccountState | None) -> bool:
    """Claim an account for the connection whose test has passed; reported: None if it has failed.

    A holder whose word counts less gives way: it is in error until it has passed a test. Returns
    False where settings or credentials have changed since the test began: what came of it is of
    what was, and the present ones are tested next. Call it in the transaction that stores the test,
    before other rows of health are touched: two that test at once go one after the other. Raises
    ClaimedError.
    """
    claim = _claim_of(connection, reported) if reported else ""
    key = _credentials_claim(connection) if reported else ""
    for one in filter(None, (claim and f"claim of {claim}", key and f"key {key}")):
        rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (one,))
    live = ExecutionConnection.objects.live()
    is_same = Q(claim=claim) & ~Q(claim="") | Q(credentials_claim=key) & ~Q(credentials_claim="")
    holders = list(live.filter(is_same).exclude(pk=connection.pk))
    involved = [connection.pk, *(holder.pk for holder in holders)]
    # Before their health, as whoever edits a connection does: two that meet wait, none is killed.
    accounts = live.filter(pk__in=involved).order_by("pk").select_for_update(no_key=True)
    present = {row.pk: row for row in accounts}
    found = ConnectionHealth.objects.filter(pk__in=involved).order_by("pk")
    states = {state.pk: state for state in found.select_for_update(no_key=True)}
    if not _is_unchanged_since_test(connection, present.get(connection.pk)):
        ConnectionHealth.objects.filter(pk=connection.pk).update(test_requested_at=Now())
        return False
    if reported is None:
        return True
    _store_identity(connection, reported.identity)
    # Whoever was edited while we waited for its row holds nothing any more.
    holders = [one for one in holders if _still_claims(present.get(one.pk), claim, key)]
    if valid_holder := next((one for one in holders if _is_valid(states[one.pk])), None):
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
    """Return what was once told of the very key that was tested; '': nothing."""
    mine = ExecutionConnection.objects.filter(pk=connection.pk)
    was, of = mine.values_list("identity", "identity_credentials_digest").get()
    return was if of == _credentials_digest(connection) else ""


def _credentials_claim(connection: ExecutionConnection) -> str:
    """Return a digest of its key and of where it is used: nobody may tell whose it is, but the very
    same one is of one account. '' where accounts have the broker's numbers, or where nothing secret
    is entered.

    Only of what must be entered, and without the exchange's name: a passphrase that nobody reads,
    or a second name of one exchange, makes no other key. It is slow: it may be a short password.
    """
    form = known_form(connection.type)
    if form is None or not form.is_own_name or not connection.sealed_credentials:
        return ""
    opened = connection.open_credentials()
    required = {one.key for one in form.secrets if one.required}
    # A key that was pasted with a line's end is the same one to many exchanges.
    key = {name: value.strip() for name, value in opened.items() if name in required}
    text = json.dumps(
        [connection.type, form.account_location(connection.settings), key or opened], sort_keys=True
    )
    return scrypt(text.encode(), salt=b"connections.claims", n=2**14, r=8, p=1, dklen=32).hex()


def _still_claims(holder: ExecutionConnection | None, claim: str, key: str) -> bool:
    """Whether a row that held one of these still does."""
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
    """Give it the scope that its kind's form says now: older rows, and those of a package that was
    not installed where they were migrated, have none. Whose owner has the account there twice
    keeps what it has."""
    if not (scope := scope_for(connection.type, connection.owner_id, connection.settings)):
        return
    mine = ExecutionConnection.objects.filter(pk=connection.pk).exclude(account_scope=scope)
    with suppress(IntegrityError), transaction.atomic():
        mine.update(account_scope=scope)


def _store_identity(connection: ExecutionConnection, reported: str) -> None:
    """Note what the broker calls the account, and with which credentials it was heard. While
    something is open it must be the one that it was: else the books of another account would be
    taken for its own. Raises ClaimedError."""
    mine = ExecutionConnection.objects.filter(pk=connection.pk)
    was, of = mine.values_list("identity", "identity_credentials_digest").get()
    mark = _credentials_digest(connection)
    if was and not reported and mark == of:
        return  # the very key that told it once
    if was and reported != was and (found := open_items(connection.pk)):
        raise (
            _account_mismatch(describe_open_items(found))
            if reported
            else _identity_missing(describe_open_items(found))
        )
    if (reported, mark) != (was, of):
        mine.update(identity=reported, identity_credentials_digest=mark)


def _account_mismatch(what: str) -> AccountClaimedError:
    code = Code.ACCOUNT_MISMATCH
    return AccountClaimedError(f"{code.sentence} Open there: {what}.", code.hint, code)


def _identity_missing(what: str) -> AccountClaimedError:
    return AccountClaimedError(
        f"The new key may not say whose account it is, and something is open there: {what}.",
        "Allow the key to read the (spot) account at the exchange, too, or enter the former key "
        "again; then test again.",
        Code.ACCOUNT_MISMATCH,
    )


def _is_unchanged_since_test(
    tested: ExecutionConnection, present: ExecutionConnection | None
) -> bool:
    """Whether it is what was tested. An edit asks for a test at a time that may lie before the
    test's begin, where it was committed only after that."""
    return (
        present is not None
        and present.settings == tested.settings
        and present.credentials_changed_at == tested.credentials_changed_at
    )


def _is_valid(holder: ConnectionHealth) -> bool:
    """Whether a claim counts: its test is valid, and no broker has said since that it is not."""
    if holder.needs_test or holder.status == HealthStatus.UNTESTED:
        return False
    return not holder.has_error() or holder.unreachable_at is not None


def _already_claimed(holder: ExecutionConnection, mine: ExecutionConnection) -> AccountClaimedError:
    if holder.owner_id == mine.owner_id:
        return AccountClaimedError(
            f"This account is connected here already, as {holder.name!r}.",
            "Trading it twice would double each signal: archive one of the two.",
        )
    return AccountClaimedError(
        "This account is connected here by somebody else, whose test has passed.",
        "If it is yours, change its password (or key) at the broker: a few minutes later theirs is "
        "refused, and your test with the new one passes. Else ask the operators.",
    )
