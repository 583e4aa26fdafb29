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

_GROUND = """() => {
  const pen = new OffscreenCanvas(1, 1).getContext("2d");
  for (const one of [document.documentElement, document.body]) {
    pen.fillStyle = getComputedStyle(one).backgroundColor;
    pen.fillRect(0, 0, 1, 1);
  }
  const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
  return alpha ? (0.21 * red + 0.72 * green + 0.07 * blue) / 255 : 1;
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
        if (page.evaluate(_GROUND) < 0.5) != (colours == "dark"):  # the contrast may be fine
            found.append(f"in {colours} colours: the page has other ones")
        found += [f"in {colours} colours: {problem}" for problem in page.evaluate(_RUN)]
    return found
