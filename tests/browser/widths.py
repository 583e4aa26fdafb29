"""What makes a page wider than the screen, by name.

A page can scroll sideways though every element fits: a text that its column cannot hold is drawn
beyond the element. So texts are measured as well. What lies in an area that scrolls or cuts off
widens no page.
"""

from playwright.sync_api import Page

MOST_NAMED = 5
_FIND = """async () => {
  await document.fonts.ready;  // other letters are wider, and without its font an icon is a word
  const root = document.documentElement, found = [];
  if (root.scrollWidth <= root.clientWidth) return [0, 0, []];
  const isBeyond = (box) => box.width && (box.right > root.clientWidth + 0.5 || box.left < -0.5);
  const isHeld = (one) => {
    for (; one && one !== document.body; one = one.parentElement) {
      const style = getComputedStyle(one);
      if (style.overflowX !== "visible" || style.position === "fixed") return true;
    }
    return false;
  };
  const add = (one, box, what) => {
    const names = [];
    for (let at = one; at && at !== document.body && names.length < 4; at = at.parentElement)
      names.unshift([at.localName + (at.id && `#${at.id}`), ...at.classList].slice(0, 3).join("."));
    found.push(`${what}${names.join(" > ")} from ${box.left | 0} to ${Math.ceil(box.right)} px`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode()); ) {
    const range = document.createRange();
    range.selectNodeContents(text);
    const box = [...range.getClientRects()].find(isBeyond);
    if (box && !isHeld(text.parentElement))
      add(text.parentElement, box, `“${text.data.replace(/\\s+/g, " ").trim().slice(0, 60)}” in `);
  }
  const wide = [...document.body.querySelectorAll("*")].filter(
    (one) => isBeyond(one.getBoundingClientRect()) && !isHeld(one.parentElement));
  for (const one of wide)  // the innermost: the others are wide because of them
    if (!wide.some((other) => other !== one && one.contains(other)))
      add(one, one.getBoundingClientRect(), "");
  return [root.clientWidth, root.scrollWidth, found];
}"""


def too_wide(page: Page) -> list[str]:
    """Return that the page scrolls sideways and which texts and elements make it; else nothing."""
    shown, width, found = page.evaluate(_FIND)
    if not width:
        return []
    why = "; ".join(found[:MOST_NAMED]) or "no element and no text: look at ::before and ::after"
    return [f"{width} px wide on a screen of {shown}: {why}"]
