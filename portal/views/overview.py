"""The overview: equity, open positions and what needs attention; pause and resume."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from analytics.orders.halt_texts import RELEASE_RULE, halt_lines
from analytics.selectors import equity_curves
from common.clocks import market_now
from common.web.confirmation import ConfirmationPage, Consequence
from common.web.formatting import gain_amount, number
from connections import services
from connections.models import HaltMode, KillSwitch
from connections.services import HaltTarget
from connections.trading_day import latest_date
from execution import tasks
from execution.monitoring.scan_heartbeat import scan_status
from execution.services import HaltImpact, halt_impact
from portal import charts
from portal.forms import PaperForm, PauseForm
from portal.pages import confirm, current_user, page, panel, tenants_only
from portal.selectors.accounts import Account, accounts_of
from portal.selectors.feeds import subscriptions_of
from portal.selectors.first_steps import first_steps, is_complete
from portal.selectors.halts import Halt
from portal.selectors.positions import open_positions
from portal.selectors.results import currency_summaries
from portal.selectors.shell import shell_of
from portal.selectors.signals import last_published_to, signal_summaries
from users.models import User

LAST_SIGNALS, CURVE_DAYS = 6, 30


def _overview(user: User, halts: Sequence[Halt] | None = None) -> dict[str, Any]:
    """Return the template variables of the overview, without the curves. halts: if read already.

    unprotected: positions whose stop is missing. without_stop: those, and those of signals that
    have no stop.
    """
    accounts, positions = accounts_of(user, halts=halts), open_positions(user)
    last = last_published_to(user, LAST_SIGNALS)
    taken = subscriptions_of(user).exclude(demo_only=True)
    subscriptions = taken.count() if accounts else 0
    steps = first_steps(accounts, subscriptions=subscriptions, ran_preflight=user.ran_preflight)
    unprotected = [one for one in positions if one.is_unprotected]
    without_stop = sum(1 for one in positions if one.is_without_stop)
    return {
        "accounts": accounts,
        "trading": sum(1 for account in accounts if not account.reason),
        "positions": positions,
        "unprotected": unprotected,
        "without_stop": without_stop,
        "protected": len(positions) - without_stop,
        "summaries": currency_summaries(
            [account for account in accounts if not account.is_twin],
            [one for one in positions if not one.is_twin],
        ),
        "last": signal_summaries(user, last),
        "subscriptions": subscriptions,
        "steps": steps,
        "is_set_up": is_complete(steps),
        "paper": PaperForm(),
        "at": market_now(),
    }


@tenants_only
def overview(request: HttpRequest) -> HttpResponse:
    shell = shell_of(current_user(request))
    context = _overview(current_user(request), shell.halts)
    return page(
        request,
        "overview.html",
        **context,
        around=shell,
        curves=_curves(context["accounts"]),
        curves_until=market_now(),
    )


@tenants_only
def scan_alarm(request: HttpRequest) -> HttpResponse:
    """The alarms of every page: levels are not scanned, or the scheduler has stopped."""
    return panel(request, "parts/scan_alarm.html", scan=scan_status())


@tenants_only
def live(request: HttpRequest) -> HttpResponse:
    """The part of the page that htmx refreshes every few seconds."""
    return panel(request, "overview/live.html", **_overview(current_user(request)))


def _curves(accounts: list[Account]) -> list[dict[str, Any]]:
    """Return the result curve of each currency, real money and paper apart."""
    end = latest_date(market_now())
    start = end - timedelta(days=CURVE_DAYS)
    drawn = []
    ids = [account.connection.pk for account in accounts if not account.is_twin]
    curves = equity_curves(ids, start, end) if ids else {}
    for (is_paper, currency), points in curves.items():
        total = points[-1].total
        description = (
            f"Net result of closed trades, {points[0].day:%-d %b} to {points[-1].day:%-d %b}: "
            f"{gain_amount(total, currency)}."
        )
        start_at_zero = (points[0].day - timedelta(days=1), Decimal(0))
        line = [start_at_zero, *((point.day, point.total) for point in points)]
        chart = charts.line(line, description=description)
        drawn.append(
            {"currency": currency, "is_paper": is_paper, "chart": chart, "total": total,
             "largest_drawdown": max(point.below_peak for point in points)}
        )  # fmt: skip
    return drawn


@tenants_only
def pause(request: HttpRequest) -> HttpResponse:
    """Confirm, then send no entries for any account until trading is resumed."""
    user = current_user(request)
    impact = halt_impact(HaltTarget(KillSwitch.Scope.USER, user_id=user.pk))
    unfilled = impact.waiting + impact.working
    form = PauseForm(request.POST if request.method == "POST" else None)
    if unfilled:
        entries = _many(unfilled, "entry that has not filled", "entries that have not filled")
        form.fields["cancel_working"].label = f"Also cancel {entries}"
    else:
        del form.fields["cancel_working"]
    if impact.positions:
        positions = _many(impact.positions, "open position", "open positions")
        form.fields["close_positions"].label = f"Also close {positions} at the market"
    else:
        del form.fields["close_positions"]
    question = ConfirmationPage(
        title="Pause everything?",
        points=_pause_consequences(user, impact),
        button=f"Pause {_many(len(accounts_of(user)), 'account', 'accounts')}",
        back=reverse("portal:overview"),
        form=form if form.fields else None,
        decline_label="Keep trading",
    )

    def act() -> str:
        chosen = form.cleaned_data if form.fields else {}  # without a field, it is not validated
        return _pause(
            user,
            cancelled=unfilled if chosen.get("cancel_working") else 0,
            closed=impact.positions if chosen.get("close_positions") else 0,
        )

    return confirm(request, question, act)


def _pause_consequences(user: User, impact: HaltImpact) -> list[Consequence]:
    """Return what a pause does, and what it touches now if nothing else is chosen below."""
    unprotected = sum(1 for one in open_positions(user) if one.is_without_stop)
    lines = halt_lines(
        impact, mode=HaltMode.REDUCING, cancels=False, flattens=False, may_choose=True
    )
    if unprotected:
        text = f"Positions without a stop: {number(unprotected)}. They stay open, too."
        lines.append(Consequence("unprotected", text))
    return [
        Consequence(
            "paused",
            "No new entry is sent on any of your accounts, not even one that is being prepared "
            "now: the pause is checked right before each send.",
        ),
        *lines,
        Consequence(
            "skipped", "Signals published meanwhile are skipped. They are not executed later."
        ),
    ]


def _pause(user: User, *, cancelled: int, closed: int) -> str:
    """Pause everything; also cancel and close what the user chose. The counts are for the text.

    A second pause is set only if it also cancels or closes: one is released like two.
    """
    if not cancelled and not closed and _is_paused(user):
        return "Everything is paused already; exits keep working."
    switch = services.set_kill_switch(
        scope=KillSwitch.Scope.USER, mode=HaltMode.REDUCING, reason="Paused in the portal",
        by=user, user_id=user.pk, cancel_entries=cancelled > 0, flatten=closed > 0,
    )  # fmt: skip
    tasks.enqueue_halt_actions_on_commit(switch)
    entries = _many(cancelled, "entry is", "entries are")
    positions = _many(closed, "position is", "positions are")
    notes = [f" {entries} being cancelled."] if cancelled else []
    notes += [f" {positions} being closed."] if closed else []
    return f"Everything is paused; exits keep working.{''.join(notes)}"


def _own_pauses(user: User) -> QuerySet[KillSwitch]:
    return KillSwitch.objects.filter(user=user, set_by=user, released_at=None)


def _is_paused(user: User) -> bool:
    return _own_pauses(user).filter(mode=HaltMode.REDUCING).exists()


@tenants_only
def resume(request: HttpRequest) -> HttpResponse:
    """Confirm, then resume trading. Accounts that were paused one by one stay paused."""
    user = current_user(request)
    mine = _own_pauses(user)
    accounts = accounts_of(user)
    paused_one_by_one = sum(1 for account in accounts if account.connection.is_paused)
    points = [
        Consequence(
            "submitted",
            f"Your accounts trade from the next signal on. {RELEASE_RULE}",
        ),
    ]
    if paused_one_by_one:
        stay = _many(
            paused_one_by_one, "account that you paused stays", "accounts that you paused stay"
        )
        points.append(Consequence("paused", f"{stay} paused."))
    question = ConfirmationPage(
        "Resume trading?",
        points,
        "Resume",
        reverse("portal:overview"),
        False,
        decline_label="Stay paused",
    )

    def act() -> str:
        ids = list(mine.values_list("pk", flat=True))
        released = [services.release_kill_switch(pk, by=user) for pk in ids]
        return "Resumed from the next signal on." if any(released) else "You had paused nothing."

    return confirm(request, question, act)


def _many(count: int, one: str, several: str) -> str:
    return f"{number(count)} {one if count == 1 else several}"
