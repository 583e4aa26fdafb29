"""Create, change, pause and archive connections. Public through `connections.services`."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from brokers.connection_form import raise_first
from brokers.types import PositionMode
from common.clocks import market_now
from common.errors import CollectedErrors, ConflictError, InvalidInputError
from common.names import check_line
from common.permissions import Right, may, require
from common.reason_codes import Code
from common.web.quotas import require_quota, within_a_day
from connections.account_settings.validation import (
    check_credential_names,
    check_secrets,
    form_for,
    read_exchange,
    read_settings,
)
from connections.accounts import broker_identity, open_exposure
from connections.accounts.permissions import check_owner, check_references
from connections.market_data.sources import get_or_create_broker_source
from connections.models import (
    MAX_AGGREGATION_MS,
    AccountSnapshot,
    ConnectionHealth,
    ConnectionLock,
    DataConnection,
    ExecutionConnection,
    HealthStatus,
    Subscription,
    SubscriptionInterval,
    SubscriptionRoute,
    TradingPreset,
    TwinEnd,
)
from connections.twin_links import end_twins, follow_twin, refuse_twin
from signals.feeds.services import archive_feed
from signals.locks import candidates_exclusive, candidates_exclusive_many
from users.models import User
from users.sign_in.session_factor import require_fresh_factor


@transaction.atomic
def create_connection(
    *,
    by: User | None,
    name: str,
    type: str,
    account: str,
    user: User | None = None,
    admin: User | None = None,
    exchange_name: str = "",
    settings: Mapping[str, Any] | None = None,
    credentials: Mapping[str, str] | None = None,
    preset: TradingPreset | None = None,
    data_connection: DataConnection | None = None,
    is_active: bool = True,
    auto_correct: bool = False,
    aggregation_ms: int = 0,
) -> ExecutionConnection:
    """Create a connection with its health and lock rows. It trades once its test has passed.

    Exactly one of user and admin owns it; only operators create for others, and admin-owned ones.
    Raises InvalidInputError FIELD_INVALID, FIELD_REQUIRED, HOST_NOT_ALLOWED, PAPER_NEEDS_SHARED;
    NotAllowedError; SecondFactorNeededError with credentials; ConflictError STATE_CONFLICT if its
    owner has connected the account already, QUOTA_REACHED.
    The test checks whether another connection has claimed it (`connections.accounts.ownership`).
    """
    owner = _owner(user, admin)
    require(by, Right.CONNECTIONS, owner_id=None if user is None else user.pk)
    if credentials:
        require(by, Right.CREDENTIALS, owner_id=None if user is None else user.pk)
        require_fresh_factor(by)
    faults = CollectedErrors()
    faults.attempt(lambda: _check_texts(name=name, account=account))
    faults.attempt(lambda: _check_aggregation(aggregation_ms, None))
    exchange = faults.attempt(lambda: read_exchange(type, exchange_name))
    stored_settings = faults.attempt(lambda: read_settings(type, settings or {}, owner.username))
    faults.attempt(lambda: check_references(owner.pk, type, preset, data_connection))
    if credentials:
        faults.attempt(lambda: check_secrets(credentials))
        faults.attempt(lambda: check_credential_names(type, credentials))
    faults.raise_all()
    owned = ExecutionConnection.objects.owned_by(owner.pk)
    require_quota("accounts", owner.pk, owned.filter(Q(archived_at=None) | within_a_day()))
    if admin is not None:
        candidates_exclusive(None)
    connection = ExecutionConnection(
        user=user, admin=admin, name=name.strip(), type=type, account=account.strip(),
        exchange_name=exchange or "", settings=stored_settings or {}, preset=preset,
        data_connection=data_connection, is_active=is_active, auto_correct=auto_correct,
        aggregation_ms=aggregation_ms,
        created_at=market_now(),  # read after the lock: the audit compares it with publications
    )  # fmt: skip
    _save(connection, force_insert=True)
    if credentials:
        connection.set_credentials(credentials)
    ConnectionHealth.objects.create(connection=connection, needs_test=True)
    ConnectionLock.objects.create(connection=connection)
    return connection


def _save(connection: ExecutionConnection, **how: Any) -> None:
    try:
        with transaction.atomic():
            connection.save(**how)
    except IntegrityError as error:
        if "one_connection_an_account" not in str(error):
            raise
        twin = ExecutionConnection.objects.live().filter(
            type=connection.type, exchange_name=connection.exchange_name,
            account=connection.account, account_scope=connection.account_scope,
            user=connection.user_id, admin=connection.admin_id,
        ).exclude(pk=connection.pk).first()  # fmt: skip
        name = f" It is called {twin.name}." if twin else ""
        raise ConflictError(
            Code.STATE_CONFLICT, f"This account is connected here already.{name}"
        ) from error


def _owner(user: User | None, admin: User | None) -> User:
    owner = user or admin
    if owner is None or (user is not None and admin is not None):
        raise InvalidInputError(
            Code.FIELD_INVALID, "A connection has exactly one owner: a user or an admin.",
            field="user",
        )  # fmt: skip
    if admin is not None and not may(admin, Right.CONNECTIONS):
        raise InvalidInputError(Code.FIELD_INVALID, f"{admin} is no administrator.", field="admin")
    return owner


def _check_texts(*, name: str, account: str) -> None:
    faults = CollectedErrors()
    for field, value in (("name", name), ("account", account)):
        if value.strip():
            faults.attempt(partial(check_line, value.strip(), field))
        else:
            faults.errors.append(InvalidInputError(Code.FIELD_REQUIRED, field=field))
    faults.raise_all()


def _check_aggregation(milliseconds: int, connection: ExecutionConnection | None) -> None:
    """Raise InvalidInputError for a window that is too long, or on an account without netting."""
    field = "aggregation_ms"
    if type(milliseconds) is not int or not 0 <= milliseconds <= MAX_AGGREGATION_MS:
        detail = f"The window is a whole number of milliseconds from 0 to {MAX_AGGREGATION_MS}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field=field)
    if not milliseconds or connection is None:
        return
    read = AccountSnapshot.objects.filter(connection=connection).first()
    if read is not None and read.position_mode == PositionMode.HEDGING:
        detail = (
            "On this account each order is a position of its own, so its entries are not sent as"
            " one. Leave the window at 0."
        )
        raise InvalidInputError(Code.FIELD_INVALID, detail, field=field)


@transaction.atomic
def update_connection(
    connection_id: UUID,
    *,
    by: User | None,
    credentials: Mapping[str, str] | None = None,
    **changes: Any,
) -> ExecutionConnection:
    """Change name, settings, auto_correct, aggregation_ms, preset or data_connection.

    Owner, broker type and account cannot change: for another account create another connection.
    After a change of settings a test is requested, and no entry is sent before it has passed.
    credentials: replace the stored ones, as `set_credentials` does and raises. They are needed if a
    setting decides where credentials are sent: the stored ones are for the former place only.
    Raises InvalidInputError FIELD_UNKNOWN for other fields, FIELD_INVALID for a window that the
    account cannot have, CREDENTIALS_NEEDED, and SETTING_IN_USE if a setting decides
    where the account is, or what a symbol means, while anything is open there.
    """
    connection = lock_connection(connection_id, by)
    allowed = {
        "name", "settings", "auto_correct", "aggregation_ms", "preset", "data_connection",
    }  # fmt: skip
    if unknown := sorted(set(changes) - allowed):
        raise InvalidInputError(
            Code.FIELD_UNKNOWN, f"{unknown[0]!r} cannot be changed.", field=unknown[0]
        )
    if changes.get("preset", connection.preset) != connection.preset:
        refuse_twin(connection)
    before = connection.settings
    for field, value in changes.items():
        setattr(connection, field, value)
    kind, owner_id = connection.type, connection.owner_id
    faults = CollectedErrors()
    if credentials is not None:
        faults.attempt(lambda: _replace_credentials(connection, credentials, by))
    faults.attempt(lambda: _check_texts(name=connection.name, account=connection.account))
    if "aggregation_ms" in changes:
        faults.attempt(lambda: _check_aggregation(connection.aggregation_ms, connection))
    references = (changes.get("preset"), changes.get("data_connection"))
    faults.attempt(lambda: check_references(owner_id, kind, *references))
    if "settings" in changes and connection.settings != before:
        sent, owner_name = connection.settings, connection.owner_name
        connection.settings = faults.attempt(lambda: read_settings(kind, sent, owner_name)) or {}
        faults.raise_all()
        if connection.settings != before:
            if credentials is None and connection.sealed_credentials:
                _require_same_destination(kind, before, connection.settings)
            open_exposure.ensure_settings_changeable(connection, before)
            _require_test(connection)
            # The settings may name another account now: the next test determines which.
            connection.claim = connection.credentials_claim = ""
            changes |= {"claim": "", "credentials_claim": ""}
    faults.raise_all()
    _save(connection, update_fields=list(changes))
    if "preset" in changes:
        follow_twin(connection_id=connection.pk)
    return connection


def _require_same_destination(
    broker_type: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Raise InvalidInputError CREDENTIALS_NEEDED for each setting that would send the stored
    credentials to another place."""
    raise_first(
        [
            InvalidInputError(
                Code.CREDENTIALS_NEEDED,
                f"{setting.label} decides where the credentials are sent, and the stored ones were"
                " entered for another. Enter them again with this change.",
                field=f"settings.{setting.key}",
            )
            for setting in form_for(broker_type).redirected_by(before, after)
        ]
    )


