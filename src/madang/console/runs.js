/**
 * The answers under way in the open conversation: each is watched by one request of its own, from
 * where the last one was cut, until its end. Knows no DOM; views ask to be called when more is said.
 */
import { NOTHING_YET, afterFrame, underWay } from './answers.js';
import { EventLines } from './event-stream.js';
import { backoffDelay } from './protocol.js';
import { AGENTS } from './rest.js';

/**
 * @typedef {{id: string, answer: import('./answers.js').Answer, lastEvent: string, given: AbortController | null}} Watched
 *   `given` ends the watching; null while it rests
 */

/** Over HTTP/1.1 a browser opens six connections to a host, for all panels of the page together:
 * some must be left for what people do meanwhile. */
const MOST_WATCHED = 4;

const seats = { free: MOST_WATCHED, /** @type {(() => void)[]} */ queue: [] };
const wakeNext = () => seats.queue.shift()?.();

/** Wait for a seat; false where it was given up. @param {AbortSignal} signal */
async function takeSeat(signal) {
  while (!seats.free && !signal.aborted) {
    await new Promise((/** @type {(nothing?: any) => void} */ resolve) => {
      const turn = () => { signal.removeEventListener('abort', gone); resolve(); };
      const gone = () => { seats.queue.splice(seats.queue.indexOf(turn), 1); resolve(); };
      signal.addEventListener('abort', gone, { once: true });
      seats.queue.push(turn);
    });
  }
  if (signal.aborted) {
    // Whoever was called and has left lets the next one come.
    if (seats.free) wakeNext();
    return false;
  }
  seats.free -= 1;
  return true;
}

function leaveSeat() {
  seats.free += 1;
  wakeNext();
}

/** @param {number} ms @param {AbortSignal} signal */
function pause(ms, signal) {
  return new Promise((/** @type {(nothing?: any) => void} */ resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

export class Runs {
  /** @type {Map<string, Watched>} */ #watched = new Map();
  /** @type {Map<string, () => void>} */ #views = new Map();
  /** @type {any} */ #items = null;
  #live = false;

  /** @param {import('./rest.js').Rest} rest
   * @param {(text: string, type: string) => void} onFrame   every frame that is told, for the log */
  constructor(rest, onFrame) {
    this.rest = rest;
    this.onFrame = onFrame;
  }

  /** Watch what is under way among these lines of the open conversation, and nothing else. While
   * there is no line, nothing is watched and what was said so far is kept.
   * @param {import('./conversations.js').Item[]} items @param {boolean} live */
  follow(items, live) {
    if (items === this.#items && live === this.#live) return;
    this.#items = items;
    this.#live = live;
    const wanted = new Set();
    for (const { message, id } of items) if (underWay(message)) wanted.add(id);
    for (const [id, run] of this.#watched) {
      if (wanted.has(id) && live) continue;
      run.given?.abort();
      run.given = null;
      if (!wanted.has(id)) { this.#watched.delete(id); this.#views.delete(id); }
    }
    if (live) for (const id of wanted) this.#watch(id);
  }

  /** What is known of a run; null where nothing was told yet. @param {string} id */
  answer(id) {
    const answer = this.#watched.get(id)?.answer;
    return answer === NOTHING_YET ? null : answer ?? null;
  }

  /** Call `draw` when more of this answer is told: one view of it at a time.
   * @param {string} id @param {() => void} draw */
  show(id, draw) {
    this.#views.set(id, draw);
  }

  dispose() {
    this.follow([], false);
  }

  /** @param {string} id  its message's */
  stop(id) {
    return this.rest.call({ method: 'POST', path: `${AGENTS}/runs/${encodeURIComponent(id)}/stop` });
  }

  /** Ask the agent for another answer beside this one. Asked again with the same key it is the same.
   * @param {string} id @param {string} key */
  again(id, key) {
    return this.rest.call({ method: 'POST', path: `${AGENTS}/runs/${encodeURIComponent(id)}/regenerate`, body: { client_id: key } });
  }

  /** Of several answers this one counts. @param {string} id */
  choose(id) {
    return this.rest.call({ method: 'POST', path: `${AGENTS}/runs/${encodeURIComponent(id)}/choose` });
  }

  /** Answer what a run asks. @param {string} id @param {string} request @param {string} answer */
  decide(id, request, answer) {
    const path = `${AGENTS}/runs/${encodeURIComponent(id)}/approvals/${encodeURIComponent(request)}`;
    return this.rest.call({ method: 'POST', path, body: { answer } });
  }

  /** @param {string} id */
  async #watch(id) {
    const run = this.#watched.get(id) ?? { id, answer: NOTHING_YET, lastEvent: '', given: null };
    this.#watched.set(id, run);
    if (run.given || run.answer.over) return;
    const given = run.given = new AbortController();
    for (let attempt = 0; !given.signal.aborted && !run.answer.over; attempt += 1) {
      if (!await takeSeat(given.signal)) return;
      const went = await this.#read(run, given.signal).finally(leaveSeat);
      if (went === 'refused') return;
      if (went === 'heard') attempt = 0;
      if (!run.answer.over) await pause(backoffDelay(attempt), given.signal);
    }
  }

  /** One request, to its end. @param {Watched} run @param {AbortSignal} signal
   * @returns {Promise<'heard' | 'nothing' | 'refused'>} */
  async #read(run, signal) {
    let heard = false;
    try {
      const headers = { Accept: 'text/event-stream', ...(run.lastEvent ? { 'Last-Event-ID': run.lastEvent } : {}) };
      const response = await this.rest.open(`${AGENTS}/runs/${encodeURIComponent(run.id)}/stream`, { headers, signal });
      if (!response.ok || !response.body) {
        response.body?.cancel();
        // 429 and 5xx pass; whatever else is said to us is said for good.
        return response.status < 500 && response.status !== 429 ? 'refused' : 'nothing';
      }
      const lines = new EventLines();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        heard = true;
        for (const event of lines.take(value)) if (!this.#told(run, event)) { reader.cancel(); break; }
        this.#views.get(run.id)?.();
      }
    } catch {
      // Cut, or given up: the loop around knows which.
    }
    return heard ? 'heard' : 'nothing';
  }

  /** @param {Watched} run @param {import('./event-stream.js').ServerEvent} event
   * @returns {boolean} false: something is missing, so it is asked for from the beginning */
  #told(run, event) {
    const frame = JSON.parse(event.data);
    this.onFrame(event.data, String(frame.type));
    const answer = afterFrame(run.answer, frame);
    run.answer = answer ?? NOTHING_YET;
    run.lastEvent = answer ? event.id : '';
    return Boolean(answer);
  }
}
