"""The first page: what everything is worth, what is open, what needs somebody; pause and resume."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from analytics.days import latest_day
from analytics.selectors import equity_curve
from common.clocks import market_now
from common.confirmation import ConfirmationPage, Consequence
from common.formatting import number, signed
from connections import services
from connections.models import HaltMode, KillSwitch
from execution import services as trading
from execution import tasks
from execution.models import AT_BROKER, Order
from execution.monitoring.scan_heartbeat import scan_status
from portal import charts
from portal.forms import PauseForm
from portal.pages import confirm, current_user, page, panel, tenants_only
from portal.selectors.accounts import Account, accounts_of
from portal.selectors.feeds import subscriptions_of
from portal.selectors.positions import open_positions
from portal.selectors.results import currency_summaries
from portal.selectors.signals import published_to, signal_summaries
from users.models import User

LAST_SIGNALS, CURVE_DAYS = 6, 30


def _board(user: User) -> dict[str, Any]:
    accounts, held = accounts_of(user), open_positions(user)
    naked = [one for one in held if one.is_unprotected]
    bare = sum(1 for one in held if one.is_without_stop)
    return {
        "accounts": accounts,
        "trading": sum(1 for account in accounts if not account.reason),
        "held": held,
        "naked": naked,
        "without_stop": bare,
        "protected": len(held) - bare,
        "summaries": currency_summaries(accounts, held),
        "last": signal_summaries(user, list(published_to(user)[:LAST_SIGNALS])),
        "takes": subscriptions_of(user).count() if accounts else 0,
        "at": market_now(),
    }


@tenants_only
def overview(request: HttpRequest) -> HttpResponse:
    """The page itself."""
    board = _board(current_user(request))
    return page(
        request,
        "overview.html",
        **board,
        curves=_curves(board["accounts"]),
        curves_until=market_now(),
    )


@tenants_only
def scan_alarm(request: HttpRequest) -> HttpResponse:
    """The alarms of every page: levels are not scanned, or the scheduler has stopped."""
    return panel(request, "parts/scan_alarm.html", scan=scan_status())


@tenants_only
def live(request: HttpRequest) -> HttpResponse:
    """The part of the page that moves, asked for every few seconds."""
    return panel(request, "overview/live.html", **_board(current_user(request)))


def _curves(accounts: list[Account]) -> list[dict[str, Any]]:
    """The running result of each currency, real money and paper apart."""
    end = latest_day(market_now())
    start = end - timedelta(days=CURVE_DAYS)
    drawn = []
    for is_paper in (False, True):
        ids = [a.connection.pk for a in accounts if a.is_paper is is_paper]
        for currency, points in (equity_curve(ids, start, end) if ids else {}).items():
            total = points[-1].total
            words = (
                f"Net result of closed trades, {points[0].day:%-d %b} to {points[-1].day:%-d %b}: "
                f"{signed(total)} {currency}."
            )
            begun = [(points[0].day - timedelta(days=1), Decimal(0))]
            chart = charts.line([*begun, *((p.day, p.total) for p in points)], description=words)
            drawn.append(
                {"currency": currency, "is_paper": is_paper, "chart": chart, "total": total,
                 "fall": max(point.below_peak for point in points)}
            )  # fmt: skip
    return drawn


def _working(user: User) -> QuerySet[Order]:
    """Entries that rest at a broker."""
    entries = Order.objects.filter(connection__user=user, status__in=AT_BROKER)
    return entries.entries()


@tenants_only
def pause(request: HttpRequest) -> HttpResponse:
    """Ask, then let no entry out of any account until it is resumed."""
    user = current_user(request)
    working = _working(user).count()
    form = PauseForm(request.POST or None) if working else None
    if form is not None:
        form.fields[
            "cancel_working"
        ].label = (
            f"Cancel the {_many(working, 'entry that works', 'entries that work')} at a broker, too"
        )
    question = ConfirmationPage(
        title="Pause everything?",
        points=_pause_consequences(user),
        button=f"Pause {_many(len(accounts_of(user)), 'account', 'accounts')}",
        back=reverse("portal:overview"),
        form=form,
        keep="Keep trading",
    )

    def act() -> str:
        cancel = form is not None and form.cleaned_data["cancel_working"]
        return _pause(user, cancel=cancel)

    return confirm(request, question, act)


def _pause_consequences(user: User) -> list[Consequence]:
    held = open_positions(user)
    naked = sum(1 for one in held if one.is_without_stop)
    stay = f"Your {_many(len(held), 'open position stays', 'open positions stay')} open"
    bare = f" {naked} of them without a stop." if naked else ""
    return [
        Consequence("paused", "No new entry is sent, on any of your accounts; also none that is "
                              "being "
              "prepared now. It is looked at again right before each send."),
        Consequence("safe", f"{stay}, and every stop, target and close keeps "
                            f"working.{bare}" if held else
              "You have no open position. Every exit would keep working."),
        Consequence("skipped", "Signals published meanwhile are listed as skipped. They are not "
                               "made up "
              "for later."),
    ]  # fmt: skip


def _pause(user: User, *, cancel: bool) -> str:
    services.set_kill_switch(
        scope=KillSwitch.Scope.USER, mode=HaltMode.REDUCING, reason="Paused in the portal",
        by=user, user_id=user.pk,
    )  # fmt: skip
    asked_for = 0
    if cancel:
        for order_id in _working(user).values_list("pk", flat=True):
            trading.cancel_order(order_id, by=user)
            asked_for += 1
        tasks.enqueue_pending_actions_on_commit()
    told = f" {_many(asked_for, 'cancel is', 'cancels are')} being asked for." if asked_for else ""
    return f"Everything is paused; exits go on.{told}"


@tenants_only
def resume(request: HttpRequest) -> HttpResponse:
    """Ask, then take signals again. Accounts that were paused by themselves stay so."""
    user = current_user(request)
    mine = KillSwitch.objects.filter(user=user, set_by=user, released_at=None)
    accounts = accounts_of(user)
    alone = sum(1 for account in accounts if account.connection.is_paused)
    points = [
        Consequence("submitted", "Your accounts take the next signal that is published. What was "
                                 "skipped "
              "is not made up for."),
    ]  # fmt: skip
    if alone:
        points.append(Consequence("paused", f"{_many(alone, 'account', 'accounts')} that you "
                                            f"paused one "
                            "by one stay paused."))  # fmt: skip
    question = ConfirmationPage("Resume "
                                "trading?", points, "Resume", reverse("portal:overview"), False,
                        keep="Stay paused")  # fmt: skip

    def act() -> str:
        ids = list(mine.values_list("pk", flat=True))
        won = [services.release_kill_switch(pk, by=user) for pk in ids]
        return "Resumed: the next signal is taken." if any(won) else "Nothing was paused by you."

    return confirm(request, question, act)


def _many(count: int, one: str, several: str) -> str:
    return f"{number(count)} {one if count == 1 else several}"
