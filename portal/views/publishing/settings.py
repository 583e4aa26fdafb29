"""The settings and the terms of a provider's feed."""

import json
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from common.errors import FillcastError
from common.web.confirmation import add_form_error
from portal.pages import current_user, tenants_only
from portal.publishing_forms import FeedSettingsForm, TermsForm
from portal.selectors.publishing import own_feed
from portal.views.publishing.common import address, feed_page
from signals.feeds.services import update_feed, withdrawn_by
from signals.feeds.terms import change_terms, current_terms
from signals.models import Feed


@tenants_only
def settings(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Change name, description, reach and limits. What a change would withdraw is stated first."""
    user = current_user(request)
    feed = own_feed(user, slug, with_archived=True)
    form = FeedSettingsForm(feed, request.POST if request.method == "POST" else None)
    withdrawn: list[str] = []
    if request.method == "POST" and form.is_valid():
        changes = form.changes()
        withdrawn = withdrawn_by(feed, changes)
        if not withdrawn or request.POST.get("confirmed") == _digest(changes):
            try:
                with transaction.atomic():
                    update_feed(feed.pk, by=user, **changes)
            except FillcastError as error:
                add_form_error(form, error)
            else:
                messages.success(request, "Saved." if changes else "Nothing was changed.")
                return HttpResponseRedirect(address("publishing_settings", feed))
    return feed_page(
        request, "settings.html", feed, "settings", form=form, withdrawn=withdrawn,
        confirmed=_digest(form.changes()) if withdrawn else "", terms=current_terms(feed),
        status=422 if form.errors else 200,
    )  # fmt: skip


@tenants_only
def change(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Change the terms of a feed; the earlier ones stay readable."""
    user = current_user(request)
    feed = own_feed(user, slug, with_archived=True)
    terms = current_terms(feed)
    initial = {"text": terms.text if terms else ""}
    form = TermsForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                _terms, changed = change_terms(feed.pk, form.cleaned_data["text"], by=user)
        except FillcastError as error:
            add_form_error(form, error)
        else:
            text = "The terms are changed." if changed else "Nothing was changed."
            messages.success(request, text)
            return HttpResponseRedirect(address("publishing_settings", feed))
    return feed_page(
        request, "change_terms.html", feed, "settings", form=form, history=_history(feed),
        status=422 if form.errors else 200,
    )  # fmt: skip


def _history(feed: Feed) -> list[Any]:
    return list(feed.terms.order_by("-id")[:20])


def _digest(changes: dict[str, Any]) -> str:
    return json.dumps(changes, sort_keys=True, default=str)
