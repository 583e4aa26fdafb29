"""Credentials go in and never come out: the form has no initial values, and nothing shows them."""

from dataclasses import dataclass
from typing import Any

from django import forms


@dataclass(frozen=True, slots=True)
class Secret:
    """One field. key: its name in `get_credential`."""

    key: str
    label: str
    hint: str = ""
    required: bool = True


BY_KIND: dict[str, tuple[Secret, ...]] = {
    "paper": (Secret("password", "Password", "Only if the paper account asks for one.", False),),
    "mt5": (Secret("password", "Trading password", "Not the investor’s: that one only reads."),),
    "mt4": (Secret("password", "Folder key", "What stands in fillcast.key in the DWX folder."),),
    "ibkr": (
        Secret("username", "Gateway user", "Only where the gateway logs in by itself.", False),
        Secret("password", "Gateway password", "", False),
    ),
    "crypto": (
        Secret("api_key", "API key", "With the right to trade, without the right to withdraw."),
        Secret("secret", "API secret"),
        Secret("password", "Passphrase", "Only at exchanges that ask for one.", False),
    ),
}
ANY_KIND = (Secret("api_key", "API key or user"), Secret("secret", "API secret or password"))


class CredentialsForm(forms.Form):
    """The fields of one broker kind. They replace everything that is stored."""

    def __init__(self, kind: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for secret in BY_KIND.get(kind, ANY_KIND):
            self.fields[secret.key] = forms.CharField(
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

    def told(self) -> dict[str, str]:
        """What was typed, by key."""
        return {key: value for key, value in self.cleaned_data.items() if value}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if not self.errors and not any(data.values()):
            raise forms.ValidationError("Nothing was entered; what is stored was kept.")
        return data