@transaction.atomic
def set_credentials(connection_id: UUID, *, by: User | None, values: Mapping[str, str]) -> None:
    """Replace the stored credentials and request a test of the new ones.

    Raises InvalidInputError FIELD_UNKNOWN or FIELD_REQUIRED if they do not match the form of the
    broker type; ConflictError STATE_CONFLICT, see `broker_identity.ensure_identity_known`;
    NotAllowedError; SecondFactorNeededError.
    """
    connection = lock_connection(connection_id, by, right=Right.CREDENTIALS)
    _replace_credentials(connection, values, by)


def _replace_credentials(
    connection: ExecutionConnection, values: Mapping[str, str], by: User | None
) -> None:
    """Replace the credentials of a connection whose row is locked, and request a test."""
    check_owner(connection, by, Right.CREDENTIALS)
    require_fresh_factor(by)
    if not all(isinstance(value, str) for value in values.values()):
        raise InvalidInputError(Code.FIELD_INVALID, "Credentials are texts.", field="credentials")
    check_secrets(values)
    check_credential_names(connection.type, values)
    broker_identity.ensure_identity_known(connection)
    connection.set_credentials(values)
    _require_test(connection)


def _require_test(connection: ExecutionConnection) -> None:
    ConnectionHealth.objects.filter(pk=connection.pk).update(
        status=HealthStatus.UNTESTED, needs_test=True, reconciled_at=None,
        test_requested_at=Now(),
    )  # fmt: skip


