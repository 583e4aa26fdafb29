"""Accounts: the list, one account with its health and last test, and its pauses."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from analytics.orders.explanations import explain
from analytics.orders.figures import with_figures
from analytics.orders.rounding_debt import rounding_debts
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from common.web.formatting import sentence
from connections import services, tasks
from connections.models import (
    DataConnection,
    ExecutionConnection,
    Instrument,
    InstrumentBook,
    SubscriptionTwin,
)
from connections.selectors import (
    LIVE_KINDS,
    account_prices,
    flow_note,
    possible_fallbacks,
    resume_message,
)
from connections.services import set_fallback, use_own_prices
from execution.models import DriftItem, Order
from execution.monitoring.loss_limits import LimitState, limit_states
from execution.reconciliation import presentation
from portal.forms import PaperForm
from portal.pages import current_user, page, panel, run_action, tenants_only
from portal.selectors.account_page import account_page
from portal.selectors.accounts import Account, account_of, accounts_of
from portal.selectors.feeds import subscriptions_of
from portal.selectors.shell import shell_of
from users.models import User

LAST = 8
A_PAGE = 50
FORM_PAGES = {"edit": "portal:account_edit", "credentials": "portal:credentials"}


def find(request: HttpRequest, pk: UUID) -> Account:
    """Return the tenant's own account. Raises Http404 for any other."""
    found = account_of(current_user(request), pk)
    if found is None:
        raise Http404
    return found


def address(pk: UUID) -> str:
    return reverse("portal:account", args=[pk])


@tenants_only
def accounts(request: HttpRequest) -> HttpResponse:
    """List the accounts, each with its state and next step."""
    shell = shell_of(current_user(request))
    mine = accounts_of(current_user(request), halts=shell.halts)
    return page(request, "accounts.html", around=shell, accounts=mine, paper=PaperForm())


