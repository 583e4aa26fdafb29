"""A user's profile: name, time zone, e-mail address. For tenants and staff."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from common.errors import FillcastError
from common.web.confirmation import add_form_error
from portal.pages import current_user, run_action
from portal.views.keys import own_page, signed_in_only
from portal.views.second_factor import check_own_password
from users import services
from users.mails.account_mails import mail_status
from users.people import email_addresses
from users.people.profile_fields import FullNameField, TimeZoneField


class ProfileForm(forms.Form):
    """How a person is called, and in which zone they read times."""

    full_name = FullNameField()
    time_zone = TimeZoneField()


class EmailForm(forms.Form):
    """Another address and the password: an unattended browser must not be enough."""

    email = forms.EmailField(
        label="New e-mail address",
        required=False,
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        help_text="Empty: no address. Without one, only an administrator can set a new password.",
    )
    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password."},
    )


@signed_in_only
def profile(request: HttpRequest) -> HttpResponse:
    """Show and change name and time zone; show the address and whether it is confirmed."""
    user = current_user(request)
    initial = {"full_name": user.full_name, "time_zone": user.time_zone}
    form = ProfileForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        changed = services.update_profile(user.pk, by=user, **form.cleaned_data)
        messages.success(request, "Saved." if changed else "Nothing was different.")
        return HttpResponseRedirect(reverse("security:profile"))
    status = 422 if form.errors else 200
    return own_page(request, "profile.html", status=status, form=form, mail=mail_status())


@signed_in_only
def email(request: HttpRequest) -> HttpResponse:
    """Change the address. It runs outside a request transaction, since a password is checked."""
    user = current_user(request)
    form = EmailForm(request.POST or None, initial={"email": user.email})
    if request.method == "POST" and form.is_valid():
        check_own_password(request, user, form)
    if request.method == "POST" and form.is_valid():
        address = form.cleaned_data["email"]
        try:
            changed = email_addresses.change_own_email(user, address)
        except FillcastError as error:
            add_form_error(form, error)
        else:
            messages.success(request, _email_message(address, changed=changed))
            return HttpResponseRedirect(reverse("security:profile"))
    context = {"form": form, "mail": mail_status()}
    status = 422 if form.errors else 200
    return render(request, "portal/security/email.html", context, status=status)


@signed_in_only
def resend(request: HttpRequest) -> HttpResponse:
    """Have the link that confirms the address sent again."""
    user = current_user(request)

    def ask() -> str:
        email_addresses.ask_for_confirmation(user)
        return f"A link is sent to {user.email}. It works once, for 48 hours."

    return run_action(request, ask, back=reverse("security:profile"))


def _email_message(address: str, *, changed: bool) -> str:
    if not changed:
        return "The address is the same as before."
    if not address:
        return "Your address was removed."
    return f"A link is sent to {address}. Open it to confirm the address."
