/**
 * The raw frames as a list: only the rows in sight are elements, so a flood costs one short redraw
 * per animation frame whatever it holds.
 */
import { copyText, fill, h, icon, iconButton, oncePerFrame, place, setText } from './dom.js';
import { t } from './i18n.js';

const ROW_PX = 26;
const SPARE_ROWS = 8;

/** @param {import('./session.js').Session} session @param {{onEdit: (text: string) => void, say: (text: string) => void}} on */
export function framesView(session, on) {
  const log = session.log;
  /** @type {import('./frames.js').Row | null} */
  let chosen = null;
  let atEnd = true;
  let typesShown = '';
  /** @type {Map<number, HTMLElement>} */
  let drawn = new Map();

  const search = h('input', { type: 'search', placeholder: t('filterText'), 'aria-label': t('filterText'), value: log.filter.text, spellcheck: 'false', oninput: () => change({ text: search.value }) });
  const types = h('select', { 'aria-label': t('type'), onchange: () => change({ type: types.value }) });
  const directions = h('div', { class: 'segments', role: 'group', 'aria-label': t('direction') },
    ['', 'in', 'out', 'http'].map((direction) => h('button', {
      type: 'button', dataset: { direction }, 'aria-pressed': String(log.filter.direction === direction),
      onclick: () => change({ direction }),
    }, t(`dir${direction ? direction[0].toUpperCase() + direction.slice(1) : 'All'}`))));
  const beats = h('input', { type: 'checkbox', checked: log.filter.heartbeats, onchange: () => change({ heartbeats: beats.checked }) });
  const pause = h('button', { type: 'button', class: 'button small pause', 'aria-pressed': 'false', onclick: () => { log.pause(!log.paused); atEnd = !log.paused; draw(); } });
  const count = h('span', { class: 'count' });
  const fillHeight = h('div', { class: 'rows-height' });
  const rows = h('div', { class: 'rows' });
  const none = h('p', { class: 'rows-none' });
  const scroller = h('div', { class: 'rows-scroller', tabindex: '0', role: 'listbox', 'aria-label': t('frames') }, fillHeight, rows, none);
  const detail = h('div', { class: 'detail', hidden: true });
  const element = h('div', { class: 'frames' },
    h('div', { class: 'frames-bar' }, search, types, directions,
      h('label', { class: 'check' }, beats, t('heartbeats')),
      h('div', { class: 'frames-end' }, count, pause,
        iconButton('copy', t('copyShown'), () => { copyText(log.toText()).then(() => on.say(t('copied'))); }),
        iconButton('clear', t('clear'), () => { log.clear(); chosen = null; draw(); }))),
    h('div', { class: 'frames-body' }, scroller, detail));

  /** @param {Partial<import('./frames.js').Filter>} filter */
  function change(filter) {
    log.setFilter(filter);
    atEnd = true;
    draw();
  }

  scroller.addEventListener('scroll', () => {
    atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < ROW_PX * 1.5;
    drawRows();
  });
  scroller.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === 'Escape') { choose(null); return; }
    if (step === undefined || !log.shown.length) return;
    event.preventDefault();
    const now = chosen ? log.shown.findIndex((row) => row.n === chosen?.n) : log.shown.length;
    const next = Math.max(0, Math.min(log.shown.length - 1, (now < 0 ? log.shown.length : now) + step));
    choose(log.shown[next]);
    const top = next * ROW_PX;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + ROW_PX > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + ROW_PX - scroller.clientHeight;
    atEnd = false;
  });

  /** @param {import('./frames.js').Row | null} row */
  function choose(row) {
    chosen = row;
    drawDetail();
    drawRows();
  }

  function drawDetail() {
    detail.hidden = !chosen;
    if (!chosen) return;
    const row = chosen;
    fill(detail,
      h('header', {}, h('strong', {}, t('frameN', { n: row.n })), h('span', { class: 'detail-type' }, row.type), h('span', { class: 'spring' }),
        row.direction === 'http' ? null : h('button', { type: 'button', class: 'link', onclick: () => on.onEdit(pretty(row.text)) }, t('useAsRaw')),
        iconButton('copy', t('copy'), () => { copyText(pretty(row.text)).then(() => on.say(t('copied'))); }),
        iconButton('close', t('close'), () => { choose(null); scroller.focus(); })),
      h('pre', { tabindex: '0' }, pretty(row.text)));
  }

  function drawRows() {
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.min(log.shown.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW_PX) + SPARE_ROWS);
    rows.style.transform = `translateY(${first * ROW_PX}px)`;
    const inSight = log.shown.slice(first, last);
    // Rows keep their element while in sight: a click must find what the pointer went down on.
    const elements = new Map(inSight.map((row) => [row.n, drawn.get(row.n) ?? rowElement(row)]));
    drawn = elements;
    place(rows, [...elements.values()]);
    for (const [n, one] of elements) one.setAttribute('aria-selected', String(n === chosen?.n));
    if (chosen) scroller.setAttribute('aria-activedescendant', rowId(chosen));
    else scroller.removeAttribute('aria-activedescendant');
  }

  const rowId = (row) => `frame-${session.key}-${row.n}`;

  /** @param {import('./frames.js').Row} row */
  function rowElement(row) {
    return h('div', { class: 'row', id: rowId(row), role: 'option', 'aria-selected': 'false', dataset: { direction: row.direction, error: row.type === 'error' ? '1' : '' }, onclick: () => choose(row.n === chosen?.n ? null : row) },
      h('span', { class: 'at' }, time(row.at)),
      h('span', { class: 'arrow', 'aria-label': t(`dir${row.direction[0].toUpperCase()}${row.direction.slice(1)}`) }, { in: '↓', out: '↑', http: '⇄' }[row.direction]),
      h('span', { class: 'type' }, row.type), h('span', { class: 'peek' }, row.text.slice(0, 300)), h('span', { class: 'size' }, size(row.size)));
  }

  function draw() {
    const all = [...log.types].sort();
    if (all.join() !== typesShown) {
      typesShown = all.join();
      const now = log.filter.type;
      fill(types, h('option', { value: '' }, t('allTypes')), [...new Set([...all, ...(now ? [now] : [])])].map((type) => h('option', { value: type, selected: type === now }, type)));
    }
    for (const button of directions.querySelectorAll('button')) button.setAttribute('aria-pressed', String(button.dataset.direction === log.filter.direction));
    const label = log.paused ? t('resumeLog', { n: log.waiting }) : t('pause');
    if (pause.dataset.label !== label) { pause.dataset.label = label; fill(pause, icon(log.paused ? 'play' : 'pause'), label); }
    pause.setAttribute('aria-pressed', String(log.paused));
    setText(count, t('shownOf', { shown: log.shown.length, all: log.rows.length }));
    none.hidden = log.shown.length > 0;
    setText(none, log.rows.length ? t('noMatch') : t('noFrames'));
    fillHeight.style.height = `${log.shown.length * ROW_PX}px`;
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
    if (!chosen && !detail.hidden) drawDetail();
    drawRows();
  }

  const redraw = oncePerFrame(() => { if (element.isConnected) draw(); });
  // The log also hears of what changes nothing else, such as each piece of an answer.
  const unwatch = [session.watch(redraw), log.watch(redraw)];
  const resized = new ResizeObserver(redraw);
  resized.observe(scroller);
  draw();
  return { element, dispose() { for (const undo of unwatch) undo(); resized.disconnect(); } };
}

/** @param {string} text */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** @param {number} at ms */
function time(at) {
  const date = new Date(at);
  const two = (n) => String(n).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** @param {number} bytes */
const size = (bytes) => (bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KB`);
