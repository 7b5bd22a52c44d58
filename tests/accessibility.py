"""What stands in anybody's way on a page, as axe-core finds it, and a few checks of our own."""

from __future__ import annotations

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

NAMELESS = """() => [...document.querySelectorAll(
  'button, input, select, textarea, a, [role=listbox]')]
  .filter((one) => one.checkVisibility()).filter((one) => {
    const label = one.getAttribute('aria-label') || one.textContent.trim() || one.title
      || [...(one.labels ?? [])].map((l) => l.textContent.trim()).join('');
    return !label;
  }).map((one) => one.outerHTML)"""

SAME_IDS = """() => {
  const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
  return ids.filter((id, n) => ids.indexOf(id) !== n);
}"""

# WCAG 2.2, 1.4.3: 4.5 to 1 for text of this size; backgrounds here are opaque or absent.
FAINT = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const one of document.querySelectorAll('body *')) {
    const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !one.checkVisibility() || one.closest('option, :disabled')) continue;
    const [a, b] = [light(rgba(getComputedStyle(one).color)), light(behind(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const text = one.textContent.slice(0, 30);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${one.className} ${text}`);
  }
  return [...new Set(faint)];
}"""


async def findings(page: Page) -> list[str]:
    """What axe-core, and the checks above, have against the page as it is now."""
    results = await Axe().run(page)
    found = [
        f"{one['id']}: {node['html'][:200]}"
        for one in results.response["violations"]
        for node in one["nodes"]
    ]
    for check in (NAMELESS, SAME_IDS, FAINT):
        found += await page.evaluate(check)
    return found
