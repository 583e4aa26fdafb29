"""The console's forms for users: who asks decides what may be asked for."""

from typing import Any, ClassVar

from django import forms
from unfold.forms import AdminPasswordChangeForm, UserChangeForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from common.errors import NotAllowedError
from common.permissions import Role
from users.models import User
from users.new_passwords import store_password
from users.privileges import require_givable, roles_of


class UserForm(UserChangeForm):  # type: ignore[misc]  # unfold has no types
    """A user's person and rights. `by` is who asks; the services judge once more."""

    by: ClassVar[User]
    roles = forms.MultipleChoiceField(
        required=False,
        choices=[(role.value, role.value.capitalize()) for role in Role],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Whoever has a role is staff and uses the console; without one they act on their "
        "own rows alone. docs/roles.md says what each may.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["roles"] = sorted(role.value for role in roles_of(self.instance))

    def clean_roles(self) -> list[Role]:
        """Return the roles: what was ticked and unticked on the page, of what they are now. One is
        refused here that has a right which `by` has not."""
        now, chosen = roles_of(self.instance), {Role(name) for name in self.cleaned_data["roles"]}
        shown = self._shown(now)
        given = chosen - shown
        try:
            require_givable(given - now, self.by)
        except NotAllowedError as error:
            raise forms.ValidationError(error.detail, code=error.code.value) from error
        return sorted((now | given) - (shown - chosen))

    def _shown(self, now: set[Role]) -> set[Role]:
        """What the page showed as ticked; a program has seen no page."""
        if not any(name.startswith("initial-") for name in self.data):
            return now
        name = self["roles"].html_initial_name
        return {Role(value) for value in self.data.getlist(name) if value in set(Role)}


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[misc]  # unfold has no types
    """A new password for another user: nothing else of the row is written."""

    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit=False)
        if commit:
            store_password(user)
        return user
