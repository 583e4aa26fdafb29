"""Credentials go in and never come out: the form has no initial values, and nothing shows them."""

from typing import Any

from django import forms

from connections.account_settings.validation import known_form


class CredentialsForm(forms.Form):
    """The secrets of one broker kind. They replace everything that is stored."""

    def __init__(self, broker_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        form = known_form(broker_type)
        for secret in form.secrets if form else ():
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

    def entered_values(self) -> dict[str, str]:
        """What was typed, by key."""
        return {key: value for key, value in self.cleaned_data.items() if value}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if not self.errors and not any(data.values()):
            raise forms.ValidationError("Nothing was entered; what is stored was kept.")
        return data
