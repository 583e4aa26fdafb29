/* Optional: a live region rests while its tab is hidden, or while someone selects, hovers a menu or tabs in it.
   It says so when the server does not answer, and gives way to the sign-in page when the session has ended. */
(() => {
  const parts = () => document.querySelectorAll(".fc-live, .fc-live-part");
  const busy = () => {
    const picked = getSelection();
    return document.hidden || [...parts()].some((part) => part.contains(document.activeElement)
      || (picked && !picked.isCollapsed && part.contains(picked.anchorNode)));
  };
  const regionOf = (e) => (e.target.classList?.contains("fc-live") ? e.target : null);
  const stale = (e) => {
    const region = regionOf(e);
    if (!region || region.querySelector(":scope > .fc-stale")) return;
    const note = document.createElement("p");
    note.className = "fc-stale";
    note.setAttribute("role", "status");
    note.textContent = `No answer since ${new Date().toISOString().slice(11, 19)} UTC: the figures are from before then.`;
    region.prepend(note);
  };
  addEventListener("htmx:beforeRequest", (e) => {
    const region = regionOf(e);
    if (!region) return;
    if (busy()) e.preventDefault(); else region.setAttribute("aria-busy", "true");
  });
  addEventListener("htmx:beforeSwap", (e) => {
    const { xhr, pathInfo } = e.detail;
    if (!regionOf(e) || !xhr?.responseURL) return;
    const asked = new URL(pathInfo.requestPath, location.href).pathname;
    if (new URL(xhr.responseURL).pathname === asked) return;
    e.detail.shouldSwap = false;  // redirected: the session has ended
    location.reload();
  });
  addEventListener("htmx:responseError", stale);
  addEventListener("htmx:sendError", stale);
  addEventListener("htmx:afterRequest", (e) => {
    e.target.removeAttribute?.("aria-busy");
    if (e.detail.successful) regionOf(e)?.querySelector(":scope > .fc-stale")?.remove();
  });
})();
