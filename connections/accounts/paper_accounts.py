"""A paper account by one click: opened at the paper broker, funded, connected and to be tested.

Public through `connections.services`.
"""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from brokers.paper import exchange
from common.clocks import market_now
from common.errors import ConflictError, InvalidInputError
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.quotas import lock_quota
from connections.accounts.services import create_connection
from connections.market_data.source_status import is_delivering
from connections.models import (
    ConnectionHealth,
    DataConnection,
    ExecutionConnection,
    TradingPreset,
)
from users.models import User
from users.tenancy import for_all_tenants

PAPER = "paper"
_USUAL_BALANCES = (1_000, 10_000, 50_000, 100_000)
_OTHER_BALANCES = {"JPY": (100_000, 1_000_000, 5_000_000, 10_000_000)}
BALANCES: Mapping[str, tuple[int, ...]] = {
    currency: _OTHER_BALANCES.get(currency, _USUAL_BALANCES) for currency in exchange.CURRENCIES
}
"""The balances that a paper account may start with, by its currency."""
USUAL_CURRENCY, USUAL_BALANCE = "USD", 10_000
MAX_ACCOUNTS = 5  # of one user at a time
MAX_A_DAY = 15  # removed ones too: each leaves rows behind at the paper broker


@transaction.atomic
def open_paper_account(
    *,
    by: User,
    currency: str = USUAL_CURRENCY,
    balance: int = USUAL_BALANCE,
    name: str = "",
    request_key: str = "",
) -> tuple[ExecutionConnection, bool]:
    """Open a paper account for a user and connect it. Return it, and whether it is a new one.

    Its password is generated and sealed, its prices are those that operators share, and its test is
    requested; the caller enqueues that on commit (`connections.tasks.enqueue_test`). request_key:
    the same one again with the same currency and balance, as of a double click, returns the account
    that exists; a form that was changed and sent again opens another one.

    Raises NotAllowedError; InvalidInputError FIELD_INVALID for another currency or balance;
    ConflictError PAPER_ACCOUNT_LIMIT, QUOTA_REACHED, NO_SHARED_PRICES.
    """
    for right in (Right.CONNECTIONS, Right.CREDENTIALS):
        require(by, right, owner_id=by.pk)
    _check(currency, balance)
    lock_quota("accounts", by.pk)  # one click at a time
    number = _number(by, request_key and f"{request_key} {currency} {balance}")
    mine = ExecutionConnection.objects.filter(user=by, type=PAPER)
    if existing := mine.filter(account=number).first():
        if existing.archived_at is not None:
            detail = (
                "This paper account was opened and removed again. Open the page again for another."
            )
            raise ConflictError(Code.STATE_CONFLICT, detail)
        return existing, False
    _check_counts(by)
    name = name.strip() or _free_name(by, currency)
    terms = {"balance": Decimal(balance), "currency": currency}
    return connect_paper_account(by=by, number=number, name=name, terms=terms), True


def connect_paper_account(
    *,
    by: User,
    number: str,
    name: str,
    terms: Mapping[str, Any],
    preset: TradingPreset | None = None,
) -> ExecutionConnection:
    """Open an account at the paper broker and connect it for a user, its test requested.

    terms: its balance, and fields of the paper broker's account. Raises ConflictError
    NO_SHARED_PRICES.
    """
    source = shared_price_source()
    if source is None:
        raise ConflictError(Code.NO_SHARED_PRICES)
    password = secrets.token_urlsafe(24)
    with for_all_tenants():  # the broker's books are no tenant's; only this account is added
        exchange.list_instruments()
        exchange.open_account(number, password=password, owner=by.get_username()[:100], **terms)
    connection = create_connection(
        by=by, user=by, type=PAPER, account=number, data_connection=source, name=name,
        preset=preset, credentials={"password": password},
    )  # fmt: skip
    ConnectionHealth.objects.filter(pk=connection.pk).update(test_requested_at=Now())
    return connection


def shared_price_source() -> DataConnection | None:
    """Return the shared source that a new paper account gets; None if operators share none.

    One that delivers comes first, then a broker's own stream before recorded and constant prices.
    """
    order = {kind: at for at, kind in enumerate(("broker", "replay", "static"))}
    shared = DataConnection.objects.filter(user=None, is_active=True).select_related("health")
    now = datetime.now(UTC)
    found = sorted(
        shared, key=lambda one: (not is_delivering(one, now), order.get(one.kind, 9), one.pk)
    )
    return found[0] if found else None


def usual_balance(currency: str) -> int:
    """Return the balance that an account in a currency starts with if none is chosen."""
    return BALANCES.get(currency, (0, USUAL_BALANCE))[1]


def _check(currency: str, balance: int) -> None:
    """Raise InvalidInputError for a currency or a balance that is not offered."""
    if currency not in BALANCES:
        detail = f"A paper account is in one of: {', '.join(BALANCES)}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="currency")
    if balance not in BALANCES[currency]:
        offered = ", ".join(f"{one:,}" for one in BALANCES[currency])
        detail = f"A paper account in {currency} starts with one of: {offered}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="balance")


def _check_counts(user: User) -> None:
    """Raise ConflictError if the user has as many as one may have, or has opened many today."""
    opened = ExecutionConnection.objects.filter(user=user, account__startswith=_prefix(user))
    if (count := opened.filter(archived_at=None).count()) >= MAX_ACCOUNTS:
        detail = f"You have {count} paper accounts, the most that one user may have."
        raise ConflictError(Code.PAPER_ACCOUNT_LIMIT, detail)
    since = market_now() - timedelta(days=1)
    if opened.filter(created_at__gt=since).count() >= MAX_A_DAY:
        detail = f"You have opened {MAX_A_DAY} paper accounts within a day."
        raise ConflictError(Code.PAPER_ACCOUNT_LIMIT, detail)


def _prefix(user: User) -> str:
    return f"one-click-{user.pk}-"


def _number(user: User, request: str) -> str:
    """Return the account's number: the same for the same request of a user; '' is always new."""
    text = hashlib.sha256(request.encode()).hexdigest() if request else secrets.token_hex(6)
    return _prefix(user) + text[:12]


def _free_name(user: User, currency: str) -> str:
    """Return a name that none of the user's accounts has."""
    taken = set(ExecutionConnection.objects.live().of(user.pk).values_list("name", flat=True))
    names = (f"Paper {currency}", *(f"Paper {currency} {n}" for n in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
