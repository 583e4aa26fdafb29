// Names for screen readers that unfold's templates, simplebar and select2 leave out.
"use strict";

function nameLandmarks() {
  const main = document.getElementById("main") ?? document.getElementById("page");
  main?.setAttribute("role", "main");
  document.querySelectorAll(".simplebar-content-wrapper").forEach((area, index) => {
    const inNavigation = area.closest("#nav-sidebar, #nav-sidebar-inner, nav");
    area.setAttribute("aria-label", inNavigation ? "Navigation, scrolls" : `List ${index}, scrolls`);
  });
}

function nameSelections() {
  for (const box of document.querySelectorAll(".select2-selection")) {
    const select = box.closest(".select2-container")?.previousElementSibling;
    const label = select?.labels?.[0];
    const shown = box.querySelector(".select2-selection__rendered");
    if (!label || !shown) continue;
    label.id ||= `${select.id}-label`;
    box.setAttribute("aria-labelledby", `${label.id} ${shown.id}`);
    shown.setAttribute("aria-labelledby", label.id);
  }
}

window.addEventListener("load", () => {
  nameLandmarks();
  nameSelections();
  // select2 adds its boxes after that, and when a row of a form is added.
  new MutationObserver(nameSelections).observe(document.body, { childList: true, subtree: true });
});
