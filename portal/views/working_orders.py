"""Working orders on all accounts: the list, and cancelling what it shows."""

from collections import Counter

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from analytics.history.open_tables import OPEN_TABLES
from analytics.orders.working import (
    KINDS,
    WorkingOrder,
    cancellable_entries,
    filtered,
    needs_attention_first,
    with_market,
    working_orders,
)
from common.web.confirmation import ConfirmationPage, Consequence
from common.web.formatting import join_first, number
from connections.models import ExecutionConnection
from execution import services, tasks
from execution.models import Order, Status
from portal.files import csv_file
from portal.forms import ShownOrdersForm
from portal.named_accounts import unknown_account
from portal.pages import confirm, current_user, page, tenants_only
from signals.models import Feed
from users.models import User

A_PAGE, REFRESH_SECONDS, MAX_NAMED = 30, 5, 12


@tenants_only
def orders(request: HttpRequest) -> HttpResponse:
    """List working orders by account, pair, feed and kind."""
    user, filters = current_user(request), request.GET
    mine = working_orders(user)
    accounts = ExecutionConnection.objects.live().of(user.pk).order_by("name").values("pk", "name")
    known = Q(subscriptions__connection__user=user) | Q(owner=user)
    feeds = Feed.objects.filter(known).order_by("name").values_list("slug", "name").distinct()
    found = needs_attention_first(filtered(mine, filters)).values_list("pk", flat=True)
    one_page = Paginator(found, A_PAGE).get_page(filters.get("page"))  # ids: quick to sort
    rows = needs_attention_first(with_market(Order.objects.filter(pk__in=list(one_page))))
    return page(
        request, "working_orders.html", accounts=accounts, filters=filters, kinds=KINDS,
        feeds=feeds, one_page=one_page,
        orders=[WorkingOrder(row) for row in rows], refresh_seconds=REFRESH_SECONDS,
        is_filtered=any(filters.get(name) for name in ("account", "pair", "feed", "kind")),
    )  # fmt: skip


@tenants_only
def export(request: HttpRequest) -> HttpResponse:
    """Download all working orders that match as CSV, streamed."""
    rows = OPEN_TABLES["working-orders"].rows(current_user(request), request.GET)
    return csv_file(rows, name="working-orders")


@tenants_only
def cancel_all(request: HttpRequest) -> HttpResponse:
    """Ask, then cancel the entries that the question showed: those of the list."""
    if (unknown := unknown_account(request)) is not None:
        return unknown
    user, filters = current_user(request), request.GET
    back = f"{reverse('portal:working_orders')}?{filters.urlencode()}".rstrip("?")
    listed = cancellable_entries(filtered(working_orders(user), filters))
    changed = ""
    if request.method == "POST":
        form = ShownOrdersForm(request.POST)
        shown = form.cleaned_data["orders"] if form.is_valid() else set()
        chosen = list(_named(cancellable_entries(working_orders(user).filter(pk__in=shown))))
        appeared = listed.exclude(pk__in=shown).count()
        changed = _changed_since(appeared=appeared, ended=len(shown) - len(chosen))
    else:
        chosen = list(_named(listed))
        ids = sorted(order.pk for order in chosen)
        form = ShownOrdersForm(initial={"orders": ",".join(map(str, ids))})
    if not chosen:
        messages.info(request, "No entry of that can be cancelled any more; nothing was sent.")
        return HttpResponseRedirect(back)
    is_one = len(chosen) == 1
    question = ConfirmationPage(
        title=f"Cancel {'this entry' if is_one else f'these {number(len(chosen))} entries'}?",
        points=_points(chosen),
        button="Cancel it" if is_one else f"Cancel all {number(len(chosen))}",
        back=back,
        form=form,
        decline_label="Keep it" if is_one else "Keep them",
    )
    return confirm(request, question, lambda: _cancel(chosen, changed, user))


def _named(orders: QuerySet[Order]) -> QuerySet[Order]:
    return orders.select_related("connection").only(
        "pair", "side", "status", "filled_quantity", "connection__name"
    )


def _points(orders: list[Order]) -> list[Consequence]:
    """Return what cancelling does, with the orders that it is about."""
    names = Counter(
        f"{order.side.lower()} {order.pair} at {order.connection.name}" for order in orders
    )
    listed = join_first([f"{name} ({n})" for name, n in sorted(names.items())], MAX_NAMED)
    unsent = sum(order.status == Status.PENDING for order in orders)
    found = [Consequence("cancelreq", f"{listed}.")]
    if unsent:
        found.append(
            Consequence(
                "cancelled", f"Not sent yet: {number(unsent)}. They end and are never sent."
            )
        )
    if sent := len(orders) - unsent:
        text = (
            f"At brokers: {number(sent)}. Each broker is asked to cancel; an order may still fill"
            " first. While a broker does not answer, it is asked again, without a time limit."
        )
        found.append(Consequence("submitting", text))
    found.append(Consequence("filled", "What has filled stays open with its stop."))
    found.append(Consequence("safe", "Exits, stops and targets stay."))
    return found


def _changed_since(*, appeared: int, ended: int) -> str:
    notes = [f"{appeared} appeared since you were asked, and stay."] if appeared else []
    notes += [f"{ended} ended since you were asked."] if ended > 0 else []
    return "".join(f" {note}" for note in notes)


def _cancel(orders: list[Order], changed: str, user: User) -> str:
    done = services.cancel_orders([order.pk for order in orders], by=user)
    tasks.enqueue_pending_actions_on_commit()
    if not done:
        return "They had ended already; nothing was sent."
    count = "1 entry is" if len(done) == 1 else f"{number(len(done))} entries are"
    return f"{count} cancelled, or being cancelled at the broker.{changed}"
