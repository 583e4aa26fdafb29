"""ETags: an answer that is not sent twice, and a change that overwrites no other.

An ETag is `"STATE.CONTENT"`. CONTENT is a hash of the whole answer: If-None-Match compares it.
STATE leaves out what moves without a change of the object, such as prices: If-Match compares it.
With `?fields=` the names follow (`"STATE.CONTENT:a+b"`), and only these fields are compared.
"""

import copy
import re
from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import quote, unquote

from django.http import Http404
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request, clone_request
from rest_framework.response import Response
from rest_framework.views import APIView

from common.errors import FillcastError, InvalidInputError
from common.reason_codes import Code
from common.web.sparse_fields import only_fields, wanted_fields

READING = ("GET", "HEAD")
_LENGTH = 20
_TAG = re.compile(r'(?:W/)?"([^"]*)"')


class Conditional(APIView):
    """A view with ETags.

    moving: fields, at any depth, that change without a change of the object.
    """

    moving: ClassVar[frozenset[str]] = frozenset()
    is_one_object: ClassVar[bool] = False  # of a view without actions
    _is_conditional = False

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse a change of an object that has changed since its ETag was read."""
        super().initial(request, *args, **kwargs)
        if request.method not in (*READING, "OPTIONS") and "If-Match" in request.headers:
            self._require_unchanged(request)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        """Add the ETag; 304 if the caller has this answer."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if final.status_code != 200 or not hasattr(final, "add_post_render_callback"):
            return final  # refused, or a stream
        if request.method in READING:
            _tag_when_rendered(final, request, self.moving)
        elif self._is_conditional:
            try:
                final["ETag"] = etag(self._read_again(request), self.moving)
            except Http404:  # the change has taken it out of the caller's sight
                pass
        return final

    def lock_for_change(self, row: Any) -> None:
        """Lock an object until the transaction ends, in the order in which its services lock."""
        model = row._meta.model  # the row may be the lazy user of a session
        model._default_manager.select_for_update(no_key=True, of=("self",)).filter(
            pk=row.pk
        ).values_list("pk").first()

    def _require_unchanged(self, request: Request) -> None:
        """Raise FillcastError OBJECT_CHANGED, or PRECONDITION_UNSUPPORTED.

        The object is compared after its row is locked: of two changes with one ETag the second one
        waits here, and then finds it changed.
        """
        if not takes_if_match(self, len(self.kwargs)):
            raise InvalidInputError(Code.PRECONDITION_UNSUPPORTED, field="If-Match")
        own: Any = self
        self._read_again(request)  # 404 before anything is locked
        self.lock_for_change(_reading(own, request).get_object())
        given = request.headers["If-Match"]
        if given.strip() != "*":
            now = self._read_again(request)
            if not any(_is_current(tag, now, self.moving) for tag in _TAG.findall(given)):
                raise FillcastError(Code.OBJECT_CHANGED)
        self._is_conditional = True

    def _read_again(self, request: Request) -> Any:
        """Return the object as GET returns it now."""
        view = _reading(self, request)
        read = view.get if self.is_one_object else view.retrieve
        return read(view.request, **self.kwargs).data


def takes_if_match(view: Any, path_arguments: int) -> bool:
    """Return whether a changing operation is about one object that a GET returns."""
    if not isinstance(view, Conditional):
        return False
    if view.is_one_object:
        return True
    is_detail = bool(getattr(view, "detail", False)) and hasattr(view, "retrieve")
    return is_detail and path_arguments == 1


def etag(data: Any, moving: Collection[str] = ()) -> str:
    """Return the ETag of an answer with all fields."""
    content = _hash(data)
    return _tag(_hash(_without(data, moving)) if moving else content, content)


def _tag(state: str, content: str, fields: Sequence[str] = ()) -> str:
    # Encoded: of an empty list any text may be asked for, and a header holds no line breaks.
    suffix = f":{'+'.join(quote(name, safe='') for name in fields)}" if fields else ""
    return f'"{state}.{content}{suffix}"'


def _reading(view: Any, request: Request) -> Any:
    """Return a copy of the view that reads its object."""
    reader = copy.copy(view)
    reader.action = "retrieve"
    reader.request = clone_request(request, "GET")
    return reader


def _is_current(tag: str, now: Any, moving: Collection[str]) -> bool:
    values, _, names = tag.partition(":")
    try:
        shown = only_fields(now, [unquote(name) for name in names.split("+")] if names else ())
    except InvalidInputError:
        return False
    return values.partition(".")[0] == _hash(_without(shown, moving))


def _tag_when_rendered(response: Response, request: Request, moving: Collection[str]) -> None:
    fields = wanted_fields(request)

    def tag(rendered: Any) -> None:
        content = sha256(rendered.content).hexdigest()[:_LENGTH]
        has_state = moving and isinstance(response.data, dict) and "results" not in response.data
        state = _hash(_without(response.data, moving)) if has_state else content
        rendered["ETag"] = _tag(state, content, fields)
        given = request.headers.get("If-None-Match", "")
        known = {one.partition(":")[0].partition(".")[2] for one in _TAG.findall(given)}
        if content in known or given.strip() == "*":
            rendered.status_code = 304
            rendered.content = b""
            for header in ("Content-Type", "Content-Length"):
                rendered.headers.pop(header, None)

    response.add_post_render_callback(tag)


def _hash(data: Any) -> str:
    return sha256(JSONRenderer().render(data)).hexdigest()[:_LENGTH]


def _without(data: Any, moving: Collection[str]) -> Any:
    if isinstance(data, dict):
        return {name: _without(value, moving) for name, value in data.items() if name not in moving}
    if isinstance(data, list):
        return [_without(one, moving) for one in data]
    return data
