"""Change a row: lock it, check it as it is now, and write only the columns that were changed.

A row that was read earlier and is saved whole reverts what others have changed since. Two harmless
concurrent changes could leave a feed approved without an approval. Serializers and forms save
through this module. Any other whole-row save of our models during a request is refused, so that the
first test that calls it finds it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from django import forms
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import pre_save
from django.utils.functional import cached_property

M = TypeVar("M", bound=Model)
_OURS = frozenset(
    {
        "auth",
        "users",
        "events",
        "signals",
        "alerts",
        "connections",
        "prices",
        "positions",
        "execution",
        "analytics",
    }
)
_answering: ContextVar[bool] = ContextVar("answering_a_request", default=False)


class WholeRowError(RuntimeError):
    """A whole row would be saved during a request."""


@transaction.atomic
def change_row(row: M, changes: Mapping[str, Any]) -> M:
    """Lock a row, write only these fields, and return it as it is then.

    For plain settings. Changes with further rules have services.
    """
    # Not its type: a request's user is a lazy object around the row.
    model = cast("type[M]", row._meta.model)
    locked: M = model._default_manager.select_for_update(no_key=True, of=("self",)).get(pk=row.pk)
    for name, value in changes.items():
        setattr(locked, name, value)
    if changes:
        locked.save(update_fields=list(changes))
    return locked


@contextmanager
def answering_a_request() -> Iterator[None]:
    """Refuse to save whole rows of our models inside this block."""
    token = _answering.set(True)
    try:
        yield
    finally:
        _answering.reset(token)


def is_answering_a_request() -> bool:
    """Whether this runs in the transaction of a request."""
    return _answering.get()


def _refuse_whole_rows(
    sender: type[Model], instance: Model, raw: bool, update_fields: Any, **_: Any
) -> None:
    is_ours = sender._meta.app_label in _OURS
    is_whole = update_fields is None and not raw and not instance._state.adding
    if is_ours and is_whole and _answering.get():
        raise WholeRowError(
            f"{sender.__name__}.save() without update_fields would revert what others change at"
            " the same time. Use common.db.row_changes.change_row, or name the fields."
        )


def connect() -> None:
    """Check every save. Called once, when the applications are ready."""
    pre_save.connect(_refuse_whole_rows, dispatch_uid="common.db.row_changes.whole_rows")


class ChangedFieldsForm(forms.BaseForm):
    """A form of an existing row that writes only what its user changed.

    Each field carries the value that the page showed. Fields that the user did not change keep the
    row's current value, even if another user has changed it since.
    """

    is_change = True  # False: a form of the same fields for a new row

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._mark_fields()

    def _mark_fields(self) -> None:
        for field in self.fields.values() if self.is_change else ():
            field.show_hidden_initial = not field.disabled  # never put a password hash on the page

    @cached_property
    def changed_data(self) -> list[str]:
        """The names of the fields whose value differs from what the page showed."""
        self._mark_fields()  # again, for fields that were added later
        names = [bound.html_initial_name for bound in map(self.__getitem__, self.fields)]
        is_from_page = any(key.startswith(tuple(names)) for key in self.data) if names else False
        return [name for name in self.fields if self._is_changed(name, is_from_page)]

    def _is_changed(self, name: str, is_from_page: bool) -> bool:
        bound, field = self[name], self.fields[name]
        if field.disabled:
            return False
        if is_from_page:
            return bool(bound._has_changed())  # type: ignore[attr-defined]  # Django's own way
        return bool(field.has_changed(bound.initial, bound.data))  # sent by a program

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]
        if not self.is_change:
            return
        for name in set(self.cleaned_data) & set(self.fields) - set(self.changed_data):
            self.cleaned_data[name] = self.stored_value(name)

    def stored_value(self, name: str) -> Any:
        return self.get_initial_for_field(self.fields[name], name)

    def changes(self) -> dict[str, Any]:
        """Return the changed fields with their new values."""
        return {name: self.cleaned_data[name] for name in self.changed_data}


class ChangedFieldsModelForm(ChangedFieldsForm):
    """The same for a model form. instance: the row as it is now."""

    instance: Model

    def stored_value(self, name: str) -> Any:
        fields = {field.name: field for field in self.instance._meta.get_fields()}
        field = fields.get(name)
        if field is None or not getattr(field, "concrete", False):
            return super().stored_value(name)
        value = getattr(self.instance, name)
        return value.all() if field.many_to_many else value

    def seen(self, name: str) -> set[Any]:
        """Return the primary keys that the page showed as selected in a many-to-many field."""
        bound, field = self[name], self.fields[name]
        keys = self._widget_data_value(field.hidden_widget(), bound.html_initial_name)  # type: ignore[attr-defined]
        return {field.queryset.model._meta.pk.to_python(key) for key in keys or ()}  # type: ignore[attr-defined]
