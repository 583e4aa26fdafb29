"""What a reason code means, what to do, and whom it hit lately. Everybody may read the meaning."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from common.codes import Code
from common.reasons import tried_again
from common.shown import known_code
from portal.pages import for_tenants, guarded, me, page
from portal.selectors.reasons import hit_lately


def reason(request: HttpRequest, *, code: str) -> HttpResponse:
    """One code: signed in with one's own orders, else its meaning alone. Operators: the console."""
    known = known_code(code)
    if known is None:
        return _unknown(request)
    if not request.user.is_authenticated:
        told = {"code": known, "tried": tried_again(known)}
        return guarded(TemplateResponse(request, "portal/reason_alone.html", told))
    if request.user.is_operator:
        return guarded(HttpResponseRedirect(reverse("admin:console_reason", args=[known.value])))
    return _with_my_orders(request, code=known)


@for_tenants
def _with_my_orders(request: HttpRequest, *, code: Code) -> HttpResponse:
    hit = hit_lately(me(request), code)
    return page(request, "reason.html", code=code, tried=tried_again(code), hit=hit)


@for_tenants
def _unknown(request: HttpRequest) -> HttpResponse:
    raise Http404
