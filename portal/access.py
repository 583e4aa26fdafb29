"""Signing in and out, and what somebody sees who tried too often."""

from typing import Any

from django.contrib.auth import views
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from portal.pages import guarded


class SignInForm(AuthenticationForm):
    """User name and password."""

    error_messages = {
        "invalid_login": "That name and password do not belong together. Passwords are case-"
        "sensitive; after 10 tries signing in rests for a quarter of an hour.",
        "inactive": "This user is switched off. An operator can switch it on.",
    }


class SignIn(views.LoginView):
    """Sign in. Whoever is signed in already goes on; operators go on to their console."""

    form_class = SignInForm
    template_name = "portal/sign_in.html"
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        user: Any = self.request.user
        return reverse("admin:index" if user.is_staff else "portal:overview")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return guarded(super().dispatch(request, *args, **kwargs))  # type: ignore[arg-type]


class SignOut(views.LogoutView):
    """Sign out, by a POST; then to signing in."""


def locked_out(request: HttpRequest, _credentials: Any, *_: Any) -> HttpResponse:
    """Too many wrong passwords: say how long it rests. django-axes calls it."""
    return guarded(render(request, "portal/locked.html", status=429))
