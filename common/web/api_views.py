"""What every view of the API has: repeatable POSTs, ETags, sparse fields, rates, notices."""

from typing import Any

from rest_framework.views import APIView

from common.web.conditional import Conditional
from common.web.deprecation import Deprecating
from common.web.rate_headers import RateLimited
from common.web.repeatable import Repeatable
from common.web.sparse_fields import SparseFields, drop_other_fields, wanted_fields


class ApiView(Conditional, Repeatable, SparseFields, Deprecating, RateLimited, APIView):
    """The first base of each view of the API."""

    def sparse(self, serializer: Any) -> Any:
        """Return a serializer without the fields that a GET did not ask for."""
        if wanted := wanted_fields(self.request):
            drop_other_fields(serializer, wanted)
        return serializer

    def asks_for(self, *names: str) -> bool:
        """Whether the answer has one of these fields; what only others need is not read."""
        wanted = wanted_fields(self.request)
        return not wanted or not set(names).isdisjoint(wanted)


class ObjectView(ApiView):
    """The first base of each view set whose serializer reads and lists its objects."""

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        """Return the serializer; for a GET with only the fields that were asked for."""
        own: Any = super()
        return self.sparse(own.get_serializer(*args, **kwargs))