def pause(connection_id: UUID, *, by: User | None) -> bool:
    """Take no entries until `resume`; exits go on. Return False if it was paused already."""
    return _set_flag(connection_id, by, is_paused=True)


def resume(connection_id: UUID, *, by: User | None) -> bool:
    """Take signals again from the next one on. Return False if it was not paused."""
    return _set_flag(connection_id, by, is_paused=False)


@transaction.atomic
def activate(connection_id: UUID, *, by: User | None) -> bool:
    """Switch the connection on. Return False if it was on.

    It is reconciled before it trades, since its account was not read while it was off.
    """
    if not _set_flag(connection_id, by, is_active=True):
        return False
    mine = ConnectionHealth.objects.filter(pk=connection_id)
    mine.update(reconciled_at=None, monitored_since=Now())
    return True


def deactivate(connection_id: UUID, *, by: User | None) -> bool:
    """Switch the connection off; open items are still monitored. Return False if it was off."""
    return _set_flag(connection_id, by, is_active=False)


@transaction.atomic
def _set_flag(connection_id: UUID, by: User | None, **to: bool) -> bool:
    connection = lock_connection(connection_id, by)
    refuse_twin(connection)
    mine = ExecutionConnection.objects.filter(pk=connection.pk)
    changed = mine.exclude(**to).update(**to) == 1
    follow_twin(connection_id=connection.pk)
    return changed


@transaction.atomic
def archive_connection(
    connection_id: UUID, *, by: User | None, although_open: bool = False
) -> bool:
    """Remove the connection for good, with its subscriptions; its history stays.

    Returns False if it was archived already. Raises ConflictError ACCOUNT_IN_USE if anything is
    open in it, since that is no longer monitored. although_open: archive it nevertheless, after the
    operator has confirmed this.
    """
    connection = lock_connection(connection_id, by, archived_too=True)
    if connection.archived_at is not None:
        return False
    if not although_open:
        open_exposure.ensure_no_exposure(connection)
    live = Subscription.objects.filter(connection=connection, archived_at=None)
    candidates_exclusive_many(  # our row's lock keeps subscriptions from being added meanwhile
        feed_ids=live.values_list("feed_id", flat=True), admin_owned=connection.is_admin_owned()
    )
    now = market_now()
    demo_feeds = list(live.filter(demo_only=True).values_list("feed_id", flat=True))
    SubscriptionInterval.objects.filter(subscription__in=live, ended_at=None).update(ended_at=now)
    SubscriptionRoute.objects.filter(subscription__in=live).delete()
    live.update(archived_at=now, route_policy="")
    end_twins(now, TwinEnd.SUBSCRIPTION, subscription__connection=connection)
    end_twins(now, TwinEnd.ACCOUNT, connection=connection)
    ExecutionConnection.objects.filter(pk=connection.pk).update(archived_at=now, is_active=False)
    for feed_id in demo_feeds:
        archive_feed(feed_id)
    return True


def lock_connection(
    connection_id: UUID,
    by: User | None,
    *,
    archived_too: bool = False,
    right: Right = Right.CONNECTIONS,
) -> ExecutionConnection:
    """Return the connection, its row locked until the transaction ends.

    Orders that refer to it can still be inserted. Raises NotAllowedError; ConflictError
    STATE_CONFLICT if it is archived, unless archived_too.
    """
    rows = ExecutionConnection.objects.select_for_update(no_key=True, of=("self",))
    connection = rows.get(pk=connection_id)
    check_owner(connection, by, right)
    if connection.archived_at is not None and not archived_too:
        raise ConflictError(Code.STATE_CONFLICT, "The connection is archived.")
    return connection


@transaction.atomic
def use_own_prices(connection_id: UUID, *, by: User | None) -> DataConnection:
    """Let an account use its own broker's prices, from the next signal on; return the source.

    Raises what `get_or_create_broker_source` raises; ConflictError STATE_CONFLICT if it is
    archived.
    """
    source = get_or_create_broker_source(lock_connection(connection_id, by), by=by)
    update_connection(connection_id, by=by, data_connection=source)
    return source
