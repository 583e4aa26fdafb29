"""Pages for visitors: sign up, forgotten password, and the links that mails bring.

These addresses run outside a request transaction (users/middleware.py): passwords are hashed, and
each attempt is counted even if the request fails. The answer to an address that has a login is the
same as to one that has none.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.forms import SetPasswordMixin
from django.contrib.auth.password_validation import password_validators_help_texts
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from common.errors import ConflictError, FillcastError, InvalidInputError
from common.reason_codes import Code
from common.web.confirmation import add_form_error
from portal.pages import with_security_headers
from portal.sign_in import too_many_tries_response
from portal.sign_in_steps import BACKEND, home_url
from users.lookups import with_confirmed_address
from users.mails import links
from users.mails.account_mails import mail_status
from users.models import User
from users.password_slots import SlotsBusyError
from users.people import email_addresses, forgotten_passwords, sign_up
from users.people.invitations import find_invitation, why_unusable
from users.people.profile_fields import FullNameField, TimeZoneField
from users.sign_in.attempt_limits import TooManyAttemptsError

View = Callable[..., HttpResponse]


class AddressForm(forms.Form):
    """The address to which a link is sent."""

    email = forms.EmailField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
        error_messages={"required": "Enter your e-mail address."},
    )


class LoginForm(SetPasswordMixin, forms.Form):  # type: ignore[type-arg]
    """What a new user chooses. Passwords are checked by the service, which hashes them."""

    error_messages = {"password_mismatch": "The two passwords are different. Enter both again."}
    username = forms.CharField(
        label="User name",
        strip=True,
        widget=forms.TextInput(
            attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
        ),
        help_text="You sign in with it, or with your confirmed e-mail address. At most 150 letters,"
        " digits and . + - _",
        error_messages={"required": "Choose a user name."},
    )
    full_name = FullNameField()
    time_zone = TimeZoneField()
    password1, password2 = SetPasswordMixin.create_password_fields("Password", "Password, again")
    field_order: Sequence[str] = ("username", "password1", "password2", "full_name", "time_zone")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].help_text = " ".join(password_validators_help_texts())
        self.fields["password2"].help_text = ""

    def clean(self) -> None:
        """Compare the two passwords."""
        self.validate_passwords()
        fault = sign_up.name_fault(self.cleaned_data.get("username", ""))
        if fault and "username" in self.cleaned_data:
            self.add_error("username", fault)

    def chosen(self, *, email: str = "") -> sign_up.NewLogin:
        """Return what was typed."""
        data = self.cleaned_data
        return sign_up.NewLogin(
            username=data["username"],
            password=data["password1"],
            full_name=data["full_name"],
            time_zone=data["time_zone"],
            email=data.get("email", email),
        )


class InvitedForm(LoginForm):
    """As above, with an address, which is confirmed later."""

    email = forms.EmailField(
        label="E-mail address",
        required=False,
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        help_text="Once it is confirmed you can sign in with it, and ask for a new password there.",
    )
    field_order = ("username", "password1", "password2", "email", "full_name", "time_zone")


class NewPasswordForm(SetPasswordMixin, forms.Form):  # type: ignore[type-arg]
    """A new password, twice."""

    error_messages = LoginForm.error_messages
    new_password1, new_password2 = SetPasswordMixin.create_password_fields(
        "New password", "New password, again"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].help_text = " ".join(password_validators_help_texts())
        self.fields["new_password2"].help_text = ""

    def clean(self) -> None:
        """Compare the two passwords."""
        self.validate_passwords("new_password1", "new_password2")


def visitor_page(view: View) -> View:
    """Add what all these pages share: headers, and the answer after too many attempts."""

    @wraps(view)
    def answer(request: HttpRequest, **arguments: Any) -> HttpResponse:
        try:
            return with_security_headers(view(request, **arguments))
        except (TooManyAttemptsError, SlotsBusyError) as error:
            return too_many_tries_response(request, error, locked="portal/visitor/too_many.html")

    return answer


@visitor_page
def ask_to_sign_up(request: HttpRequest) -> HttpResponse:
    """Ask for the address to which the link is sent."""
    if not sign_up.is_open():
        return _closed(request)
    sent_page = "portal/visitor/sign_up_sent.html"
    return _ask(request, "sign-up", sign_up.ask_to_sign_up, "sign_up.html", sent_page)


@visitor_page
def finish_sign_up(request: HttpRequest, *, token: str) -> HttpResponse:
    """Let the reader of the inbox choose a user name and a password."""
    if not sign_up.is_open():
        return _closed(request)
    email = links.read_sign_up(token)
    if email is None:
        return _dead_link(request, Code.LINK_INVALID.sentence, reverse("visitor:sign_up"))
    if with_confirmed_address(email):
        return _dead_link(request, "This link was used: your login exists.", "")
    form = LoginForm(request.POST or None)

    def add(chosen: LoginForm) -> User:
        return sign_up.sign_up_by_address(chosen.chosen(email=email))

    return _finish(
        request, form, add, "Create your login", again=reverse("visitor:sign_up"), to=email
    )


@visitor_page
def accept_invitation(request: HttpRequest, *, secret: str) -> HttpResponse:
    """Let the holder of an invitation choose a user name and a password."""
    if request.method == "POST":
        sign_up.count_form(request)  # also guesses of links
    found = find_invitation(secret)
    if fault := why_unusable(found):
        return _dead_link(request, f"{fault} Ask the person who invited you for a new one.", "")
    assert found is not None
    form = InvitedForm(request.POST or None)

    def add(chosen: LoginForm) -> User:
        return sign_up.sign_up_by_invitation(chosen.chosen(), found)

    return _finish(request, form, add, "You are invited", again="", is_counted=True)


@visitor_page
def forgot_password(request: HttpRequest) -> HttpResponse:
    """Ask for the address to which a link to a new password is sent."""
    service = forgotten_passwords.ask_for_reset
    return _ask(request, "reset", service, "forgot.html", "portal/visitor/forgot_sent.html")


@visitor_page
def reset_password(request: HttpRequest, *, uid: str, token: str) -> HttpResponse:
    """Let the holder of a link set a new password; it signs no one in."""
    again = reverse("visitor:forgot_password")
    if request.method == "POST":
        sign_up.count_form(request)
    user = forgotten_passwords.user_of_link(uid, token)
    if user is None:
        return _dead_link(request, Code.LINK_INVALID.sentence, again)
    form = NewPasswordForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            forgotten_passwords.set_forgotten_password(
                uid, token, form.cleaned_data["new_password1"]
            )
        except InvalidInputError as error:
            add_form_error(form, error)
        except ConflictError as error:
            return _dead_link(request, error.detail, again)
        else:
            messages.success(request, "Your password was replaced. Sign in with the new one.")
            return HttpResponseRedirect(reverse("portal:sign_in"))
    context = {"form": form, "title": f"A new password for {user.get_username()}"}
    return _form_page(request, "new_password.html", form, context)


@visitor_page
def confirm_address(request: HttpRequest, *, token: str) -> HttpResponse:
    """Confirm an address by a button: programs that read mail open links, too."""
    again = reverse("security:profile")
    parts = links.read_confirm(token)
    if parts is None:
        return _dead_link(request, Code.LINK_INVALID.sentence, again)
    if request.method == "POST":
        try:
            is_new = email_addresses.confirm_email(*parts)
        except FillcastError as error:
            return _dead_link(request, error.detail, again)
        text = f"{parts[1]} is confirmed." if is_new else f"{parts[1]} was confirmed before."
        messages.success(request, text)
        return HttpResponseRedirect(again)
    return render(request, "portal/visitor/confirm_address.html", {"address": parts[1]})


def _ask(
    request: HttpRequest, kind: str, service: Callable[[str], None], template: str, sent_page: str
) -> HttpResponse:
    """Show the form for an address, or have a mail sent there and say so."""
    form = AddressForm(request.POST or None)
    status = mail_status()
    if request.method == "POST" and form.is_valid() and status.works:
        address = form.cleaned_data["email"]
        sign_up.count_mail(request, address, kind)
        service(address)
        return render(request, sent_page, {"address": address, "mail": status})
    return _form_page(request, template, form, {"form": form, "mail": status})


def _finish(
    request: HttpRequest,
    form: LoginForm,
    add: Callable[[LoginForm], User],
    title: str,
    *,
    again: str,
    to: str = "",
    is_counted: bool = False,
) -> HttpResponse:
    """Show the form of a new login; once it is valid, add the user and sign them in."""
    if request.method == "POST" and not is_counted:
        sign_up.count_form(request)
    if request.method == "POST" and form.is_valid():
        try:
            user = add(form)
        except InvalidInputError as error:
            for one in (error, *error.others):
                field = "password1" if one.field == "password" else one.field
                form.add_error(field if field in form.fields else None, one.detail)
        except ConflictError as error:
            return _dead_link(request, error.detail, again)
        else:
            login(request, user, backend=BACKEND)
            messages.success(request, f"Welcome, {user.get_username()}. Your login is ready.")
            return HttpResponseRedirect(home_url(user))
    context = {"form": form, "title": title, "address": to, "mail": mail_status()}
    return _form_page(request, "new_login.html", form, context)


def _form_page(
    request: HttpRequest, template: str, form: forms.Form, context: dict[str, Any]
) -> HttpResponse:
    status = 422 if form.errors else 200
    return render(request, f"portal/visitor/{template}", context, status=status)


def _closed(request: HttpRequest) -> HttpResponse:
    return render(request, "portal/visitor/closed.html", status=404)


def _dead_link(request: HttpRequest, sentence: str, again: str) -> HttpResponse:
    """Say why a link does not work, and offer what does. again: '' if no new one can be had."""
    context = {"sentence": sentence, "again": again}
    return render(request, "portal/visitor/dead_link.html", context, status=410)
