/* Optional: a live region rests while its tab is hidden, or while someone selects, hovers a menu or tabs in it. */
(() => {
  const busyWith = (region) => {
    const picked = getSelection();
    return document.hidden || region.contains(document.activeElement)
      || (picked && !picked.isCollapsed && region.contains(picked.anchorNode));
  };
  addEventListener("htmx:beforeRequest", (e) => {
    const region = e.target.closest?.(".fc-live");
    if (!region || e.target !== region) return;
    if (busyWith(region)) e.preventDefault(); else region.setAttribute("aria-busy", "true");
  });
  addEventListener("htmx:afterRequest", (e) => e.target.removeAttribute?.("aria-busy"));
})();
