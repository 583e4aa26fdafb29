"""The form for credentials. It is write-only: it has no initial values."""

from collections.abc import Mapping
from typing import Any

from django import forms

from brokers.connection_form import Form, Secret
from common.web.confirmation import ConfirmationPage, Consequence
from connections.account_settings.validation import form_if_available

PREFIX = "credentials."  # of a credential's field, as errors use it


class CredentialsForm(forms.Form):
    """The credentials of one broker type. They replace all stored ones."""

    def __init__(self, broker_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        form = form_if_available(broker_type)
        for secret in form.secrets if form else ():
            self.fields[secret.key] = secret_field(secret)

    def entered_values(self) -> dict[str, str]:
        """Return the entered values by key, without empty ones."""
        return {key: value for key, value in self.cleaned_data.items() if value}

    def clean(self) -> dict[str, Any]:
        """Return the data. Raises ValidationError if all fields are empty."""
        data = super().clean() or self.cleaned_data
        if not self.errors and not any(data.values()):
            raise forms.ValidationError("Nothing was entered; the stored values are unchanged.")
        return data


class CredentialFields(forms.Form):
    """Credentials beside the other fields of an account: all that are required, or none.

    Their fields are named as errors name them. Who stores them requires a fresh second factor.
    """

    secrets: Mapping[str, Secret] = {}  # by field

    def add_credentials(self, form: Form | None, if_empty: str) -> None:
        """Add the fields of a broker type. if_empty: what it means to leave them empty."""
        self.secrets = {PREFIX + secret.key: secret for secret in (form.secrets if form else ())}
        for name, secret in self.secrets.items():
            field = secret_field(secret)
            field.required = False  # judged together
            if secret.required:
                field.help_text = f"{secret.hint} {if_empty}".strip()
            self.fields[name] = field

    @property
    def needs_credentials(self) -> bool:
        """Whether the broker type has credentials that it cannot do without."""
        return any(secret.required for secret in self.secrets.values())

    def entered_credentials(self) -> dict[str, str]:
        """Return the credentials that were entered, by key."""
        entered = {secret.key: self.cleaned_data.get(name) for name, secret in self.secrets.items()}
        return {key: value for key, value in entered.items() if value}

    def clean(self) -> dict[str, Any]:
        """Ask for the other credentials if only some were entered."""
        data = super().clean() or self.cleaned_data
        if self.entered_credentials():
            for name, secret in self.secrets.items():
                if secret.required and not data.get(name) and name not in self.errors:
                    self.add_error(name, f"{secret.label} is missing.")
        return data


def secret_field(secret: Secret) -> forms.CharField:
    """Return the write-only field of a credential."""
    return forms.CharField(
        label=secret.label,
        help_text=secret.hint,
        required=secret.required,
        max_length=4096,
        strip=False,
        widget=forms.PasswordInput(
            render_value=False,
            attrs={"autocomplete": "new-password", "spellcheck": "false"},
        ),
    )


def credentials_page(
    form: CredentialsForm, name: str, *, stored: bool, back: str
) -> ConfirmationPage:
    """Return the page with the form. name: of the account; stored: it has credentials already."""
    points = [
        Consequence(
            "safe",
            "They are encrypted before they are stored. Only the trading processes can decrypt "
            "them; they are never shown again, not even to you.",
        ),
        Consequence(
            "pending",
            "They replace all stored credentials. No entry is sent until the next test has passed.",
        ),
    ]
    title = f"{'Replace' if stored else 'Enter'} the credentials of {name}"
    return ConfirmationPage(title, points, "Encrypt and store", back, danger=False, form=form)
