"""A user's own password: tenants change it in the portal's shell, staff in a plain one.

The current password is checked and the new one hashed before the request's transaction begins
(portal/sign_in.py, PasswordHashingMiddleware).
"""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.password_validation import password_validators_help_texts
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from portal.pages import current_user
from portal.views.keys import own_page, signed_in_only
from users.models import User
from users.sign_in.new_passwords import require_unchanged, store_password


class OwnPasswordForm(PasswordChangeForm):
    """The current password and, twice, the new one."""

    error_messages = {
        "password_incorrect": "This is not your current password. After 10 failed attempts you"
        " must wait 15 minutes.",
        "password_mismatch": "The two new passwords are different. Enter both again.",
    }

    def __init__(self, user: User, *args: object, **kwargs: object) -> None:
        super().__init__(user, *args, **kwargs)
        names = ("old_password", "new_password1", "new_password2")
        present, new, again = (self.fields[name] for name in names)
        present.label, new.label, again.label = (
            "Current password",
            "New password",
            "New password, again",
        )
        present.help_text = "Forgotten? Sign out, then choose “Forgot password?”."
        new.help_text = " ".join(password_validators_help_texts())
        again.help_text = ""
        present.error_messages["required"] = "Enter your current password."
        new.error_messages["required"] = "Enter a new password."
        again.error_messages["required"] = "Enter the new password a second time."

    def clean_old_password(self) -> str:
        """Return the current password, if it is right and has not changed meanwhile."""
        typed = str(super().clean_old_password())
        require_unchanged(self.user)
        return typed

    def clean(self) -> None:
        """Validate the new password; errors go to its first field."""
        self.validate_passwords("new_password1", "new_password2")
        self.validate_password_for_user(self.user, "new_password1")
        new = self.cleaned_data.get("new_password1")
        if new and new == self.cleaned_data.get("old_password"):
            self.add_error("new_password1", "This is your current password. Choose another one.")


@signed_in_only
def change(request: HttpRequest) -> HttpResponse:
    """Change the user's own password and sign out their other sessions."""
    user = current_user(request)
    form = OwnPasswordForm(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        user.set_password(form.cleaned_data["new_password1"])
        store_password(user)
        update_session_auth_hash(request, user)
        messages.success(
            request, "Your password was changed. All your other sessions were signed out."
        )
        return HttpResponseRedirect(reverse("security:overview"))
    status = 422 if form.errors else 200
    return own_page(request, "password.html", status=status, form=form)
