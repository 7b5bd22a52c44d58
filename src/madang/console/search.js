/**
 * Looking for what was said: the words of the query language while they are typed, the parts of a
 * text that were found, and one search with its pages. Knows no DOM.
 *
 * @typedef {{field: string, text: string, ranges: [number, number][], offset: number}} Highlight
 * @typedef {{text: string, found: boolean}} Part
 */
import { uid } from './conversations.js';
import { conversationOf } from './protocol.js';
import { AGENTS } from './rest.js';

/** What may stand before a colon, and what it takes. */
export const OPERATORS = ['from:', 'in:', 'has:file', 'after:', 'before:'];
const PAGE = 20;
/** Of a text before what was found in it: more would push that out of sight. */
const BEFORE_FOUND = 24;

/** The word that is being typed. @param {string} text */
export const lastWord = (text) => /\S*$/.exec(text)?.[0] ?? '';

/** The text with another word in place of the one being typed. @param {string} text @param {string} word */
export const withLastWord = (text, word) => text.slice(0, text.length - lastWord(text).length) + word;

/** A query that is still being typed: its last filter has no value, or a quotation mark is open.
 * @param {string} text */
export function unfinished(text) {
  const quotes = text.match(/["“”„‟＂]/g)?.length ?? 0;
  return quotes % 2 === 1 || /^-$|^(from|in|has|after|before):$/i.test(lastWord(text)) || /^(after|before):[\d-]{0,9}$|^has:(?!file$)|^in:(?!.{36}$)/i.test(lastWord(text));
}

/** The conversations that a query names. @param {string} text @returns {string[]} */
export const placesIn = (text) => [...text.matchAll(/(?:^|\s)in:"?([0-9a-f-]{36})/gi)].map((found) => found[1].toLowerCase());

/** A highlight as pieces of text, from a little before the first that was found.
 * @param {Highlight} highlight @returns {Part[]} */
export function partsOf({ text, ranges, offset }) {
  const first = ranges[0]?.[0] ?? 0;
  let at = 0;
  /** @type {Part[]} */
  const parts = [];
  if (first > BEFORE_FOUND) {
    // From the beginning of a word, and never within a character of two code units.
    at = first - BEFORE_FOUND;
    const word = text.slice(at, first).search(/\s\S/);
    if (word >= 0) at += word + 1;
    else if (/[\uDC00-\uDFFF]/.test(text[at])) at += 1;
  }
  if (at > 0 || offset > 0) parts.push({ text: '…', found: false });
  for (const [start, end] of ranges) {
    if (start > at) parts.push({ text: text.slice(at, start), found: false });
    parts.push({ text: text.slice(start, end), found: true });
    at = end;
  }
  if (at < text.length) parts.push({ text: text.slice(at), found: false });
  return parts;
}

export class Search {
  /** What stands in the field. */
  text = '';
  /** What was looked for last; empty: nothing. */
  query = '';
  /** @type {Record<string, any>[]} */ results = [];
  /** The place of the next page. @type {string | null} */ next = null;
  busy = false;
  /** What was answered instead of results. @type {import('./rest.js').Answer | null} */ problem = null;
  #asked = 0;

  /** @param {import('./rest.js').Rest} rest @param {() => void} onChange */
  constructor(rest, onChange) {
    this.rest = rest;
    this.onChange = onChange;
  }

  /** Look for `query`, unless that is what was found. @param {string} query */
  async find(query) {
    if (query === this.query && !this.problem) return;
    this.#forget();
    this.query = query;
    await this.#read();
  }

  /** The results after those that are there. */
  async more() {
    if (this.next && !this.busy) await this.#read();
  }

  /** Nothing is looked for while `text` is being typed. @param {string} text */
  retract(text) {
    this.clear();
    this.text = text;
  }

  clear() {
    this.text = '';
    this.#forget();
    this.onChange();
  }

  /** What is deleted, edited or out of reach is no result any more.
   * @param {import('./protocol.js').Frame} frame @param {string} me */
  heard(frame, me) {
    if (!this.results.length) return;
    const left = frame.type === 'participant.left' && uid(frame.user_id) === me;
    if (!left && frame.type !== 'message.deleted' && frame.type !== 'message.edited') return;
    const gone = (one) => (left ? one.conversation_id === conversationOf(frame) : one.id === frame.message_id);
    this.results = this.results.filter((one) => !gone(one));
  }

  #forget() {
    this.#asked += 1;
    Object.assign(this, { query: '', results: [], next: null, busy: false, problem: null });
  }

  async #read() {
    const asked = (this.#asked += 1);
    this.busy = true;
    this.onChange();
    const answer = await this.rest.call({ method: 'GET', path: `${AGENTS}/search`, query: { q: this.query, limit: PAGE, cursor: this.next } });
    // Something else is looked for by now.
    if (asked !== this.#asked) return;
    this.busy = false;
    this.problem = answer.ok ? null : answer;
    if (answer.ok) {
      const known = new Set(this.results.map((one) => one.id));
      this.results = [...this.results, ...answer.body.results.filter((one) => !known.has(one.id))];
      this.next = answer.body.next;
    }
    this.onChange();
  }
}
