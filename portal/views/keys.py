"""A user's own API keys: list, create (shown once), revoke. For tenants and staff."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django import forms
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from common.errors import FillcastError
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from portal import kept_forms
from portal.pages import current_user, page, redirect_to_sign_in, run_action, with_security_headers
from portal.sign_in_steps import home_url
from users import services
from users.forms import ApiKeyForm
from users.keys import rules as api_keys
from users.keys.setups import SetUp, set_up_with
from users.models import ApiKey, ApiKeyNetwork, User

View = Callable[..., HttpResponse]
NETWORKS = 5  # the latest of each key


def signed_in_only(view: View) -> View:
    """Let every signed-in user in, tenants and staff; others sign in first."""

    @wraps(view)
    def answer(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return with_security_headers(redirect_to_sign_in(request))
        return with_security_headers(view(request, **kwargs))

    return answer


@signed_in_only
def keys(request: HttpRequest) -> HttpResponse:
    """List the user's keys, active ones first."""
    now = timezone.now()
    mine = ApiKey.objects.filter(user=current_user(request)).order_by("-created_at")
    mine = mine.select_related("made_with").prefetch_related(
        Prefetch("networks", ApiKeyNetwork.objects.order_by("-last_used_at"))
    )
    listed = [
        {
            "key": key,
            "is_open": key.is_open,
            "networks": list(key.networks.all())[:NETWORKS],
            "ends_soon": api_keys.ends_soon(key, now=now),
        }
        for key in mine
    ]
    listed.sort(key=lambda one: not one["is_open"])
    return own_page(request, "keys.html", keys=listed)


@signed_in_only
def create(request: HttpRequest) -> HttpResponse:
    """Create a key and show it once."""
    form = ApiKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = current_user(request)
        try:
            key, secret = form.create(user, by=user)
            return own_page(request, "key_made.html", key=key, secret=secret)
        except FillcastError as error:
            add_form_error(form, error)
    status = 422 if form.errors else 200
    return own_page(request, "key_new.html", status=status, form=form)


@signed_in_only
def revoke(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Confirm, then revoke a key. Another user's is not found."""
    user = current_user(request)
    key = ApiKey.objects.filter(user=user, pk=pk).first()
    if key is None:
        raise Http404
    back = reverse("security:keys")
    set_up = set_up_with(key.pk)
    channels = [str(one) for one in set_up if not one.ends_with_key]
    form = _ChannelsForm(request.POST or None) if channels else None
    if request.method == "POST":
        ends = form is not None and form.is_valid() and bool(form.cleaned_data["channels"])
        return run_action(request, lambda: _revoke(key, user, channels if ends else []), back=back)
    if key.revoked_at is not None:
        return HttpResponseRedirect(back)
    points = [
        Consequence(
            "cancelled", "Requests with this key are refused from now on. This cannot be undone."
        ),
        *_with_it(key, set_up),
        Consequence("safe", "Orders and positions do not change."),
    ]
    title = f"Revoke the key “{key.name}”?"
    question = ConfirmationPage(
        title, points, "Revoke it", back, form=form, decline_label="Keep it"
    )
    return own_page(request, "key_revoke.html", question=question)


class _ChannelsForm(forms.Form):
    """What to do with the channels that a key added. Not ticked at first: who merely replaces a
    key must not lose alarms."""

    channels = forms.BooleanField(label="Switch off the channels that it added", required=False)


def _with_it(key: ApiKey, set_up: Sequence[SetUp]) -> list[Consequence]:
    """Return what else ends with the key, and what it set up that stays."""
    keys = key.made_keys.filter(revoked_at=None)
    ends = [f"key “{one}”" for one in keys] + [str(one) for one in set_up if one.ends_with_key]
    stays = [str(one) for one in set_up if not one.ends_with_key]
    points = []
    if ends:
        points.append(Consequence("cancelled", f"What it made ends, too: {'; '.join(ends)}."))
    if stays:
        goes, it = ("goes", "it") if len(stays) == 1 else ("go", "them")
        text = (
            f"It added {'; '.join(stays)}, which {goes} on receiving messages about your accounts"
            f" unless you switch {it} off below."
        )
        points.append(Consequence("attention", text))
    text = "What else it changed stays. “My audit trail” lists it by the key's name."
    return [*points, Consequence("attention", text)]


def _revoke(key: ApiKey, user: User, channels: Sequence[str]) -> str:
    """channels: those to switch off with it."""
    done_now = services.revoke_api_key(key.pk, by=user, and_its_channels=bool(channels))
    text = f"“{key.name}” is revoked." if done_now else f"“{key.name}” was already revoked."
    return f"{text} Switched off: {'; '.join(channels)}." if channels else text


def own_page(
    request: HttpRequest, template: str, *, status: int = 200, **facts: Any
) -> TemplateResponse:
    """Render a page of the user's own settings: in the portal's shell, for staff in a plain one."""
    name = f"security/{template}"
    if not current_user(request).is_staff:
        return page(request, name, status=status, shell="portal/base.html", **facts)
    shell = {
        "shell": "portal/security/staff.html",
        "restored": kept_forms.restore(request, facts),
        "home": home_url(current_user(request)),
        **facts,
    }
    return TemplateResponse(request, f"portal/{name}", shell, status=status)
