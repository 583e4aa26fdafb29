"""The preflight of an account and a feed: ask for it, follow it, look at its result."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.models import Preflight
from analytics.preflight.exports import preflight_rows
from analytics.preflight.services import (
    MOST,
    USUAL,
    feeds_to_replay,
    preflights_of,
    request_preflight,
)
from common.errors import FillcastError
from common.form_fields import Amount, WholeNumberInput
from common.money import plain
from common.web.confirmation import add_form_error
from connections.models import Directions, Subscription
from portal.files import csv_file
from portal.forms import DIRECTIONS
from portal.pages import current_user, page, panel, tenants_only
from portal.selectors.accounts import Account, accounts_of
from portal.selectors.preflight import NOT_COVERED, view_of
from signals.models import Feed


class PreflightForm(forms.Form):
    """The account, and the choices of the subscription that it would get."""

    account = forms.ChoiceField()
    multiplier = Amount(
        label="Size", initial="1",
        help_text="A multiple of the size that the account’s preset gives: 0.5 is half.",
    )  # fmt: skip
    directions = forms.ChoiceField(choices=DIRECTIONS, initial=Directions.BOTH)
    signals = WholeNumberInput(
        label="Signals", min_value=1, max_value=MOST, initial=USUAL,
        help_text=f"How many of the feed’s last signals: 1 to {MOST}.",
    )  # fmt: skip

    def __init__(self, accounts: list[Account], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["account"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(str(a.connection.pk), a.connection.name) for a in accounts]


@tenants_only
def preflight(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Show the last preflight of an account and this feed; POST runs a new one.

    For htmx only the part that changes while it runs.
    """
    user = current_user(request)
    feed: Feed = get_object_or_404(feeds_to_replay(user), slug=slug)
    accounts = [account for account in accounts_of(user) if not account.is_twin]
    if request.method == "POST":
        return _ask(request, feed, accounts)
    account = _chosen(accounts, request.GET.get("account", ""))
    job = _job_of(request, feed, account)
    if request.headers.get("HX-Request"):
        return panel(request, "preflight/body.html", **_context(feed, account, job))
    form = PreflightForm(accounts, initial=_initial(feed, account, job))
    context = _context(feed, account, job)
    return page(request, "preflight.html", form=form, accounts=accounts, **context)


@tenants_only
def export(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Download the signals of the last preflight of an account and this feed as CSV."""
    user = current_user(request)
    feed: Feed = get_object_or_404(feeds_to_replay(user), slug=slug)
    account = _chosen(accounts_of(user), request.GET.get("account", ""))
    view = view_of(_job_of(request, feed, account))
    return csv_file(preflight_rows(view.found if view else None), name=f"preflight-{feed.slug}")


def _ask(request: HttpRequest, feed: Feed, accounts: list[Account]) -> HttpResponse:
    user = current_user(request)
    form = PreflightForm(accounts, request.POST)
    account = _chosen(accounts, request.POST.get("account", ""))
    if form.is_valid():
        data = form.cleaned_data
        try:
            job = request_preflight(
                connection_id=UUID(data["account"]), feed_id=feed.pk, by=user,
                signals=data["signals"], multiplier=data["multiplier"],
                directions=data["directions"], symbol_map=_symbol_map(feed, UUID(data["account"])),
            )  # fmt: skip
        except FillcastError as error:
            add_form_error(form, error)
        else:
            messages.success(request, "The preflight is running. Nothing is sent to your broker.")
            return HttpResponseRedirect(_address(feed, job.connection_id))
    job_before = _job_of(request, feed, account)
    context = _context(feed, account, job_before)
    return page(request, "preflight.html", form=form, accounts=accounts, status=422, **context)


def _address(feed: Feed, connection_id: UUID) -> str:
    return f"{reverse('portal:preflight', args=[feed.slug])}?account={connection_id}"


def _chosen(accounts: list[Account], wanted: str) -> Account | None:
    """Return the account of the address; without one the first. Another's is as if none."""
    found = [one for one in accounts if str(one.connection.pk) == wanted]
    return next(iter(found or accounts), None)


def _job_of(request: HttpRequest, feed: Feed, account: Account | None) -> Preflight | None:
    if account is None:
        return None
    jobs = preflights_of(current_user(request))
    return jobs.filter(feed=feed, connection_id=account.connection.pk).first()


def _initial(feed: Feed, account: Account | None, job: Preflight | None) -> dict[str, Any]:
    """Return the choices of the last run, else those of the subscription, if there is one."""
    if account is None:
        return {}
    chosen: dict[str, Any] = {"account": str(account.connection.pk)}
    if job is not None:
        return chosen | {
            "multiplier": plain(job.multiplier), "directions": job.directions,
            "signals": job.signals_wanted,
        }  # fmt: skip
    taken = _subscription(feed, account.connection.pk)
    if taken is not None:
        chosen |= {"multiplier": plain(taken.multiplier), "directions": taken.directions}
    return chosen


def _subscription(feed: Feed, connection_id: UUID) -> Subscription | None:
    live = Subscription.objects.filter(feed=feed, connection_id=connection_id, archived_at=None)
    found: Subscription | None = live.first()
    return found


def _symbol_map(feed: Feed, connection_id: UUID) -> dict[str, str]:
    taken = _subscription(feed, connection_id)
    return dict(taken.symbol_map) if taken else {}


def _context(feed: Feed, account: Account | None, job: Preflight | None) -> dict[str, Any]:
    view = view_of(job)
    taken = _subscription(feed, account.connection.pk) if account else None
    subscribe = QueryDict(mutable=True)
    if job is not None:
        subscribe.update({
            "account": str(job.connection_id), "multiplier": plain(job.multiplier),
            "directions": job.directions,
        })  # fmt: skip
    return {
        "feed": feed, "account": account, "job": job, "view": view, "taken": taken,
        "subscribe_choices": subscribe.urlencode(), "not_covered": NOT_COVERED,
        "half": plain(job.multiplier / Decimal(2)) if job else "",
        "twice": plain(job.multiplier * 2) if job else "",
    }  # fmt: skip
