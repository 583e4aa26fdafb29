"""axe-core's rules on a page, in light and in dark colours.

All rules see the whole page. Only the slow one, the contrast of each text, leaves out rows of a
table that are built as two earlier ones (two, since stripes alternate): same elements, classes and
styles, so the same colours.
"""

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

Colours = Literal["light", "dark"]
_SCRIPT: str = Axe().axe_script
_SHOW = """(dark) => {
  if (location.pathname.startsWith("/admin/"))  // as its script does when the page is opened
    document.documentElement.classList.toggle("dark", dark);
  document.getAnimations().filter((one) => one instanceof CSSTransition)
    .forEach((one) => one.finish());
}"""
_RUN = """async () => {
  const seen = new Map();
  const shape = (e) => [e.tagName, e.className, e.getAttribute("style"), e.hidden, e.disabled,
    e.getAttribute("aria-disabled"), [...e.children].map(shape)].join("|");
  for (const row of document.querySelectorAll("tbody > tr, tbody.group > tr, li")) {
    const key = shape(row), count = (seen.get(key) ?? 0) + 1;
    seen.set(key, count);
    row.toggleAttribute("data-same", count > 2);
  }
  const kinds = {resultTypes: ["violations"], preload: false};
  const same = document.querySelector("[data-same]") ? [["[data-same]"]] : [];
  const results = [
    await axe.run(document, {...kinds, rules: {"color-contrast": {enabled: false}}}),
    await axe.run({include: [["html"]], exclude: same}, {...kinds, runOnly: ["color-contrast"]}),
  ];
  return results.flatMap((one) => one.violations).flatMap(
    (rule) => rule.nodes.map((node) => rule.id + ": " + node.html.slice(0, 160)));
}"""


def broken_rules(page: Page) -> list[str]:
    """Return what breaks a rule, in light and in dark colours; the page stays in its own."""
    page.evaluate(_SCRIPT)
    dark_first: bool = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    found: list[str] = []
    both: tuple[Colours, Colours] = ("dark", "light") if not dark_first else ("light", "dark")
    for colours in both:  # its own at last
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        page.evaluate(_SHOW, colours == "dark")
        found += [f"in {colours} colours: {problem}" for problem in page.evaluate(_RUN)]
    return found
