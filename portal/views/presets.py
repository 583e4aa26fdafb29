"""Presets: list, create or copy, change (a page states what it means first), assign, remove."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.what_if.preset_use import uses_of, uses_of_accounts
from common.errors import ConflictError, FillcastError
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from connections import services
from connections.models import LossLimit, TradingPreset
from connections.services import preset_version
from portal.pages import confirm, current_user, page, panel, tenants_only
from portal.preset_examples import ExampleForm, example_of
from portal.preset_forms import PresetForm
from portal.preset_texts import use_lines
from portal.selectors.accounts import Account, accounts_of, presets_for
from portal.selectors.loss_limits import loss_limits_of
from portal.selectors.presets import (
    own_preset_with_limits,
    own_presets,
    preset_lines,
    preset_with_limits,
    sizing_summary,
)
from portal.selectors.shell import shell_of
from users.models import User

NOT_FORM = ("csrfmiddlewaretoken", "confirmed", "again", "recalculate")


@tenants_only
def presets(request: HttpRequest) -> HttpResponse:
    """List one's own presets and the shared ones, and where each is used."""
    return page(request, "presets.html", lines=preset_lines(current_user(request)))


@tenants_only
def new(request: HttpRequest) -> HttpResponse:
    """Create a preset, empty or as a copy (`?from=`) of one's own or a shared one."""
    user = current_user(request)
    start = TradingPreset(name="", risk_percent=1)
    copied, limits = None, list[LossLimit]()
    if (source := request.GET.get("from", "")).isdigit():
        copied, limits = preset_with_limits(user, int(source[:18]))
        if copied is None:
            raise Http404
        start = copied
        start.name = f"{copied.name} (copy)"[:100]
    copied_id = start.pk
    start.pk, start.user = None, user
    form = PresetForm(user, start, request.POST or None, is_change=False)
    if request.method == "POST" and "recalculate" not in request.POST and form.is_valid():
        try:
            with transaction.atomic():
                created = services.create_preset(form.edited(), by=user, copied_id=copied_id)
        except FillcastError as error:
            add_form_error(form, error)
        else:
            messages.success(request, f"{created.name} was created. Assign it to an account.")
            return HttpResponseRedirect(reverse("portal:preset_assign", args=[created.pk]))
    return _form_page(request, form, title="A new preset", copied=copied, limits=limits)


@tenants_only
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change one's own preset: the form, then what the change means, then it is saved."""
    user = current_user(request)
    preset, limits = own_preset_with_limits(user, pk)
    if preset is None:
        raise Http404
    form = PresetForm(user, preset, request.POST or None)
    goes_on = request.method == "POST" and not {"recalculate", "again"} & set(request.POST)
    title = f"Change {preset.name}"
    if not goes_on or not form.is_valid():
        return _form_page(request, form, title=title, preset=preset, limits=limits)
    changes, seen = form.changes(), request.POST.get("seen", "")
    if not changes:
        messages.success(request, "Nothing was changed.")
        return HttpResponseRedirect(reverse("portal:presets"))
    uses = uses_of(preset)
    if seen == preset_version(preset) and uses and "confirmed" not in request.POST:
        return page(
            request, "presets/review.html", preset=preset, seen=seen, uses=uses,
            lines=form.changed_lines(), points=use_lines(uses), fields=_fields(request),
        )  # fmt: skip
    try:
        with transaction.atomic():
            services.change_preset(pk, by=user, seen=seen, **changes)
    except ConflictError:
        form.add_error(
            None,
            "This preset was changed meanwhile, in another window or by the API. What you typed is "
            "kept, the other fields show what is stored now. Look at them, and save again.",
        )
    except FillcastError as error:
        add_form_error(form, error)
    else:
        messages.success(request, f"{preset.name} was saved. It applies from now on.")
        return HttpResponseRedirect(reverse("portal:presets"))
    return _form_page(request, form, title=title, preset=preset, limits=limits)


