/**
 * The log of raw frames: bounded in rows and in bytes, filtered, pausable. Pure of the page.
 *
 * @typedef {{n: number, at: number, direction: 'in' | 'out' | 'http', type: string, size: number, text: string}} Row
 * @typedef {{text: string, type: string, direction: '' | 'in' | 'out' | 'http', heartbeats: boolean}} Filter
 */
import { byteSize } from './protocol.js';

export const MAX_ROWS = 2000;
/** A flood of large frames must not eat the tab. */
export const MAX_BYTES = 8 * 1024 * 1024;

/** @type {Filter} */
export const NO_FILTER = { text: '', type: '', direction: '', heartbeats: false };

/** @param {Row} row @param {Filter} filter  `text` is compared without case */
export function matches(row, filter) {
  if (!filter.heartbeats && (row.type === 'ping' || row.type === 'pong')) return false;
  if (filter.direction && row.direction !== filter.direction) return false;
  if (filter.type && row.type !== filter.type) return false;
  return !filter.text || row.text.toLowerCase().includes(filter.text.toLowerCase());
}

/** The value of the frame's own "type", or what stands for it where the text is not a frame.
 * @param {string} text */
export function typeOf(text) {
  try {
    const type = JSON.parse(text)?.type;
    return typeof type === 'string' ? type : '(no type)';
  } catch {
    return '(not JSON)';
  }
}

export class FrameLog {
  /** @type {Row[]} */ rows = [];
  /** @type {Set<string>} */ types = new Set();
  /** @type {Row[]} */ #shown = [];
  /** @type {Filter} */ #filter = NO_FILTER;
  #bytes = 0;
  #count = 0;
  /** @type {Set<() => void>} */ #watchers = new Set();
  paused = false;
  /** Rows that came while paused and would be shown. */
  waiting = 0;

  get filter() { return this.#filter; }
  /** What the view shows, oldest first; frozen while paused. */
  get shown() { return this.#shown; }
  get count() { return this.#count; }

  /** Call `watcher` after every row; the answer ends it. @param {() => void} watcher */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** @param {Row['direction']} direction @param {string} text @param {string} [type] @param {number} [at] */
  push(direction, text, type = typeOf(text), at = Date.now()) {
    this.#add(direction, text, type, at);
    for (const watcher of this.#watchers) watcher();
  }

  /** @param {Row['direction']} direction @param {string} text @param {string} type @param {number} at */
  #add(direction, text, type, at) {
    const row = { n: (this.#count += 1), at, direction, type, size: byteSize(text), text };
    this.rows.push(row);
    this.types.add(type);
    this.#bytes += row.size;
    let extra = 0;
    while (this.rows.length - extra > MAX_ROWS || (this.#bytes > MAX_BYTES && this.rows.length - extra > 1)) {
      this.#bytes -= this.rows[extra].size;
      extra += 1;
    }
    if (extra) this.rows.splice(0, extra);
    if (!matches(row, this.#filter)) return;
    if (this.paused) {
      this.waiting += 1;
      return;
    }
    this.#shown.push(row);
    const oldest = this.rows[0].n;
    let gone = 0;
    while (gone < this.#shown.length && this.#shown[gone].n < oldest) gone += 1;
    if (gone) this.#shown.splice(0, gone);
  }

  /** @param {Partial<Filter>} change */
  setFilter(change) {
    this.#filter = { ...this.#filter, ...change };
    const until = this.paused ? this.pausedAt : Infinity;
    this.#shown = this.rows.filter((row) => row.n <= until && matches(row, this.#filter));
    this.waiting = this.paused ? this.rows.filter((row) => row.n > until && matches(row, this.#filter)).length : 0;
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.paused = paused;
    this.pausedAt = this.#count;
    this.setFilter({});
  }

  clear() {
    this.rows = [];
    this.#shown = [];
    this.#bytes = 0;
    this.waiting = 0;
    this.types.clear();
  }

  /** The shown frames as JSON lines. */
  toText() {
    return this.#shown.map((row) => `${new Date(row.at).toISOString()} ${row.direction} ${row.text}`).join('\n');
  }
}