@tenants_only
def account(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """One account: state, orders, differences, prices and subscriptions."""
    user = current_user(request)
    shell = shell_of(user)
    found = account_page(user, pk, halts=shell.halts)
    if found is None:
        raise Http404
    row, is_twin = found.account.connection, found.account.is_twin
    orders = with_figures(Order.objects.filter(connection_id=pk).select_related("signal"))
    limits = limit_states(pk)
    return page(
        request,
        "account.html",
        around=shell,
        account=found.account,
        prices=(prices := account_prices(row, reader=user)),
        fallbacks=_fallbacks(user, prices.source),
        others=found.others,
        orders=[(order, explain(order)) for order in orders.order_by("-pk")[:LAST]],
        subscriptions=[] if is_twin else _subscriptions(user, pk, found.routes),
        limits=limits,
        flow_note=flow_note(row),
        own_limits=_own_limits(user, row, limits),
        twin=SubscriptionTwin.objects.filter(connection=pk).first() if is_twin else None,
        pauses=found.pauses,
        differences=_differences(pk) if found.has_differences else [],
        request_id=uuid4().hex,
    )


def _fallbacks(user: User, source: DataConnection | None) -> list[DataConnection]:
    """Return what the tenant may choose as the fallback of an account's source of their own."""
    if source is None or source.user_id != user.pk or source.kind not in LIVE_KINDS:
        return []
    return list(possible_fallbacks(source))


def _subscriptions(user: User, pk: UUID, routes: Sequence[UUID]) -> list[tuple[Any, Any]]:
    """Return the account's subscriptions, each with what rounding left out of its entries."""
    subscriptions = list(subscriptions_of(user).filter(connection=pk))
    debts = rounding_debts(pk, routes=routes) if subscriptions else {}
    return [(taken, debts.get(taken.feed_id, [])) for taken in subscriptions]


def _own_limits(user: User, row: ExecutionConnection, limits: Sequence[LimitState]) -> set[int]:
    """Return the limits that the tenant may change: of subscriptions, and of a preset of theirs.

    A limit of a subscription is the tenant's: a route has accounts of one owner only.
    """
    has_own_preset = row.preset is not None and row.preset.user_id == user.pk
    return {limit.limit_id for limit in limits if limit.feed_id is not None or has_own_preset}


def _differences(pk: UUID) -> list[tuple[DriftItem, str, str]]:
    items = DriftItem.objects.filter(connection=pk, state=DriftItem.State.OPEN)
    return [(item, sentence(item.kind), presentation.summary(item)) for item in items]


@tenants_only
def symbols(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """The symbols of an account's broker: their sizes, and when their markets are open."""
    found = find(request, pk)
    searched = request.GET.get("q", "").strip()[:40]
    rows = Instrument.objects.filter(book=found.connection.instrument_book or None)
    if searched:
        rows = rows.filter(Q(pair__icontains=searched) | Q(symbol__icontains=searched))
    one_page = Paginator(rows.order_by("symbol"), A_PAGE).get_page(request.GET.get("page"))
    return page(
        request, "symbols.html", account=found, one_page=one_page, searched=searched,
        book=InstrumentBook.objects.filter(book=found.connection.instrument_book).first(),
    )  # fmt: skip


@tenants_only
def live(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """The account's health and last test, polled while a test runs."""
    return panel(request, "account/live.html", account=find(request, pk))


@tenants_only
def test(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Request a connection test from a trading process; it places no order."""
    user = current_user(request)
    find(request, pk)
    back = address(pk) + "#checks"
    if request.POST.get("back") in FORM_PAGES:  # asked for beside a form: its result appears there
        back = reverse(FORM_PAGES[request.POST["back"]], args=[pk])
    return run_action(request, lambda: request_test(pk, user), back=back)


def request_test(pk: UUID, user: User) -> str:
    """Request a test and enqueue it on commit; return a sentence about it."""
    services.request_test(pk, by=user)
    transaction.on_commit(lambda: tasks.enqueue_test(pk))
    return "The test is requested; its checks appear below."


@tenants_only
def pause(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Pause an account without a question: nothing is sent, and one click resumes it."""
    user = current_user(request)
    name = find(request, pk).connection.name
    return run_action(request, lambda: _pause(pk, name, user), back=address(pk))


def _pause(pk: UUID, name: str, user: User) -> str:
    if not services.pause(pk, by=user):
        return f"{name} is already paused."
    return f"{name} is paused: new signals are skipped, open positions keep their stops."


@tenants_only
def resume(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Resume a paused account."""
    user = current_user(request)
    row = find(request, pk).connection
    return run_action(request, lambda: _resume(row, user), back=address(pk))


def _resume(row: ExecutionConnection, user: User) -> str:
    if not services.resume(row.pk, by=user):
        return f"{row.name} was not paused."
    return f"{row.name} is resumed. {resume_message(row)}"


@tenants_only
def switch_on(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Switch on an account that an operator or the API switched off."""
    user = current_user(request)
    row = find(request, pk).connection
    return run_action(request, lambda: _switch_on(row, user), back=address(pk))


def _switch_on(row: ExecutionConnection, user: User) -> str:
    if not services.activate(row.pk, by=user):
        return f"{row.name} is already switched on."
    return f"{row.name} is switched on. {resume_message(row)}"


@tenants_only
def own_prices(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Use the prices of the account's own broker, without a question: it is easily undone."""
    user = current_user(request)
    name = find(request, pk).connection.name
    return run_action(request, lambda: _own_prices(pk, name, user), back=address(pk) + "#prices")


@tenants_only
def fallback(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Choose the source that stands in while the account's own is silent, without a question."""
    user, source = current_user(request), find(request, pk).connection.data_connection
    return run_action(
        request, lambda: _fallback(request, source, user), back=address(pk) + "#prices"
    )


def _fallback(request: HttpRequest, source: DataConnection | None, user: User) -> str:
    if source is None:
        raise ConflictError(Code.STATE_CONFLICT, "The account has no price source.")
    chosen = request.POST.get("fallback", "")
    if chosen and not (chosen.isascii() and chosen.isdigit() and len(chosen) < 18):
        raise InvalidInputError(Code.FIELD_INVALID, "Choose one of the list.", field="fallback")
    set_fallback(source.pk, int(chosen) if chosen else None, by=user)
    return f"{source.name}: its fallback is changed." if chosen else f"{source.name}: no fallback."


def _own_prices(pk: UUID, name: str, user: User) -> str:
    use_own_prices(pk, by=user)
    return f"{name} uses its own broker's prices from the next signal on."
