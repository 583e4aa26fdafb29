"""One position: its page, and moving its levels, break-even, trailing and closing a part of it.

Each action shows what it will send before it does. A position that has changed since is shown
again first, so that two tabs do not undo each other.
"""

from collections.abc import Callable
from decimal import Decimal

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from analytics.what_if.position_outlook import (
    Surroundings,
    close_part_consequences,
    exit_obstacles,
    fractions_text,
    level_consequences,
    trailing_consequences,
)
from common.errors import FillcastError
from common.money import plain
from common.stop_rules import ATR
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from common.web.formatting import quantity
from execution import services, tasks
from execution.changes.position_levels import break_even_level, steps_of
from execution.changes.position_trailing import trailing_text
from execution.exits.orders import ExitRequest, exitable
from portal.pages import current_user, page, tenants_only
from portal.position_forms import (
    BreakEvenForm,
    ClosePartForm,
    LevelsForm,
    PositionForm,
    TrailingForm,
    asked_of,
)
from portal.selectors.position import log_lines, position_of, position_page, surroundings
from portal.selectors.positions import PositionView
from positions.stop_rules import price_distance

OPEN_SECONDS, CLOSED_SECONDS = 3, 0
Points = Callable[[], list[Consequence]]


@tenants_only
def position(request: HttpRequest, *, pk: int) -> HttpResponse:
    """One position: figures, levels, the orders around it, and what happened."""
    view = _found(request, pk)
    found = position_page(view)
    return page(
        request,
        "position.html",
        found=found,
        one=view,
        p=view.position,
        figures=found.around.figures,
        obstacles=exit_obstacles(found.around) if view.position.is_open else [],
        lines=log_lines(found),
        refresh_seconds=OPEN_SECONDS if view.position.is_open else CLOSED_SECONDS,
    )


