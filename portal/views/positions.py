"""Open and closed positions, and closing one or all after a confirmation."""

from decimal import Decimal

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from analytics.history.open_tables import OPEN_TABLES
from analytics.orders.scoped_results import positions_of_exits
from analytics.what_if.position_outlook import exit_obstacles, fractions_text, halted_text
from common.errors import ConflictError
from common.money import plain
from common.reason_codes import Code
from common.web.confirmation import ConfirmationPage, Consequence
from common.web.list_filters import by_account_and_pair
from execution import services, tasks
from execution.base.kill_switch import read_halts
from execution.exits.forms import CloseForm, close_all_consequences, close_consequences
from execution.exits.orders import exitable
from portal.files import csv_file
from portal.forms import ShownPositionsForm
from portal.named_accounts import unknown_account
from portal.pages import confirm, current_user, page, tenants_only
from portal.selectors.accounts import accounts_of
from portal.selectors.position import position_of, surroundings
from portal.selectors.positions import PositionView, positions_of
from positions.models import PositionQuerySet
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
    found = by_account_and_pair(found, filters)
    ids = found.values_list("pk", flat=True)  # only those of the page are priced
    one_page = Paginator(ids, PAGE_SIZE).get_page(filters.get("page"))
    shown = found.filter(pk__in=list(one_page))
    rows = shown if state == "closed" else with_prices(shown)
    return page(
        request, "positions.html", state=state, counts=counts, accounts=accounts, filters=filters,
        one_page=one_page, positions=[PositionView(row) for row in rows],
        refresh_seconds=REFRESH_SECONDS[state],
    )  # fmt: skip


@tenants_only
def export(request: HttpRequest) -> HttpResponse:
    """Download all open positions that match as CSV, streamed."""
    rows = OPEN_TABLES["open-positions"].rows(current_user(request), request.GET)
    return csv_file(rows, name="open-positions")


@tenants_only
def close_all(request: HttpRequest) -> HttpResponse:
    """Ask, then close the positions that the question showed: by default those of the list."""
    if (unknown := unknown_account(request)) is not None:
        return unknown
    user, filters = current_user(request), request.GET
    back = f"{reverse('portal:positions')}?{filters.urlencode()}".rstrip("?")
    listed = _closable(by_account_and_pair(positions_of(user).open(), filters))
    changed = ""
    if request.method == "POST":
        form = ShownPositionsForm(request.POST)
        shown = form.cleaned_data["positions"] if form.is_valid() else set()
        closable = _closable(positions_of(user).open().filter(pk__in=shown))
        changed = _changed_since(
            opened=sum(view.position.pk not in shown for view in listed),
            closed=len(shown) - len(closable),
        )
    else:
        closable = listed
        ids = sorted(view.position.pk for view in closable)
        form = ShownPositionsForm(initial={"positions": ",".join(map(str, ids))})
    if not closable:
        messages.info(request, "Nothing of that is open, or it is being closed already.")
        return HttpResponseRedirect(back)
    number = len(closable)
    question = ConfirmationPage(
        title=f"Close {'this position' if number == 1 else f'these {number} positions'}?",
        points=[
            *close_all_consequences(
                [(view.position, view.position.connection.name, view.currency) for view in closable]
            ),
            *halted_text([view.position for view in closable], read_halts()),
        ],
        button="Close it" if number == 1 else f"Close all {number}",
        back=back,
        form=form,
        decline_label="Keep it" if number == 1 else "Keep them",
    )
    return confirm(request, question, lambda: _close_all(closable, changed, user))


def _closable(found: PositionQuerySet) -> list[PositionView]:
    """Return the positions of which something is left that no exit closes already."""
    return [view for view in map(PositionView, with_prices(found)) if view.free > 0]


def _changed_since(*, opened: int, closed: int) -> str:
    """Return what differs from the question, for the report; "" if nothing does."""
    notes = [f"{opened} opened since you were asked, and stay."] if opened else []
    notes += [f"{closed} closed since you were asked."] if closed else []
    return "".join(f" {note}" for note in notes)


def _close_all(views: list[PositionView], changed: str, user: User) -> str:
    ids = services.close_positions([view.position.pk for view in views], by=user)
    tasks.enqueue_on_commit(ids, queue=tasks.EXITS)
    if not ids:
        return "They were already closed or being closed; nothing was sent."
    count = positions_of_exits(ids)
    is_one = count == 1
    return (
        f"{'1 position is' if is_one else f'{count} positions are'} being closed. "
        f"{'It disappears' if is_one else 'They disappear'} once the close is filled.{changed}"
    )


@tenants_only
def close(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ask how much, then create an exit order and enqueue it."""
    user = current_user(request)
    view = position_of(user, pk)
    if view is None:
        raise Http404
    if view.free <= 0:
        messages.info(request, "It is already closed or being closed; nothing was sent.")
        return HttpResponseRedirect(reverse("portal:positions"))
    shown = {"shown": plain(view.free)}
    form = CloseShownForm(request.POST if request.method == "POST" else None, initial=shown)
    position = view.position
    sizes = fractions_text(exitable(pk), position.pair)
    question = ConfirmationPage(
        title=f"Close {position.pair} {view.direction} at {position.connection.name}?",
        points=[
            *close_consequences(position, currency=view.currency),
            Consequence("validated", sizes),
            *exit_obstacles(surroundings(view)),
        ],
        button="Close it",
        back=reverse("portal:positions"),
        form=form,
        decline_label="Keep it",
    )

    def act() -> str:
        if (changed := form.changed_to(view.free)) is not None:
            form.data = {**{name: form.data.get(name, "") for name in form.data}, **shown}
            raise ConflictError(Code.CHANGED_SINCE_SHOWN, changed)
        return _close(view, form, user)

    return confirm(request, question, act)


class CloseShownForm(CloseForm):
    """How much of a position to close, and how much could be closed when the page was shown."""

    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def changed_to(self, free: Decimal) -> str | None:
        """Return what differs from what the page showed; None: nothing."""
        shown = self.cleaned_data["shown"]
        if not shown or shown == plain(free):
            return None
        return (
            f"Since you were shown it, what can be closed was {shown} and is {plain(free)}. Confirm"
            " again, if you still want it."
        )


def _close(view: PositionView, form: CloseForm, user: User) -> str:
    order_ids = services.close_position(
        view.position.pk,
        fraction=Decimal(form.cleaned_data["fraction"]),
        by=user,
    )
    if not order_ids:
        return "It was already closed or being closed; nothing was sent."
    tasks.enqueue_on_commit(order_ids, queue=tasks.EXITS)
    return (
        f"{view.position.pair} is being closed. The position disappears once the close is filled."
    )
