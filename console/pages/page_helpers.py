"""What all pages of the console share: access by role, confirmation, unfold's shell."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from common import permissions
from common.errors import FillcastError, MisconfiguredError
from common.permissions import Right
from common.web.admin import RightDenied
from common.web.confirmation import ConfirmationPage, error_message

View = Callable[..., HttpResponse]


def page(request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    """Render one of our pages in unfold's shell; `admin_view` has checked the role."""
    shell = admin.site.each_context(request)
    return TemplateResponse(request, f"console/{template}", {**shell, "title": title, **context})


def require_permission(request: HttpRequest, right: Right) -> None:
    """Raise RightDenied unless the user's roles include this right."""
    user: Any = request.user
    if (error := permissions.refusal(user, right)) is not None:
        raise RightDenied(error)


def can(request: HttpRequest, right: Right) -> bool:
    """Whether the user's roles include this right."""
    user: Any = request.user
    return permissions.may(user, right)


def require_read_permission(admin_view: Callable[[View, bool], View]) -> Callable[..., View]:
    """Return an `admin_view` that also requires the right to read; all others are refused.

    Signing out and changing one's own password need no right.
    """

    def guarded(view: View, cacheable: bool = False) -> View:
        checked_view = admin_view(view, cacheable)
        if getattr(view, "__name__", "") in ("logout", "password_change", "password_change_done"):
            return checked_view

        @wraps(view)
        def read(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if admin.site.has_permission(request):
                require_permission(request, Right.READ)
            return checked_view(request, *args, **kwargs)

        return read

    return guarded


def confirm(request: HttpRequest, question: ConfirmationPage) -> TemplateResponse:
    """Show what an action does and ask for a confirmation."""
    return page(request, "confirm.html", question.title, question=question)


def run_action(request: HttpRequest, act: Callable[[], str], *, back: str) -> HttpResponse:
    """Do what was confirmed, report the result or the refusal with its code, and go back."""
    try:
        messages.success(request, act())
    except (FillcastError, MisconfiguredError) as error:
        messages.error(request, error_message(error))
    return HttpResponseRedirect(back)