@tenants_only
def levels(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Move the stop or the target of a position, or remove one."""
    view, user = _found(request, pk), current_user(request)
    form = LevelsForm(view.position, _data(request, LevelsForm))

    def move() -> str:
        stop, target = form.levels()
        services.modify_position(pk, stop_loss=stop, take_profit=target, by=user)
        tasks.enqueue_pending_actions_on_commit()
        return (
            f"The stop is {plain(stop) or 'removed'}, the target {plain(target) or 'removed'}. "
            "They count now; the page shows when the broker has confirmed them."
            if stop is None or target is None
            else f"The stop is {plain(stop)} and the target {plain(target)}. They count now."
        )

    def points(around: Surroundings) -> list[Consequence]:
        stop, target = form.levels()
        return level_consequences(around, stop_loss=stop, take_profit=target)

    return _ask(request, view, form, points, move, title="Move stop or target", button="Move it")


@tenants_only
def break_even(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Move the stop of a position to its entry price."""
    view, user = _found(request, pk), current_user(request)
    form = BreakEvenForm(view.position, _data(request, BreakEvenForm) or {"offset": "", "unit": ""})

    def offset() -> Decimal:
        return form.cleaned_data["offset"] or Decimal(0)

    def move() -> str:
        unit = form.cleaned_data["unit"]
        level = services.move_to_break_even(pk, offset=offset(), unit=unit, by=user)
        tasks.enqueue_pending_actions_on_commit()
        return f"The stop is at {plain(level)} now, and counts at once."

    def points(around: Surroundings) -> list[Consequence]:
        steps = steps_of(view.position, around.instrument)
        unit = form.cleaned_data["unit"]
        level = break_even_level(view.position, steps, offset=offset(), unit=unit)
        return level_consequences(around, stop_loss=level, take_profit=view.position.tp)

    return _ask(
        request, view, form, points, move, title="Stop to break-even", button="Move the stop"
    )


@tenants_only
def trailing(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let the stop of a position trail, or end that."""
    view, user = _found(request, pk), current_user(request)
    form = TrailingForm(view.position, _data(request, TrailingForm))

    def apply() -> str:
        if form.ends:
            services.end_trailing(pk, by=user)
            return "The stop does not trail any more; it stays where it is."
        services.set_trailing(pk, form.trailing(), by=user)
        return f"The stop {trailing_text(view.position.pair, form.trailing())}, from now on."

    def points(around: Surroundings) -> list[Consequence]:
        if form.ends:
            stop = plain(view.position.sl) or "none"
            text = f"Sends nothing. The stop stays at {stop}; a break-even rule stays."
            return [Consequence("safe", text)]
        return _trailing_points(around, form)

    return _ask(request, view, form, points, apply, title="Trailing stop", button="Set it")


def _trailing_points(around: Surroundings, form: TrailingForm) -> list[Consequence]:
    held, rule = around.position, form.trailing()
    steps = steps_of(held, around.instrument)

    def in_price(value: Decimal | None) -> Decimal | None:
        if value is None or rule.unit == ATR:
            return None
        return price_distance(
            value, rule.unit, pair=held.pair, price=held.entry_price, pip=held.pip,
            tick=steps.tick,
        )  # fmt: skip

    return trailing_consequences(
        around,
        trailing_text(held.pair, rule),
        distance=in_price(rule.distance),
        activation=in_price(rule.activation),
    )


@tenants_only
def close_part(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Close a quantity of a position."""
    view, user = _found(request, pk), current_user(request)
    if view.free <= 0:
        messages.info(request, "It is already closed or being closed; nothing was sent.")
        return HttpResponseRedirect(_back(pk))
    form = ClosePartForm(view.position, _data(request, ClosePartForm))
    now = exitable(pk)
    form.fields["amount"].help_text = (
        f"Units; {quantity(view.free, view.position.pair)} can be closed. "
        f"{fractions_text(now, view.position.pair)}"
    )

    def close() -> str:
        order_ids = services.close_position(pk, quantity=form.cleaned_data["amount"], by=user)
        if not order_ids:
            return "It was already closed or being closed; nothing was sent."
        tasks.enqueue_on_commit(order_ids, queue=tasks.EXITS)
        return "The part is being closed; it is listed under the orders below."

    def points(around: Surroundings) -> list[Consequence]:
        request_ = ExitRequest(pk, "close", quantity=form.cleaned_data["amount"])
        return close_part_consequences(around, now, request_)

    return _ask(request, view, form, points, close, title="Close a part", button="Close this part")


def _ask(
    request: HttpRequest, view: PositionView, form: PositionForm,
    points: Callable[[Surroundings], list[Consequence]], act: Callable[[], str],
    *, title: str, button: str,
) -> HttpResponse:  # fmt: skip
    """Show the form; then what it will do; then do it, if nothing has changed meanwhile.

    What it will do has an address with what was typed: Back and a reload send nothing again.
    """
    back = _back(view.position.pk)
    if not view.position.is_open:
        messages.info(request, "The position is closed, so there is nothing to change.")
        return HttpResponseRedirect(back)
    around = surroundings(view)
    is_answer, shown = request.method == "POST", list[Consequence]()
    is_valid = form.is_bound and form.is_valid()
    if is_valid and is_answer and form.is_seen():
        error = _try(lambda: _confirmed(request, form, act))
        if error is None:
            return HttpResponseRedirect(back)
        add_form_error(form, error)
        is_valid = False
    elif is_valid and (error := _try(act, undo=True)) is not None:
        add_form_error(form, error)
        is_valid = False
    if is_valid and is_answer:
        return HttpResponseRedirect(f"{request.path}{form.address_of_typed()}")
    if is_valid:
        shown = points(around)
        form.mark_as_seen()
    elif form.is_bound:
        form.data = {**{name: form.data.get(name, "") for name in form.data}, "shown": ""}
    account = view.position.connection.name
    question = ConfirmationPage(
        title=f"{title}: {view.position.pair} {view.direction} at {account}",
        points=shown or [Consequence("pending", "Enter what you want; then you see what is sent.")],
        button=button if shown else "Show what will be sent",
        back=back,
        danger=bool(shown),
        form=form,
        decline_label="Back to the position",
        only_shows=not shown,
        action=request.path,
    )
    status = 422 if is_answer and not is_valid else 200
    return page(request, "confirm.html", question=question, status=status)


def _confirmed(request: HttpRequest, form: PositionForm, act: Callable[[], str]) -> None:
    form.require_unchanged()
    messages.success(request, act())


def _try(act: Callable[[], object], *, undo: bool = False) -> FillcastError | None:
    """Act in a transaction; return why it was refused. undo: only try, and take it back."""
    try:
        with transaction.atomic():
            act()
            transaction.set_rollback(undo)
    except FillcastError as error:
        return error
    return None


def _found(request: HttpRequest, pk: int) -> PositionView:
    view = position_of(current_user(request), pk)
    if view is None:
        raise Http404
    return view


def _data(request: HttpRequest, form: type[PositionForm]) -> object:
    return request.POST if request.method == "POST" else asked_of(request.GET, form)


def _back(pk: int) -> str:
    return reverse("portal:position", args=[pk])
