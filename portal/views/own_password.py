"""One's own password, for everybody: tenants in the portal's shell, staff in a plain one.

The present password is checked and the new one hashed before the request's transaction begins
(portal/sign_in.py, PasswordsFirst).
"""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.password_validation import password_validators_help_texts
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from portal.pages import current_user
from portal.views.keys import key_owners_only, own_page
from users.models import User
from users.new_passwords import require_unchanged, store_password


class OwnPasswordForm(PasswordChangeForm):
    """The present password and, twice, the new one."""

    error_messages = {
        "password_incorrect": "That is not your present password. After 10 tries that change"
        " nothing you have to wait for a quarter of an hour.",
        "password_mismatch": "The two new passwords differ. Type both again.",
    }

    def __init__(self, user: User, *args: object, **kwargs: object) -> None:
        super().__init__(user, *args, **kwargs)
        names = ("old_password", "new_password1", "new_password2")
        present, new, again = (self.fields[name] for name in names)
        present.label, new.label, again.label = (
            "Present password",
            "New password",
            "Repeat the new one",
        )
        present.help_text = "Forgotten? An administrator sets a new one."
        new.help_text = " ".join(password_validators_help_texts())
        again.help_text = ""
        present.error_messages["required"] = "Enter your present password."
        new.error_messages["required"] = "Enter a new password."
        again.error_messages["required"] = "Type the new password a second time."

    def clean_old_password(self) -> str:
        """Return the present password, if it is right and still the present one."""
        typed = str(super().clean_old_password())
        require_unchanged(self.user)
        return typed

    def clean(self) -> None:
        """Judge the new password where it was typed first."""
        self.validate_passwords("new_password1", "new_password2")
        self.validate_password_for_user(self.user, "new_password1")
        new = self.cleaned_data.get("new_password1")
        if new and new == self.cleaned_data.get("old_password"):
            self.add_error("new_password1", "That is your present password. Choose another one.")


@key_owners_only
def change(request: HttpRequest) -> HttpResponse:
    """Change one's own password; every other session of theirs ends."""
    user = current_user(request)
    form = OwnPasswordForm(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        user.set_password(form.cleaned_data["new_password1"])
        store_password(user)
        update_session_auth_hash(request, user)
        messages.success(request, "Your password is changed. All other sessions were signed out.")
        return HttpResponseRedirect(reverse("security:overview"))
    status = 422 if form.errors else 200
    return own_page(request, "password.html", status=status, form=form)
