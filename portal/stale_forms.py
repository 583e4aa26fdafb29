"""A form that was open while its user signed in again in another window, so its token is old.

Django refuses it, as it would a form of another site. If the browser states that it came from our
own page, nothing is done either, but what was typed is shown again, as after a session's end.
"""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views import csrf

from portal import kept_forms
from portal.pages import redirect_to_sign_in, with_security_headers

SIGNED_IN_AREAS = frozenset({"portal", "security"})
AREAS = SIGNED_IN_AREAS | {"visitor"}
# They take no GET, or their GET is no form of their own.
WITHOUT_PAGE = frozenset({"portal:sign_out"})
SENTENCE = (
    "Nothing was done: since this page was opened, you have signed in or out in another window. "
    "It is up to date again."
)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form whose token was refused (settings: CSRF_FAILURE_VIEW)."""
    match = request.resolver_match
    is_page = (
        match is not None
        and match.namespace in AREAS
        and match.view_name not in WITHOUT_PAGE
        and not request.headers.get("HX-Request")
    )
    if match is None or not is_page or not _is_from_own_page(request):
        return csrf.csrf_failure(request, reason)
    lost = ""
    if request.user.is_authenticated:
        is_kept = kept_forms.keep(request, kept_forms.Why.SIGNED_IN_ELSEWHERE)
        lost = "" if is_kept else kept_forms.loss_of(request)
    elif match.namespace in SIGNED_IN_AREAS and match.view_name != "portal:sign_in":
        return with_security_headers(redirect_to_sign_in(request))
    elif not request.COOKIES:  # the browser blocks them, so no page could state it afterwards
        return csrf.csrf_failure(request, reason)
    messages.error(request, f"{SENTENCE} {lost}".rstrip())
    return with_security_headers(HttpResponseRedirect(request.get_full_path()))


def _is_from_own_page(request: HttpRequest) -> bool:
    """Whether the browser states that a page of this site sent it: scripts cannot set these."""
    if site := request.headers.get("Sec-Fetch-Site"):
        return site == "same-origin"
    return request.headers.get("Origin") == f"{request.scheme}://{request.get_host()}"
