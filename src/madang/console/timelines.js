/**
 * What is read over REST of conversations: snapshots, and their messages page by page. Events go on
 * coming while something is read; they are remembered and applied to what was read. Knows no DOM.
 */
import * as convo from './conversations.js';
import { AGENTS, EVENTS, SESSIONS_PAGE } from './rest.js';

const PAGE = 50;
/** Pages of the event log that are read for the lines of one page of messages, at most. */
const MOST_LOG_PAGES = 3;
const LOG_PAGE = 1000;
/** A place in the log is a time, in microseconds; what is kept there is a little later than it was said. */
const SLACK_MICROS = 1_000_000;

/**
 * @typedef {import('./protocol.js').Frame} Frame
 * @typedef {{get: () => convo.State, put: (state: convo.State) => void, changed: () => void}} Place
 *   where the state is kept; `changed` draws it, also where it is the same
 */

export class Timelines {
  /** @type {Set<Frame[]>} */ #reads = new Set();
  /** @type {Set<string>} */ #loading = new Set();
  /** There are sessions after those that are listed. */
  moreSessions = false;
  /** How many of them came page by page. */
  #listed = 0;
  /** Where in a conversation somebody went last, by its id. @type {Map<string, object>} */ #turns = new Map();

  /** @param {import('./rest.js').Rest} rest @param {Place} place */
  constructor(rest, place) {
    this.rest = rest;
    this.place = place;
  }

