"""What all pages of the portal share: access, confirmation before an action, security headers."""

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
from common.errors import FillcastError, MisconfiguredError
from common.web.confirmation import ConfirmationPage, add_form_error, error_message
from portal import kept_forms
from portal.selectors.shell import Shell, shell_of
from users.models import User

View = Callable[..., HttpResponse]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

NOTHING_DONE = "You are not signed in, or not any more, so nothing was done."


def with_security_headers(response: HttpResponse) -> HttpResponse:
    """Forbid content of other origins, inline code and caching of private figures."""
    response["Content-Security-Policy"] = POLICY
    response["Cache-Control"] = "private, no-store"
    return response


def tenants_only(view: View) -> View:
    """Let only tenants in. Others sign in first; operators are sent to their console."""

    @wraps(view)
    def answer(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        user = request.user
        if not user.is_authenticated:
            return with_security_headers(redirect_to_sign_in(request))
        if user.is_operator:
            return with_security_headers(HttpResponseRedirect(reverse("admin:index")))
        try:
            return with_security_headers(view(request, **kwargs))
        except Http404:  # missing or another tenant's: the answer is the same
            return with_security_headers(page(request, "missing.html", status=404))

    return answer


def redirect_to_sign_in(request: HttpRequest) -> HttpResponse:
    """Send the user to the sign-in page, and from there back to this page.

    What was typed into a form is kept, secrets excepted, and shown again there. If nothing was
    kept, the sign-in page says so.
    """
    if request.headers.get("HX-Request"):  # a panel that polls must not become a login form
        return HttpResponse(headers={"HX-Refresh": "true"})
    is_kept = request.method == "POST" and kept_forms.keep(request)
    if request.method == "POST" and not is_kept:
        messages.error(request, f"{NOTHING_DONE} {kept_forms.loss_of(request)}".rstrip())
    back_here = request.method == "GET" or is_kept
    return redirect_to_login(request.get_full_path() if back_here else reverse("portal:overview"))


def current_user(request: HttpRequest) -> User:
    """Return the signed-in user; `tenants_only` and its like refuse all others."""
    assert isinstance(request.user, User)
    return request.user


def page(
    request: HttpRequest, template: str, *, status: int = 200, around: Shell | None = None,
    **context: Any,
) -> TemplateResponse:  # fmt: skip
    """Render one of our pages in the shell with its navigation. around: if read already."""
    around = around or shell_of(current_user(request))
    own = {
        "unread": around.unread,
        "halts": around.halts,
        "is_paused_by_me": any(halt.is_everything_of_mine for halt in around.halts),
        "scan": around.scan,
        "market_at": market_now() if market_clock() else None,
        "section": request.resolver_match.url_name if request.resolver_match else "",
        "restored": kept_forms.restore(request, context),
    }
    name = f"portal/{template}"
    return TemplateResponse(request, name, {**own, **context}, status=status)


def panel(request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
    """Render a part of a page for htmx, with the template that the page includes."""
    return TemplateResponse(request, f"portal/{template}", context)


def confirm(
    request: HttpRequest,
    question: ConfirmationPage,
    act: Callable[[], str],
    *,
    template: str = "confirm.html",
    **context: Any,
) -> HttpResponse:
    """Show the question; once confirmed, act in a transaction, report the result and go back.

    An invalid field, or an error about a field, shows the form again with what was typed.
    template, context: of a page that shows more than the question.
    """
    form = question.form
    if request.method != "POST":
        return page(request, template, question=question, **context)
    if form is not None and not form.is_valid():
        return page(request, template, question=question, status=422, **context)
    try:
        with transaction.atomic():
            messages.success(request, act())
    except FillcastError as error:
        if form is None:
            return redirect_with_error(request, error, back=question.back)
        add_form_error(form, error)
        return page(request, template, question=question, status=422, **context)
    except MisconfiguredError as error:
        messages.error(request, error_message(error))
    return HttpResponseRedirect(question.back)


def run_action(request: HttpRequest, act: Callable[[], str], *, back: str) -> HttpResponse:
    """Act on a POST without a question, in a transaction; report the result and go back."""
    if request.method == "POST":
        try:
            with transaction.atomic():
                messages.success(request, act())
        except FillcastError as error:
            return redirect_with_error(request, error, back=back)
    return HttpResponseRedirect(back)


def redirect_with_error(request: HttpRequest, error: FillcastError, *, back: str) -> HttpResponse:
    """Report why nothing was changed and what to do, then go back."""
    messages.error(request, error_message(error))
    return HttpResponseRedirect(back)
