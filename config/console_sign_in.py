"""The console's sign-in page: its own form and template, but the steps of the portal's."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import LoginView
from django.http import HttpRequest
from django.urls import reverse

from portal.sign_in import SignIn


class ConsoleSignIn(SignIn):
    """Sign in to the console: staff only, with a second factor if one is enrolled."""

    form_class = admin.site.login_form or AdminAuthenticationForm
    template_name = "admin/login.html"
    redirect_authenticated_user = False  # a tenant would be redirected in a loop

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer one request; the response is never cached."""
        response = LoginView.dispatch(self, request, *args, **kwargs)
        response["Cache-Control"] = "private, no-store"
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what unfold's template needs besides the form."""
        path = self.request.get_full_path()
        return {
            **admin.site.each_context(self.request),
            **super().get_context_data(**kwargs),
            "title": "Sign in",
            "subtitle": None,
            "app_path": path,
            REDIRECT_FIELD_NAME: self.get_success_url(),
        }

    def get_default_redirect_url(self) -> str:
        """Return the console's first page."""
        return reverse("admin:index")
