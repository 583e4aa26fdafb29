"""Open and closed positions, and closing one after a confirmation."""

from decimal import Decimal
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.confirmation import ConfirmationPage
from execution import services, tasks
from execution.exits.forms import CloseForm, close_consequences
from portal.pages import confirm, current_user, page, tenants_only
from portal.selectors.accounts import accounts_of
from portal.selectors.positions import PositionView, positions_of
from positions.selectors import with_prices
from users.models import User

PAGE_SIZE = 30
REFRESH_SECONDS = {"open": 5, "closed": 15}


@tenants_only
def positions(request: HttpRequest) -> HttpResponse:
    """List positions by state, account and pair."""
    user, filters = current_user(request), request.GET
    mine = positions_of(user)
    counts = {"open": mine.open().count(), "closed": mine.closed().count()}
    state = "closed" if filters.get("state") == "closed" else "open"
    found = mine.closed().order_by("-closed_at", "-pk") if state == "closed" else mine.open()
    accounts = accounts_of(user)
    if account := filters.get("account"):
        known = {str(one.connection.pk) for one in accounts}
        found = found.filter(connection=UUID(account)) if account in known else found.none()
    if pair := filters.get("pair", "").strip().upper():
        found = found.filter(pair__icontains=pair)
    one_page = Paginator(found if state == "closed" else with_prices(found), PAGE_SIZE).get_page(
        filters.get("page")
    )
    return page(
        request, "positions.html", state=state, counts=counts, accounts=accounts, filters=filters,
        one_page=one_page, held=[PositionView(row) for row in one_page],
        refresh_seconds=REFRESH_SECONDS[state],
    )  # fmt: skip


@tenants_only
def close(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ask how much, then create an exit order and enqueue it."""
    user = current_user(request)
    position = with_prices(positions_of(user)).filter(pk=pk).first()
    if position is None:
        raise Http404
    held = PositionView(position)
    if held.free <= 0:
        messages.info(request, "It is already closed or being closed; nothing was sent.")
        return HttpResponseRedirect(reverse("portal:positions"))
    form = CloseForm(request.POST if request.method == "POST" else None)
    account = position.connection.name
    question = ConfirmationPage(
        title=f"Close {position.pair} {held.direction} at {account}?",
        points=close_consequences(position, currency=held.currency),
        button="Close it",
        back=reverse("portal:positions"),
        form=form,
        keep="Keep it",
    )
    return confirm(request, question, lambda: _close(held, form, user))


def _close(held: PositionView, form: CloseForm, user: User) -> str:
    order_id = services.close_position(
        held.position.pk,
        fraction=Decimal(form.cleaned_data["fraction"]),
        by=user,
    )
    if order_id is None:
        return "It was already closed or being closed; nothing was sent."
    tasks.enqueue_on_commit([order_id], queue=tasks.EXITS)
    return (
        f"{held.position.pair} is being closed. The position disappears once the close is filled."
    )