  /** Events that came while something may be read. @param {Frame[]} frames */
  hear(...frames) {
    for (const reading of this.#reads) reading.push(...frames);
  }

  /** Read something over REST while remembering the events that come meanwhile.
   * @template T @param {() => Promise<T>} read @param {(result: T, since: Frame[]) => void} then */
  async reading(read, then) {
    /** @type {Frame[]} */
    const since = [];
    this.#reads.add(since);
    try {
      const result = await read();
      then(result, since);
    } finally {
      this.#reads.delete(since);
    }
    this.place.changed();
  }

  /** The conversation itself; false where it is read already. @param {string} id */
  async conversation(id) {
    return this.#once(`about ${id}`, () => this.reading(() => this.rest.messenger('GET', `/conversations/${encodeURIComponent(id)}`), (answer, since) => {
      if (answer.ok) this.place.put(convo.applyConversation(this.place.get(), answer.body, since));
      else if (answer.status === 404 || answer.status === 403) this.place.put(convo.dropConversation(this.place.get(), id));
    }));
  }

  /** All my conversations; of the sessions as many as were listed before. @returns {Promise<boolean>} */
  async everything() {
    let ok = false;
    await this.reading(() => this.rest.conversations(Math.max(this.#listed, SESSIONS_PAGE)), (read, since) => {
      if (!read) return;
      ok = true;
      this.#listed = read.listed;
      this.moreSessions = read.more;
      this.place.put(convo.applySnapshot(this.place.get(), read.list, since));
    });
    return ok;
  }

  /** The sessions that come after those which are listed. */
  async olderSessions() {
    if (!this.moreSessions) return;
    await this.#once('sessions', () => this.reading(() => this.rest.sessions(this.#listed), (read) => {
      if (!read) return;
      this.#listed += read.list.length;
      this.moreSessions = read.more;
      this.place.put(convo.applyOutlines(this.place.get(), read.list));
    }));
  }

  /** One listed session is there no more: those after it stand one further up. */
  sessionGone() {
    this.#listed = Math.max(0, this.#listed - 1);
  }

  /** The newest messages, and of a session who answers in it; what is known only in outline is read
   * whole first. @param {string} id */
  async latest(id) {
    if (this.#entry(id)?.about.outline) await this.conversation(id);
    await Promise.all([this.#page(id, 'latest', {}), this.own(id)]);
  }

  /** The messages around one of them, in the place of those that were read before.
   * @param {string} id @param {string} message */
  around(id, message) {
    return this.#page(id, 'around', { around: message });
  }

  /** @param {string} id */
  async older(id) {
    const entry = this.#entry(id);
    const first = entry?.items.find((item) => item.message);
    if (first && entry?.hasMore) await this.#once(`older ${id}`, () => this.#page(id, 'older', { before: first.seq }));
  }

  /** @param {string} id */
  async newer(id) {
    const entry = this.#entry(id);
    const last = entry?.items.findLast((item) => item.message);
    if (last && entry?.ahead) await this.#once(`newer ${id}`, () => this.#page(id, 'newer', { after: last.seq }));
  }

  /** @param {string | null} id */
  isReadingOlder(id) {
    return this.#loading.has(`older ${id}`);
  }

  /** Who answers in a session, and which answers count. @param {string} id */
  async own(id) {
    if (this.#entry(id)?.about.kind !== 'agent') return;
    await this.reading(() => this.rest.call({ method: 'GET', path: `${AGENTS}/sessions/${encodeURIComponent(id)}` }), (answer, since) => {
      if (answer.ok) this.place.put(convo.applyOwn(this.place.get(), id, answer.body, since));
    });
  }

  /** @param {string} id */
  #entry(id) {
    return this.place.get().conversations.get(id);
  }

  /** @param {string} id @param {'latest' | 'older' | 'newer' | 'around'} where @param {Record<string, any>} query */
  async #page(id, where, query) {
    const placed = where === 'latest' || where === 'around';
    const turn = placed ? {} : this.#turns.get(id);
    if (placed) this.#turns.set(id, turn);
    await this.reading(() => this.rest.messages(id, { ...query, limit: PAGE }), (page, since) => {
      // Around one, `has_more` is said of both sides together: half a page is older, or all there is.
      const place = page && where === 'around' ? page.messages.findIndex((one) => one.id === query.around) : -1;
      if (place >= 0 && place < PAGE / 2) page.has_more = false;
      // Somebody went elsewhere in it meanwhile: this page has no place there.
      if (!page || turn !== this.#turns.get(id)) return;
      this.place.put(convo.applyPage(this.place.get(), id, page, where, since));
      this.#handovers(id, page.messages);
    });
  }

  /** Who has taken over and given back among these messages, and between them and those beside
   * them: the log knows, the messages do not.
   * @param {string} id @param {import('./conversations.js').Message[]} messages */
  async #handovers(id, messages) {
    const entry = this.#entry(id);
    if (entry?.about.kind !== 'agent') return;
    const [first, last] = [messages[0], messages[messages.length - 1]];
    const before = first && entry.items.findLast((item) => item.message && item.seq < first.seq)?.message;
    const after = last && entry.items.find((item) => item.message && item.seq > last.seq)?.message;
    const micros = (/** @type {string} */ time) => Date.parse(time) * 1000;
    const until = after || entry.ahead ? micros((after ?? last).created_at) + SLACK_MICROS : Infinity;
    let cursor = micros((before ?? first ?? entry.about).created_at) - SLACK_MICROS;
    /** @type {Frame[]} */
    const found = [];
    for (let pages = 0; pages < MOST_LOG_PAGES && cursor < until; pages += 1) {
      const answer = await this.rest.call({ method: 'GET', path: EVENTS, query: { cursor, limit: LOG_PAGE } });
      if (!answer.ok) return;
      for (const { payload, ...event } of answer.body?.events ?? []) {
        if (event.type === 'handover' && event.conversation_id === id) found.push({ ...payload, ...event });
      }
      if (!answer.body?.has_more) break;
      cursor = answer.body.cursor;
    }
    this.place.put(convo.applyLines(this.place.get(), id, found));
    this.place.changed();
  }

  /** @param {string} what @param {() => Promise<void>} read */
  async #once(what, read) {
    if (this.#loading.has(what)) return false;
    this.#loading.add(what);
    try {
      await read();
    } finally {
      this.#loading.delete(what);
    }
    return true;
  }
}
