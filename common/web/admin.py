"""Base classes and columns for the lists and forms of the operators' console.

Staff with a role see everything; changing something needs a right (`change_right` of a list, see
common/permissions.py). Tables that only the system writes are read-only.
"""

import re
from collections.abc import Callable
from copy import copy
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList as DjangoChangeList
from django.contrib.auth import get_user_model
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import BinaryField, Field, IntegerField, Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminTextInputWidget

from common.clocks import market_at
from common.db.row_changes import ChangedFieldsModelForm
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.fields import AmountField
from common.form_fields import WholeNumberInput
from common.permissions import Right, refusal
from common.web.badges import amount
from common.web.confirmation import error_message

MAX_KEY = 2**63 - 1
READING = ("GET", "HEAD", "OPTIONS")
HIDDEN_NAMES = re.compile("_digest|hash|password|seal|secret")


def changed_columns(obj: Model, form: Any) -> list[str]:
    concrete = {field.name for field in obj._meta.concrete_fields}
    return [name for name in form.changed_data if name in concrete]


def time_column(field: str, title: str) -> Callable[[Any], str]:
    """Return a list column for a time: UTC, or market time while a replay runs. Empty without one.

    field: the model's field, or that of a row that it leads to (`health__last_tested_at`), in
    machine time.
    """

    @admin.display(description=title, ordering=field)
    def column(row: Any) -> str:
        at = attrgetter(field.replace(LOOKUP_SEP, "."))(row)
        return f"{market_at(at):%-d %b %Y, %H:%M:%S}" if at is not None else ""

    column.__name__ = field
    return column


def link(name: str, pk: object, text: object) -> SafeString | str:
    """Return a link to an object's page (`admin:signals_signal_page`); plain text without one."""
    if pk is None:
        return ""
    try:
        return format_html('<a href="{}">{}</a>', reverse(name, args=[pk]), text)
    except NoReverseMatch:
        return str(text)


class PageChangeList(ChangeList):  # type: ignore[misc]  # unfold has no types
    """A list whose rows lead to the object's own page instead of a form."""

    def url_for_result(self, result: Model) -> str:
        """Return the address of the object's page, else of its form."""
        opts = self.opts
        try:
            return reverse(f"admin:{opts.app_label}_{opts.model_name}_page", args=[result.pk])
        except NoReverseMatch:
            return str(super().url_for_result(result))


def trimmed(contents: str) -> str:
    """Return `1.500000000000000000` as `1.5`; text that is no decimal number unchanged."""
    head, point, _ = contents.partition(".")
    return contents.rstrip("0").rstrip(".") if point and head.lstrip("-").isdigit() else contents


@cache
def amount_column(name: str) -> Callable[[Any], SafeString]:
    """Return a list column for the model's amount of this name."""

    def column(row: Any) -> SafeString:
        return amount(getattr(row, name))

    column.short_description = name.replace("_", " ").capitalize()  # type: ignore[attr-defined]
    column.admin_order_field = name  # type: ignore[attr-defined]
    column.__name__ = f"amount_{name}"
    return column


def is_hidden(field: "Field[Any, Any]") -> bool:
    """Whether no page shows a column: it is encrypted, or of something secret."""
    return isinstance(field, BinaryField) or HIDDEN_NAMES.search(field.name) is not None


def _with_refusals(
    view: Callable[..., HttpResponse], request: HttpRequest, *args: Any, **kwargs: Any
) -> HttpResponse:
    """Return the view's page; if a POST is refused its address again, with what and why.

    Raises RightDenied if a service does not allow it to the caller.
    """
    try:
        return view(request, *args, **kwargs)
    except NotAllowedError as error:
        raise RightDenied(error) from error
    except (ConflictError, InvalidInputError) as error:  # what was written is rolled back
        if request.method != "POST":
            raise
        messages.error(request, error_message(error))
        return HttpResponseRedirect(request.get_full_path())


class ConsoleAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """The base of every list: filters apply on a button, decimals have no trailing zeros."""

    list_filter_submit = True
    list_fullwidth = True
    list_per_page = 50
    warn_unsaved_form = True
    page_list: ClassVar[bool] = False
    empty_text: ClassVar[str] = ""
    """What an empty list states: what appears in it, and how. Empty: rows appear automatically."""
    change_right: ClassVar[Right | None] = None
    """The right that adding, changing and deleting rows needs; None: the list is read-only."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse a search by a column that no page shows: Django allows all of the model's own, so
        that staff who only read could find a digest out by what the list then shows."""
        name = lookup.partition(LOOKUP_SEP)[0]
        hidden = {field.name for field in self.model._meta.concrete_fields if is_hidden(field)}
        return name not in hidden and bool(super().lookup_allowed(lookup, value, request))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Return the form's page; a refusal, such as of what exceeds a quota, is shown there."""
        if object_id is not None and self._is_only_read(request, self.has_change_permission):
            return HttpResponseNotAllowed(READING)
        return _with_refusals(super().changeform_view, request, object_id, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the page that deletes a row; a refusal is shown there."""
        if self._is_only_read(request, self.has_delete_permission):
            return HttpResponseNotAllowed(READING)
        return _with_refusals(super().delete_view, request, *args, **kwargs)

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return a row's history, which is only read."""
        if request.method not in READING:
            return HttpResponseNotAllowed(READING)
        return cast("HttpResponse", super().history_view(request, *args, **kwargs))

    def _is_only_read(self, request: HttpRequest, may: Callable[[HttpRequest], bool]) -> bool:
        """Return whether a request would write what not even a superuser may write here."""
        if request.method in READING:
            return False
        of_superuser: Any = copy(request)
        of_superuser.user = get_user_model()(pk=-1, is_staff=True, is_superuser=True)
        return not may(of_superuser)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the list; a refusal of an action on the chosen rows is shown there."""
        return _with_refusals(super().changelist_view, request, *args, **kwargs)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Act on the chosen rows; those that are deleted are all, with their log entries, or none.

        Other actions may send messages, so they have no transaction of their own.
        """
        if not all(map(self._may_be_key, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise Http404
        if request.POST.get("action") != "delete_selected":
            return super().response_action(request, queryset)
        with transaction.atomic():
            return super().response_action(request, queryset)

    def _may_be_key(self, text: str) -> bool:
        """Return whether a row may have this key. PostgreSQL stores no NUL."""
        try:
            key = self.model._meta.pk.to_python(text)
        except ValidationError:
            return False
        return "\0" not in text and not (isinstance(key, int) and abs(key) > MAX_KEY)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form; for an existing row one that writes only what the page changed."""
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (ChangedFieldsModelForm, form), {}) if change else form

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Model | None:
        """Return the row; locked in a POST request, so that the form is checked against it.

        Not for a user who may do nothing with it: the web process cannot lock what only the system
        writes, and the request is refused.
        """
        found: Model | None = super().get_object(request, object_id, from_field)
        if found is None or request.method != "POST" or not self._may_write(request, found):
            return found
        rows = self.model._default_manager.select_for_update(no_key=True, of=("self",))
        list(rows.filter(pk=found.pk).values_list("pk"))
        locked: Model | None = super().get_object(request, object_id, from_field)
        return locked

    def _may_write(self, request: HttpRequest, row: Model) -> bool:
        may_change = self.has_change_permission(request, row)
        return may_change or self.has_delete_permission(request, row)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write the columns that were changed on the page; a new row is written whole."""
        if not change:
            obj.save()
            return
        if columns := changed_columns(obj, form):
            obj.save(update_fields=columns)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Write only the many-to-many entries that were added or removed on the page."""
        if not change:
            super().save_related(request, form, formsets, change)
            return
        for field in self.model._meta.many_to_many:
            if field.name in form.changed_data:
                chosen = {row.pk for row in form.cleaned_data[field.name]}
                seen, related = form.seen(field.name), getattr(form.instance, field.name)
                related.add(*(chosen - seen))
                related.remove(*(seen - chosen))
        for formset in formsets:
            self.save_formset(request, form, formset, change=change)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, AmountField):
            kwargs |= {"widget": UnfoldAdminTextInputWidget()}
            return db_field.formfield(**kwargs)
        if isinstance(db_field, IntegerField) and not db_field.choices:
            kwargs["form_class"] = WholeNumberInput
        if isinstance(db_field, ArrayField):  # separated by commas
            kwargs |= {"widget": UnfoldAdminTextInputWidget()}
            return db_field.formfield(**kwargs)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns, with amounts formatted."""
        amounts = self.readonly_preprocess_fields
        return tuple(
            amount_column(name) if name in amounts else name
            for name in super().get_list_display(request)
        )

    @property
    def readonly_preprocess_fields(self) -> dict[str, Any]:
        """How unfold shows read-only fields: amounts without trailing zeros."""
        fields = self.model._meta.get_fields()
        return {field.name: trimmed for field in fields if isinstance(field, AmountField)}

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_operator(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_change(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_change(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_change(request)

    def get_actions(self, request: HttpRequest) -> Any:
        """Return the bulk actions, which all change rows; none without the right."""
        return super().get_actions(request) if self._may_change(request) else {}

    def _may_change(self, request: HttpRequest) -> bool:
        return self.change_right is not None and holds(request, self.change_right)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DjangoChangeList]:
        return PageChangeList if self.page_list else ChangeList


class ReadOnlyAdmin(ConsoleAdmin):
    """A table that only the system writes: no rows are added, changed or deleted here."""

    actions = None

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


NEWEST = 200_000


def among_newest(model: Any, queryset: Any, **conditions: Any) -> Any:
    """Filter a large table by columns without an index, among its newest rows only."""
    newest = model.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    return queryset.filter(pk__gt=newest - NEWEST, **conditions)


class BigTableAdmin(ReadOnlyAdmin):
    """A read-only table of millions of rows: its pages are never counted."""

    paginator = InfinitePaginator
    show_full_result_count = False

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Search by indexed columns only: `search_exact` interprets the term."""
        term = search_term.strip()
        return (self.search_exact(queryset, term) if term else queryset), False

    def search_exact(self, queryset: Any, term: str) -> Any:
        """Return the rows that match a search term exactly; subclasses implement it."""
        return queryset.none()

    def among_newest(self, queryset: Any, **conditions: Any) -> Any:
        """Filter by columns without an index, among the newest rows only."""
        return among_newest(self.model, queryset, **conditions)


class ReadOnlyInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    """Related rows on an object's page, read-only."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request)


class RightDenied(PermissionDenied):
    """The caller's roles do not include a page or button; `error` names the right that it needs.

    `console.pages.forbidden` renders the response.
    """

    def __init__(self, error: NotAllowedError) -> None:
        super().__init__(error.detail)
        self.error = error


def is_operator(request: HttpRequest) -> bool:
    """Whether the caller may read all rows: staff with a role."""
    return holds(request, Right.READ)


def holds(request: HttpRequest, right: Right) -> bool:
    """Whether the caller has a right. Keeps the last refusal on the request, for the error page."""
    user: Any = request.user
    error = refusal(user, right)
    if error is not None:
        request.refused = error  # type: ignore[attr-defined]
    return error is None


def read_id(term: str, prefix: str) -> int | None:
    """Return the number of `O-12`, `o12` or `12`; None for anything else."""
    text = term.upper().removeprefix(prefix).removeprefix("-")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def read_uuid(term: str) -> UUID | None:
    """Return a connection's id from its text; None for anything else."""
    try:
        return UUID(term)
    except ValueError:
        return None
