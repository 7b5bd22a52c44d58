/**
 * Building elements. Text goes in as text nodes only: nothing from the wire is ever parsed as HTML,
 * and no style attribute is written (the page's Content-Security-Policy would refuse both).
 */

/** @typedef {Node | string | number | null | undefined | false | Child[]} Child */

/**
 * An element. Properties: `class`, `on…` listeners, `dataset`, known DOM properties of forms, and
 * everything else as attributes; `null`, `undefined` and `false` leave an attribute out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {Record<string, any>} [props] @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'selected') element[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...flat(children));
  return element;
}

/** @param {Child[]} children @returns {(Node | string)[]} */
function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : String(child)));
}

/** Put `children` in place of what is there. @param {Element} element @param {...Child} children */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
}

/** Set text only where it changed, so that an unchanged line is not announced again.
 * @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make `list` hold exactly `nodes`, moving only what is out of place (so focus stays).
 * @param {HTMLElement} list @param {HTMLElement[]} nodes */
export function place(list, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...list.children]) if (!wanted.has(/** @type {HTMLElement} */ (child))) child.remove();
  let next = list.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = next.nextElementSibling;
    else list.insertBefore(node, next);
  }
}

/** Line drawings on a 20-unit grid. */
export const ICONS = {
  plus: 'M10 4v12M4 10h12', close: 'M5 5l10 10M15 5L5 15', back: 'M12 4l-6 6 6 6', send: 'M10 16V4M5 9l5-5 5 5',
  reply: 'M8 5L3 10l5 5M3 10h8a6 6 0 0 1 6 6', edit: 'M4 16l1-4 8-8 3 3-8 8zM11 6l3 3', trash: 'M4 6h12M8 6V4h4v2M6 6l1 10h6l1-10',
  smile: 'M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM7 12s1 1.500 3 1.500 3-1.500 3-1.500M7.500 8v.5M12.500 8v.5',
  pause: 'M7 5v10M13 5v10', play: 'M7 5l8 5-8 5z', copy: 'M7 7h9v9H7zM4 13V4h9', clear: 'M5 5l10 10M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14z',
  sun: 'M10 13a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM10 2v2M10 16v2M2 10h2M16 10h2M4.500 4.500l1.300 1.300M14.200 14.200l1.300 1.300M4.500 15.500l1.300-1.300M14.200 5.800l1.300-1.300',
  moon: 'M16 12A7 7 0 0 1 8 4a6.500 6.500 0 1 0 8 8z', auto: 'M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 3v14M12.500 4v12M15 6v8',
  plug: 'M7 3v4M13 3v4M5 7h10v3a5 5 0 0 1-10 0zM10 15v3', tools: 'M3 5h14v10H3zM3 8.500h14M6 12h4', down: 'M5 8l5 5 5-5', check: 'M4 10.500l4 4 8-9',
  clock: 'M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 6v4l2.500 2', stop: 'M6 6h8v8H6z', clip: 'M14.500 9.500l-5 5a3 3 0 0 1-4.300-4.300l6-6a2 2 0 0 1 2.900 2.900l-5.700 5.700a1 1 0 0 1-1.400-1.400l4.800-4.800',
  file: 'M6 3h5l4 4v10H6zM11 3v4h4', save: 'M10 4v8M6.500 9l3.500 3.500L13.500 9M5 16h10', bolt: 'M11 3l-6 8h5l-1 6 6-8h-5z',
  next: 'M8 4l6 6-6 6', again: 'M15.500 7.500A6 6 0 1 0 16 11M16 4v4h-4', search: 'M9 14.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11zM13 13l4 4',
  archive: 'M3 4.500h14v3.500H3zM4.500 8v8h11V8M8 11h4', restore: 'M3 4.500h14v3.500H3zM4.500 8v8h11V8M10 14.500v-4.500M8 12l2-2 2 2', hand: 'M10 9.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 17a6 6 0 0 1 12 0',
};

/** A decorative icon; the button around it carries the label. @param {keyof typeof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 20 20');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', 'icon');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that is only an icon. @param {keyof typeof ICONS} name @param {string} label
 * @param {(event: MouseEvent) => void} onclick @param {Record<string, any>} [props] */
export function iconButton(name, label, onclick, props = {}) {
  return h('button', { type: 'button', title: label, 'aria-label': label, ...props, class: `icon-button ${props.class ?? ''}`, onclick }, icon(name));
}

/** Do something once at a time: the button is busy until it is done, and keeps the focus.
 * @param {HTMLElement} button @param {() => Promise<void>} work */
export async function whileBusy(button, work) {
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  try {
    await work();
  } finally {
    button.removeAttribute('aria-busy');
  }
}

/** A round initial in one of eight calm colours, always the same for the same user; an agent's has corners.
 * @param {string} name @param {string} [status] @param {boolean} [agent] */
export function avatar(name, status, agent = false) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) >>> 0;
  return h('span', { class: agent ? 'avatar agent' : 'avatar', 'aria-hidden': 'true', dataset: { hue: sum % 8, ...(status ? { status } : {}) } }, [...name][0]?.toUpperCase() ?? '?');
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
  } catch {
    const area = h('textarea', { class: 'offscreen', value: text, 'aria-hidden': 'true' });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
}
