"""axe-core's rules on the whole page, in light and in dark colours."""

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
  const results = await axe.run(document, {resultTypes: ["violations"], preload: false});
  return results.violations.flatMap(
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