def _form_page(
    request: HttpRequest, form: PresetForm, *, title: str, preset: TradingPreset | None = None,
    copied: TradingPreset | None = None, limits: Sequence[LossLimit] = (),
) -> HttpResponse:  # fmt: skip
    user = current_user(request)
    around = shell_of(user)
    accounts = accounts_of(user, halts=around.halts)
    chosen = ExampleForm(accounts, _post_of_example(request))
    is_post = request.method == "POST"
    return page(
        request, "presets/form.html", around=around, form=form, title=title, preset=preset,
        copied=copied, seen=preset_version(preset) if preset else "", choices=chosen,
        example=example_of(form, chosen, accounts), loss_limits=limits,
        status=422 if is_post and form.errors and "recalculate" not in request.POST else 200,
    )  # fmt: skip


@tenants_only
def example(request: HttpRequest) -> HttpResponse:
    """The example in money for what the form holds now; htmx asks for it as fields change."""
    user = current_user(request)
    if request.method != "POST":
        return HttpResponseRedirect(reverse("portal:presets"))
    pk = request.POST.get("preset", "")
    start = TradingPreset(name="", user=user)
    if pk.isdigit():
        start = _find(user, int(pk[:18]))
    accounts = accounts_of(user)
    form = PresetForm(user, start, request.POST, is_change=bool(start.pk))
    chosen = ExampleForm(accounts, _post_of_example(request))
    return panel(
        request, "presets/example.html", example=example_of(form, chosen, accounts), choices=chosen
    )


def _post_of_example(request: HttpRequest) -> Any:
    return request.POST if "example_pair" in request.POST else None


def _fields(request: HttpRequest) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, values in request.POST.lists()
        if name not in NOT_FORM
        for value in map(str, values)
    ]


class AssignForm(forms.Form):
    """The account that gets the preset."""

    account = forms.ChoiceField(help_text="Each entry that is decided from now on uses it.")

    def __init__(self, accounts: list[Account], data: Any = None) -> None:
        super().__init__(data)
        field = self.fields["account"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            (
                str(one.connection.pk),
                f"{one.connection.name} (now: {one.connection.preset or 'no preset'})",
            )
            for one in accounts
        ]


@tenants_only
def assign(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Give an account a preset, after stating what it means for that account."""
    user = current_user(request)
    preset = get_object_or_404(presets_for(user), pk=pk)
    accounts = [one for one in accounts_of(user) if one.connection.preset_id != pk]
    form = AssignForm(accounts, request.POST or None)
    points = [Consequence("validated", f"It sizes by {sizing_summary(preset)}.")]
    points += [Consequence("paused", f"{one.sentence}.") for one in loss_limits_of(preset)]
    points += use_lines(
        uses_of_accounts([(one.connection.pk, one.connection.name) for one in accounts])
    )
    if not accounts:
        points = [Consequence("ok", "All your accounts use it, or you have none yet.")]
    question = ConfirmationPage(
        f"Use {preset.name} for an account", points, "Use it" if accounts else "",
        reverse("portal:presets"), False, form if accounts else None, "Not now",
    )  # fmt: skip

    def act() -> str:
        chosen = UUID(form.cleaned_data["account"])
        row = services.update_connection(chosen, by=user, preset=preset)
        return f"{row.name} uses {preset.name} for each entry that is decided from now on."

    return confirm(request, question, act)


@tenants_only
def remove(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Remove one's own preset, after a confirmation; not while an account uses it."""
    user = current_user(request)
    preset = _find(user, pk)
    question = ConfirmationPage(
        f"Remove {preset.name}?",
        [
            Consequence("cancelled", "It can no longer be chosen, and cannot be brought back."),
            Consequence("filled", "Orders and positions that were sized by it stay as they are."),
        ],
        "Remove it", reverse("portal:presets"), decline_label="Keep it",
    )  # fmt: skip

    def act() -> str:
        services.delete_preset(pk, by=user)
        return f"{preset.name} was removed."

    return confirm(request, question, act)


def _find(user: User, pk: int) -> TradingPreset:
    found = own_presets(user).filter(pk=pk).first()
    if found is None:
        raise Http404
    return found
