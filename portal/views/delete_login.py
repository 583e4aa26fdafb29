"""Deleting one's own login. It runs outside a request transaction: a password is checked."""

from django import forms
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from common.errors import FillcastError
from common.web.confirmation import add_form_error
from connections.services import delete_login, items_of_login
from portal.pages import current_user
from portal.views.keys import signed_in_only
from portal.views.second_factor import check_own_password


class DeleteForm(forms.Form):
    """The password: an unattended browser must not be enough."""

    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password."},
    )


@signed_in_only
def delete(request: HttpRequest) -> HttpResponse:
    """Show what is open, then delete the login once nothing is at risk."""
    user = current_user(request)
    form = DeleteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        check_own_password(request, user, form)
    if request.method == "POST" and form.is_valid():
        try:
            delete_login(user)
        except FillcastError as error:
            add_form_error(form, error)
        else:
            logout(request)
            return render(request, "portal/visitor/deleted.html")
    items = items_of_login(user)
    context = {
        "form": form,
        "risks": [item for item in items if item.is_at_risk],
        "ends": [item for item in items if not item.is_at_risk],
    }
    status = 422 if form.errors else 200
    return render(request, "portal/security/delete_login.html", context, status=status)
