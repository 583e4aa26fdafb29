"""The console's sign-in page: its own form and template, the portal's steps."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import LoginView
from django.http import HttpRequest
from django.urls import reverse

from portal.sign_in import SignIn


class ConsoleSignIn(SignIn):
    """Sign in to the console: staff only, with the second factor where there is one."""

    form_class = admin.site.login_form or AdminAuthenticationForm
    template_name = "admin/login.html"
    redirect_authenticated_user = False  # a tenant would be led in a circle

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = LoginView.dispatch(self, request, *args, **kwargs)
        response["Cache-Control"] = "private, no-store"
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What unfold's page needs."""
        shell = admin.site.each_context(self.request)
        path = self.request.get_full_path()
        said = {"title": "Sign in", "subtitle": None, "app_path": path}
        told = super().get_context_data(**kwargs)
        return {**shell, **told, **said, REDIRECT_FIELD_NAME: self.get_success_url()}

    def get_default_redirect_url(self) -> str:
        return reverse("admin:index")
