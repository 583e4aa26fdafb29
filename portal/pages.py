"""How each page of the portal is answered: for tenants only, asked before it acts, strict CSP."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from common.clocks import market_clock, market_now
from common.confirmation import ConfirmationPage, add_form_error, error_message
from common.errors import FillcastError, MisconfiguredError
from events.selectors import unread_count
from execution.monitoring.scan_heartbeat import scan_status
from portal.selectors.halts import halts_affecting
from users.models import User

View = Callable[..., HttpResponse]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def with_security_headers(response: HttpResponse) -> HttpResponse:
    """Nothing from elsewhere, nothing inline, and no copy of somebody's money in a cache."""
    response["Content-Security-Policy"] = POLICY
    response["Cache-Control"] = "private, no-store"
    return response


def tenants_only(view: View) -> View:
    """Let tenants in. Whoever is not known signs in first; operators have the console."""

    @wraps(view)
    def answer(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        user = request.user
        if not user.is_authenticated:
            return with_security_headers(redirect_to_sign_in(request))
        if user.is_operator:
            return with_security_headers(HttpResponseRedirect(reverse("admin:index")))
        try:
            return with_security_headers(view(request, **kwargs))
        except Http404:  # not there or not theirs: nobody is told which
            return with_security_headers(page(request, "missing.html", status=404))

    return answer


def redirect_to_sign_in(request: HttpRequest) -> HttpResponse:
    if request.headers.get("HX-Request"):  # a panel that polls must not become a login form
        return HttpResponse(headers={"HX-Refresh": "true"})
    is_page = request.method == "GET"
    return redirect_to_login(request.get_full_path() if is_page else reverse("portal:overview"))


def current_user(request: HttpRequest) -> User:
    """The tenant; `for_tenants` has let only known users in."""
    assert isinstance(request.user, User)
    return request.user


def page(
    request: HttpRequest, template: str, *, status: int = 200, **context: Any
) -> TemplateResponse:
    """Answer with one of our pages, in the shell with its navigation."""
    user = current_user(request)
    shell = {
        "unread": unread_count(user.pk),
        "halts": halts_affecting(user),
        "scan": scan_status(),
        "market_at": market_now() if market_clock() else None,
        "section": request.resolver_match.url_name if request.resolver_match else "",
    }
    name = f"portal/{template}"
    return TemplateResponse(request, name, {**shell, **context}, status=status)


def panel(request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
    """Answer with a part of a page alone, for htmx: the same template that the page includes."""
    return TemplateResponse(request, f"portal/{template}", context)


def confirm(
    request: HttpRequest, question: ConfirmationPage, act: Callable[[], str]
) -> HttpResponse:
    """Ask; when it is confirmed do it, say what came of it, and go back.

    What was typed is never lost: a wrong field or a refusal about one brings the form again.
    """
    form = question.form
    if request.method != "POST":
        return page(request, "confirm.html", question=question)
    if form is not None and not form.is_valid():
        return page(request, "confirm.html", question=question, status=422)
    try:
        with transaction.atomic():
            messages.success(request, act())
    except FillcastError as error:
        if form is None:
            return redirect_with_error(request, error, back=question.back)
        add_form_error(form, error)
        return page(request, "confirm.html", question=question, status=422)
    except MisconfiguredError as error:
        messages.error(request, error_message(error))
    return HttpResponseRedirect(question.back)


def run_action(request: HttpRequest, act: Callable[[], str], *, back: str) -> HttpResponse:
    """Do what needs no question, say what came of it, and go back. Only a POST does anything."""
    if request.method == "POST":
        try:
            with transaction.atomic():
                messages.success(request, act())
        except FillcastError as error:
            return redirect_with_error(request, error, back=back)
    return HttpResponseRedirect(back)


def redirect_with_error(request: HttpRequest, error: FillcastError, *, back: str) -> HttpResponse:
    """Say why nothing was changed and what to do, with the code after it."""
    messages.error(request, error_message(error))
    return HttpResponseRedirect(back)
