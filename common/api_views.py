"""What every view of the API has: repeatable POSTs, ETags, sparse fields, rates, notices."""

from typing import Any

from rest_framework.views import APIView

from common.conditional import Conditional
from common.deprecation import Deprecating
from common.rate_headers import RateLimited
from common.repeatable import Repeatable
from common.sparse_fields import SparseFields, drop_other_fields, wanted_fields


class ApiView(Conditional, Repeatable, SparseFields, Deprecating, RateLimited, APIView):
    """The first base of each view of the API."""


class ObjectView(ApiView):
    """The first base of each view set whose serializer reads and lists its objects."""

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        """Return the serializer; for a GET with only the fields that were asked for."""
        own: Any = super()
        serializer = own.get_serializer(*args, **kwargs)
        if wanted := wanted_fields(self.request):
            drop_other_fields(serializer, wanted)
        return serializer
