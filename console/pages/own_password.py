"""An operator's own password, changed in the console."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from unfold.forms import AdminOwnPasswordChangeForm

from users.models import User
from users.sign_in.new_passwords import require_unchanged, store_password


class OwnPasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]  # unfold has no types
    """Changes the user's own password and writes no other column."""

    def clean_old_password(self) -> str:
        typed = str(super().clean_old_password())
        require_unchanged(self.user)
        return typed

    def set_password_and_save(
        self, user: User, password_field_name: str = "password1", commit: bool = True
    ) -> User:
        """Set the password, which portal.sign_in.PasswordHashingMiddleware has already hashed."""
        user.set_password(self.cleaned_data[password_field_name])
        if commit:
            store_password(user)
        return user


def password_change(
    request: HttpRequest, extra_context: dict[str, Any] | None = None
) -> HttpResponseBase:
    """Change one's own password. Replaces unfold's page, whose form cannot be configured."""
    shell = {**admin.site.each_context(request), **(extra_context or {})}
    return PasswordChangeView.as_view(
        form_class=OwnPasswordForm,
        template_name="registration/password_change_form.html",
        success_url=reverse("admin:password_change_done"),
        extra_context=shell,
    )(request)
