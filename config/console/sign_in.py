"""The console's sign-in page: its own looks, the portal's way of signing in; one's own password."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from unfold.forms import AdminOwnPasswordChangeForm

from portal.access import SignIn
from users.models import User
from users.new_passwords import require_unchanged, store_password


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


class OwnPasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]  # unfold has no types
    """A new password of one's own: nothing else of the row is written."""

    def clean_old_password(self) -> str:
        typed = str(super().clean_old_password())
        require_unchanged(self.user)
        return typed

    def set_password_and_save(
        self, user: User, password_field_name: str = "password1", commit: bool = True
    ) -> User:
        """Set it; portal.access.PasswordsFirst has hashed it already."""
        user.set_password(self.cleaned_data[password_field_name])
        if commit:
            store_password(user)
        return user


def password_change(
    request: HttpRequest, extra_context: dict[str, Any] | None = None
) -> HttpResponseBase:
    """Change one's own password. unfold's page names its form in its code, so this is in place of
    it."""
    shell = {**admin.site.each_context(request), **(extra_context or {})}
    return PasswordChangeView.as_view(
        form_class=OwnPasswordForm,
        template_name="registration/password_change_form.html",
        success_url=reverse("admin:password_change_done"),
        extra_context=shell,
    )(request)
