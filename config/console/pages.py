"""How each page of the console is answered: in unfold's shell, for operators only."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from common.errors import FillcastError, MisconfiguredError
from common.questions import Question, refusal

View = Callable[..., HttpResponse]


def page(request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    """Answer with one of our pages; `admin_view` has let only operators in."""
    shell = admin.site.each_context(request)
    return TemplateResponse(request, f"console/{template}", {**shell, "title": title, **context})


def need(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied unless the caller may do this; reading needs no permission."""
    if not request.user.has_perm(permission):
        raise PermissionDenied(permission)


def ask(request: HttpRequest, question: Question) -> TemplateResponse:
    return page(request, "confirm.html", question.title, question=question)


def attempt(request: HttpRequest, act: Callable[[], str], *, back: str) -> HttpResponse:
    """Do what was confirmed, say what came of it, and go back. A refusal tells its code."""
    try:
        messages.success(request, act())
    except (FillcastError, MisconfiguredError) as error:
        messages.error(request, refusal(error))
    return HttpResponseRedirect(back)
