"""Forms of a feed's Telegram bot."""

from collections.abc import Sequence
from typing import Any

from django import forms

from alerts.telegram.services import MOST_IDS

_PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}


class TokenForm(forms.Form):
    """The token that BotFather gave."""

    token = forms.CharField(
        max_length=200, widget=forms.PasswordInput(attrs=_PLAIN),
        help_text="BotFather shows it after /newbot: 123456789:AAH…",
    )  # fmt: skip


class IdsField(forms.CharField):
    """Telegram's numbers of users or chats, one a line."""

    widget = forms.Textarea(attrs={"rows": 4, **_PLAIN})

    def prepare_value(self, value: Any) -> Any:
        """Return what the field shows."""
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return "\n".join(map(str, value)) if is_list else value

    def to_python(self, value: Any) -> Any:
        """Return the numbers."""
        found = []
        for line in str(value or "").split():
            text = line.strip(",;")
            if not text.removeprefix("-").isdecimal() or len(text) > 16:
                raise forms.ValidationError(f"{line[:30]!r} is no number of Telegram.")
            found.append(int(text))
        if len(found) > MOST_IDS:
            raise forms.ValidationError(f"At most {MOST_IDS} numbers.")
        return found

    def validate(self, value: Any) -> None:
        """Require a number where one is required."""
        if self.required and not value:
            raise forms.ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """Numbers were checked while they were read."""


class SendersForm(forms.Form):
    """Whose messages count in a group."""

    senders = IdsField(help_text="The Telegram number of each sender, one a line.")


class ForwardForm(forms.Form):
    """Chats whose forwarded messages count."""

    chats = IdsField(
        required=False, help_text="The Telegram number of each chat, one a line. Empty: none."
    )
