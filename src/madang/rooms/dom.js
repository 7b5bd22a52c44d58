/**
 * Building and keeping elements. Text goes in as text nodes only: nothing that came over the wire is
 * ever parsed as HTML, and no style attribute is written (the page's policy would refuse both).
 */

/** @typedef {Node | string | number | null | undefined | false | Child[]} Child */

/** Set as DOM properties; everything else that is no listener is an attribute. */
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'textContent']);

/**
 * An element. `on…` are listeners; `null`, `undefined` and `false` leave an attribute out.
 * @param {string} tag @param {Record<string, any>} [props] @param {...Child} children
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...flat(children));
  return element;
}

/** @param {Child[]} children @returns {(Node | string)[]} */
function flat(children) {
  return children.flat(9).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/** Put `children` in place of what is there. @param {Element} element @param {...Child} children */
export function fill(element, ...children) {
  element.textContent = '';
  element.append(...flat(children));
}

/** Set text only where it changed, so that an unchanged line is not announced again.
 * @param {Element} element @param {string | number} text */
export function setText(element, text) {
  const next = String(text);
  if (element.textContent !== next) element.textContent = next;
}

/** Set an attribute only where it changed; `false` removes it.
 * @param {Element} element @param {string} name @param {string | number | boolean | null | undefined} value */
export function setAttr(element, name, value) {
  if (value === false || value === null || value === undefined) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** @param {HTMLElement} element @param {boolean} shown */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/**
 * @template T
 * @typedef {{element: HTMLElement, update: (item: T) => void}} Part  an element and how it follows its item
 */

/**
 * A list that follows items: makes what is new, updates what is there, removes what is gone, and
 * moves only what is out of place, so that focus and scrolling stay.
 * @template T
 * @param {HTMLElement} list @param {(item: T) => string} keyOf @param {(item: T) => Part<T>} make
 * @returns {(items: T[]) => void}
 */
export function keyed(list, keyOf, make) {
  /** @type {Map<string, Part<T>>} */
  let parts = new Map();
  return (items) => {
    const kept = new Map();
    for (const item of items) {
      const key = keyOf(item);
      const part = parts.get(key) || make(item);
      part.update(item);
      kept.set(key, part);
    }
    for (const [key, part] of parts) if (!kept.has(key)) part.element.remove();
    const focused = document.activeElement;
    let place = list.firstElementChild;
    for (const part of kept.values()) {
      if (part.element === place) place = place.nextElementSibling;
      else list.insertBefore(part.element, place);
    }
    // An element that was moved has lost the focus: give it back where it was.
    if (focused instanceof HTMLElement && focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
    parts = kept;
  };
}

/** @type {Record<string, string>} */
const ICONS = {
  up: 'M10 16V5M5 9.500 10 4.500l5 5',
  send: 'M10 16V5M5 9.500 10 4.500l5 5',
  question: 'M4 4h12v9H9l-3.500 3v-3H4zM8.500 7.300a1.600 1.600 0 1 1 2 1.600c-.4.100-.5.4-.5.8M10 11.300v.1',
  chat: 'M4 4h12v9H9l-3.500 3v-3H4zM7 7.500h6M7 10h4',
  poll: 'M4 16V9M10 16V4M16 16v-5',
  live: 'M10 11a1 1 0 1 0 0-2 1 1 0 0 0 0 2zM6.500 13.500a5 5 0 0 1 0-7M13.500 6.500a5 5 0 0 1 0 7M4 16a8.500 8.500 0 0 1 0-12M16 4a8.500 8.500 0 0 1 0 12',
  pencil: 'M4 16l.7-3.500L13 4.200 15.800 7 7.500 15.300z',
  away: 'M3 7.500a10 10 0 0 1 14 0M6 11a5.500 5.500 0 0 1 8 0M10 15h.01M4 16 16 4',
};

/** Further icons, of pages that need more. @param {Record<string, string>} icons */
export const addIcons = (icons) => Object.assign(ICONS, icons);

/** A decorative icon; what is around it carries the label. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 20 20');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', `icon icon-${name}`);
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

/** Call `draw` at most once per animation frame, and in a hidden tab too, only less often.
 * @param {() => void} draw */
export function oncePerFrame(draw) {
  let asked = false;
  const run = () => { asked = false; draw(); };
  return () => {
    if (asked) return;
    asked = true;
    if (document.visibilityState === 'hidden') setTimeout(run, 250);
    else requestAnimationFrame(run);
  };
}

/** Copy text, also on plain http where the clipboard API is kept from pages. @param {string} text */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch (refused) {
    const area = h('textarea', { class: 'offscreen', value: text, 'aria-hidden': 'true' });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
}
