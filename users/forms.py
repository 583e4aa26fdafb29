"""Forms for users: the console's, and the one for a new API key."""

from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.db import transaction
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from common.errors import NotAllowedError
from common.names import one_line
from common.permissions import Role, Scope
from users import services
from users.keys.rules import DEFAULT_LIFE, LIVES, SCOPES
from users.models import ApiKey, User
from users.people.sign_up import NAME_WITHOUT_AT
from users.privileges import require_givable, roles_of
from users.sign_in.new_passwords import store_password


class _NewUserName:
    """The check of a user name that is new, for a form."""

    cleaned_data: dict[str, Any]
    changed_data: list[str]

    def clean_username(self) -> str:
        """Return the name. Raises ValidationError if it could be another user's address, with
        which that user signs in."""
        name = str(self.cleaned_data["username"])
        if "@" in name and "username" in self.changed_data:
            raise forms.ValidationError(NAME_WITHOUT_AT)
        return name


class NewUserForm(_NewUserName, UserCreationForm):  # type: ignore[misc]  # unfold has no types
    """A user's name and first password."""


class UserForm(_NewUserName, UserChangeForm):  # type: ignore[misc]  # unfold has no types
    """A user's personal data and rights. by: the acting user; the services check them again."""

    by: ClassVar[User]
    roles = forms.MultipleChoiceField(
        required=False,
        choices=[(role.value, role.value.capitalize()) for role in Role],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="A user with a role is staff and uses the console. A user without one sees only "
        "their own accounts. docs/roles.md lists what each role may do.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["roles"] = sorted(role.value for role in roles_of(self.instance))

    def clean_roles(self) -> list[Role]:
        """Return the stored roles with the changes that were made on the page.

        Raises ValidationError for a role that has a right which `by` does not have.
        """
        stored = roles_of(self.instance)
        chosen = {Role(name) for name in self.cleaned_data["roles"]}
        initial = self._initial_roles(stored)
        added = chosen - initial
        try:
            require_givable(added - stored, self.by)
        except NotAllowedError as error:
            raise forms.ValidationError(error.detail, code=error.code.value) from error
        return sorted((stored | added) - (initial - chosen))

    def _initial_roles(self, stored: set[Role]) -> set[Role]:
        """Return the roles that the page showed as ticked; `stored` if a program sent the form."""
        if not any(name.startswith("initial-") for name in self.data):
            return stored
        name = self["roles"].html_initial_name
        return {Role(value) for value in self.data.getlist(name) if value in set(Role)}


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[misc]  # unfold has no types
    """A new password for another user; only the password is written."""

    def save(self, commit: bool = True) -> User:
        """Store the password and notify its owner."""
        user: User = super().save(commit=False)
        if commit:
            store_password(user)
        return user


class ApiKeyForm(forms.Form):
    """A new API key, for the console and the portal."""

    name = forms.CharField(
        validators=[one_line],
        max_length=100,
        help_text="The program that uses it, such as “report script”.",
    )
    scopes = forms.MultipleChoiceField(
        label="What it may do",
        choices=[(scope.value, text) for scope, text in SCOPES.items()],
        initial=[Scope.READ.value],
        widget=forms.CheckboxSelectMultiple,
        help_text="Choose no more than it needs. It can never do more than its user can.",
        error_messages={"required": "Choose at least one."},
    )
    life = forms.ChoiceField(
        label="Ends after", choices=LIVES, initial=DEFAULT_LIFE.days,
        help_text="The key then stops working. Its owner is warned two weeks before.",
    )  # fmt: skip

    @transaction.atomic
    def create(self, user: User, *, by: User) -> tuple[ApiKey, str]:
        """Create a key of a user; return it and its secret. Raises as `create_api_key`."""
        data = self.cleaned_data
        end = timezone.now() + timedelta(days=int(data["life"]))
        return services.create_api_key(
            user, data["name"], scopes=data["scopes"], expires_at=end, by=by
        )
