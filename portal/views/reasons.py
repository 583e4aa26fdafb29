"""The page of a reason code: meaning, what to do and, for tenants, their recent orders with it."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from common.reason_codes import Code
from common.web.formatting import known_code
from common.web.reason_links import retry_sentence
from portal.pages import current_user, page, tenants_only, with_security_headers
from portal.selectors.reasons import recent_orders_with


def reason(request: HttpRequest, *, code: str) -> HttpResponse:
    """Explain one code; tenants also see their orders with it, operators go to the console."""
    known = known_code(code)
    if known is None:
        return _unknown(request)
    if not request.user.is_authenticated:
        context = {"code": known, "tried": retry_sentence(known)}
        return with_security_headers(TemplateResponse(request, "portal/reason_alone.html", context))
    if request.user.is_operator:
        return with_security_headers(
            HttpResponseRedirect(reverse("admin:console_reason", args=[known.value]))
        )
    return _with_my_orders(request, code=known)


@tenants_only
def _with_my_orders(request: HttpRequest, *, code: Code) -> HttpResponse:
    hit = recent_orders_with(current_user(request), code)
    return page(request, "reason.html", code=code, tried=retry_sentence(code), hit=hit)


@tenants_only
def _unknown(request: HttpRequest) -> HttpResponse:
    raise Http404
