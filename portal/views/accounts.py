"""Accounts: the list, one account with its health and last test, and its pauses."""

from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from common.formatting import sentence
from connections import services, tasks
from connections.models import ExecutionConnection
from connections.selectors import resume_message
from connections.services import use_own_prices
from execution.models import DriftItem, Order
from execution.reconciliation import presentation as drift_words
from portal.order_explanations import explain
from portal.pages import current_user, page, panel, run_action, tenants_only
from portal.selectors.accounts import Account, account_of, accounts_of
from portal.selectors.feeds import subscriptions_of
from portal.selectors.prices import prices_of
from users.models import User

LAST = 8


def find(request: HttpRequest, pk: UUID) -> Account:
    """The tenant's own account. Raises Http404 for any other."""
    found = account_of(current_user(request), pk)
    if found is None:
        raise Http404
    return found


def address(pk: UUID) -> str:
    return reverse("portal:account", args=[pk])


@tenants_only
def accounts(request: HttpRequest) -> HttpResponse:
    """All of them, with what is to be done."""
    return page(request, "accounts.html", accounts=accounts_of(current_user(request)))


@tenants_only
def account(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """One account."""
    found = find(request, pk)
    orders = Order.objects.filter(connection_id=pk).select_related("signal").order_by("-pk")[:LAST]
    return page(
        request,
        "account.html",
        account=found,
        prices=prices_of(found.connection, current_user(request)),
        orders=[(order, explain(order)) for order in orders],
        subscriptions=subscriptions_of(current_user(request)).filter(connection=pk),
        differences=[
            (item, sentence(item.kind), drift_words.summary(item))
            for item in DriftItem.objects.filter(connection=pk, state=DriftItem.State.OPEN)
        ],
    )


@tenants_only
def live(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Its health and the checks of its last test, asked for while a test runs."""
    return panel(request, "account/live.html", account=find(request, pk))


@tenants_only
def test(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Have a trading process test the account; nothing is traded."""
    user = current_user(request)
    find(request, pk)
    return run_action(request, lambda: _request_test(pk, user), back=address(pk) + "#checks")


def _request_test(pk: UUID, user: User) -> str:
    services.request_test(pk, by=user)
    transaction.on_commit(lambda: tasks.enqueue_test(pk))
    return "The account is being tested; the checks appear below by themselves."


@tenants_only
def pause(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Take no entries; it needs no question, since nothing is sent and one click takes it back."""
    user = current_user(request)
    name = find(request, pk).connection.name
    return run_action(request, lambda: _pause(pk, name, user), back=address(pk))


def _pause(pk: UUID, name: str, user: User) -> str:
    if not services.pause(pk, by=user):
        return f"{name} was paused already."
    return f"{name} is paused: new signals are skipped, open positions keep their stops."


@tenants_only
def resume(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Take signals again."""
    user = current_user(request)
    row = find(request, pk).connection
    return run_action(request, lambda: _resume(row, user), back=address(pk))


def _resume(row: ExecutionConnection, user: User) -> str:
    if not services.resume(row.pk, by=user):
        return f"{row.name} was not paused."
    return f"{row.name} is resumed. {resume_message(row)}"


@tenants_only
def switch_on(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Take signals again, where it was switched off by an operator or the API."""
    user = current_user(request)
    row = find(request, pk).connection
    return run_action(request, lambda: _switch_on(row, user), back=address(pk))


def _switch_on(row: ExecutionConnection, user: User) -> str:
    if not services.activate(row.pk, by=user):
        return f"{row.name} was switched on already."
    return f"{row.name} is switched on. {resume_message(row)}"


@tenants_only
def own_prices(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Let its own broker tell its prices; it needs no question, another source is a click away."""
    user = current_user(request)
    name = find(request, pk).connection.name
    return run_action(request, lambda: _own_prices(pk, name, user), back=address(pk) + "#prices")


def _own_prices(pk: UUID, name: str, user: User) -> str:
    use_own_prices(pk, by=user)
    return f"{name} goes by what its own broker tells, from the next signal on."
