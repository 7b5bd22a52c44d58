/**
 * One WebSocket that comes back: connects, notices when the line is dead, waits with jitter and
 * tries again as the close codes ask. Knows frames only as JSON, and neither the page nor the state.
 */
import { backoffDelay, closePolicy } from './protocol.js';

/**
 * @typedef {'idle' | 'connecting' | 'live' | 'waiting' | 'offline' | 'refused'} Phase
 * @typedef {{phase: Phase, why?: string, code?: number, reason?: string, retryAt?: number, attempt: number}} Line
 * @typedef {object} Listeners
 * @property {(line: Line) => void} onLine                the connection's state changed
 * @property {(frame: import('./protocol.js').Frame) => void} onFrame
 * @property {(direction: 'in' | 'out', text: string) => void} onRaw   every text frame as it is on the wire
 * @property {(ms: number) => void} onLatency
 * @property {() => Promise<'refused' | 'expired' | null>} whyNotOpened
 *   asked where a socket closed before it opened: a browser does not tell a 401 from a dead host
 */

const PING_EVERY_MS = 15000;
const PONG_WITHIN_MS = 8000;
/** A tab told that it has no network believes it only after a ping stayed unanswered this long. */
const PROBE_WITHIN_MS = 2500;
/** A connection that lived this long starts the next backoff from its beginning. */
const STABLE_AFTER_MS = 5000;

export class Connection {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {Line} */ line = { phase: 'idle', attempt: 0 };
  #attempt = 0;
  /** @type {{why: string, code: number, reason: string} | null} */ #about = null;
  #liveSince = 0;
  #retryTimer = 0;
  #pingTimer = 0;
  #pongTimer = 0;
  #pings = 0;
  /** @type {Map<string, number>} */ #pinged = new Map();

  /** @param {() => WebSocket} open  makes a fresh socket @param {Listeners} listeners */
  constructor(open, listeners) {
    this.open = open;
    this.listeners = listeners;
    this.onOnline = () => {
      if (this.#socket) this.#probe();
      else if (this.line.phase === 'waiting' || this.line.why === 'network') this.connect();
    };
    this.onOffline = () => this.#probe();
    addEventListener('online', this.onOnline);
    addEventListener('offline', this.onOffline);
  }

  /** Connect now, whatever the backoff says. */
  connect() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#set({ phase: 'connecting', attempt: this.#attempt });
    let socket;
    try {
      socket = this.open();
    } catch (error) {
      this.#set({ phase: 'refused', why: 'refused', reason: String(error), attempt: this.#attempt });
      return;
    }
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#pingTimer = setInterval(() => this.ping(), PING_EVERY_MS);
    };
    socket.onmessage = (event) => this.#receive(socket, event.data);
    socket.onclose = (event) => this.#closed(socket, event, opened);
  }

  /** The session has what it missed: from here on the line counts as live. */
  markLive() {
    if (!this.#socket) return;
    this.#liveSince = Date.now();
    this.#about = null;
    this.#set({ phase: 'live', attempt: 0 });
    if (!this.#pinged.size) this.ping();
  }

  /** Close and stay closed until `connect` is called. */
  disconnect() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#attempt = 0;
    this.#set({ phase: 'offline', why: 'paused', attempt: 0 });
  }

  /** Close for good and let go of the browser's events. */
  dispose() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    removeEventListener('online', this.onOnline);
    removeEventListener('offline', this.onOffline);
  }

  /** Send a frame; false where there is no open socket.
   * @param {import('./protocol.js').Frame | object} frame */
  send(frame) {
    return this.sendText(JSON.stringify(frame));
  }

  /** Send any text, also such as is not JSON: the raw frame box needs it. @param {string} text */
  sendText(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    this.listeners.onRaw('out', text);
    return true;
  }

  ping(withinMs = PONG_WITHIN_MS) {
    const id = `ping-${(this.#pings += 1)}`;
    this.#pinged.set(id, performance.now());
    if (!this.send({ type: 'ping', id })) return;
    clearTimeout(this.#pongTimer);
    this.#pongTimer = setTimeout(() => this.#dead(), withinMs);
  }

  #probe() {
    if (this.line.phase === 'live') this.ping(PROBE_WITHIN_MS);
    else if (this.line.phase === 'waiting') this.#set({ ...this.line });
  }

  #dead() {
    const socket = this.#socket;
    if (!socket) return;
    this.#drop();
    this.#retry({ action: 'backoff', why: 'silent' }, 1006, '');
  }

  /** @param {WebSocket} socket @param {unknown} text */
  #receive(socket, text) {
    if (socket !== this.#socket || typeof text !== 'string') return;
    this.listeners.onRaw('in', text);
    clearTimeout(this.#pongTimer);
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (!frame || typeof frame.type !== 'string') return;
    if (frame.type === 'pong') {
      // A pong without `reply_to` still answers the oldest ping.
      const id = this.#pinged.has(frame.reply_to) ? frame.reply_to : this.#pinged.keys().next().value;
      const sent = this.#pinged.get(id ?? '');
      if (sent !== undefined) this.listeners.onLatency(performance.now() - sent);
      this.#pinged.clear();
    }
    this.listeners.onFrame(frame);
  }

  /** @param {WebSocket} socket @param {CloseEvent} event @param {boolean} opened */
  async #closed(socket, event, opened) {
    if (socket !== this.#socket) return;
    this.#drop();
    let policy = closePolicy(event.code);
    if (!opened && policy.action === 'backoff') {
      const why = await this.listeners.whyNotOpened();
      if (this.#socket || this.line.phase !== 'connecting') return;
      if (why) policy = { action: 'stop', why };
    }
    this.#retry(policy, event.code, event.reason);
  }

  /** @param {import('./protocol.js').ClosePolicy} policy @param {number} code @param {string} reason */
  #retry(policy, code, reason) {
    const lived = this.#liveSince && Date.now() - this.#liveSince > STABLE_AFTER_MS;
    const first = this.#liveSince > 0 && (lived || this.#attempt === 0);
    // An attempt that never got through says nothing new: the reason shown is that of the close.
    if (this.#liveSince || policy.why !== 'lost' || !this.#about) this.#about = { why: policy.why, code, reason };
    this.#liveSince = 0;
    if (lived) this.#attempt = 0;
    const about = this.#about;
    if (policy.action === 'stop') {
      this.#set({ phase: 'refused', ...about, attempt: this.#attempt });
      return;
    }
    const delay = policy.action === 'now' && first ? 0 : backoffDelay(this.#attempt);
    this.#attempt += 1;
    const phase = navigator.onLine === false ? 'offline' : 'waiting';
    // Without a network a server on this very machine still answers: keep trying, say less.
    this.#set({ phase, ...about, ...(phase === 'offline' ? { why: 'network' } : {}), retryAt: Date.now() + delay, attempt: this.#attempt });
    this.#retryTimer = setTimeout(() => this.connect(), delay);
  }

  #drop() {
    clearInterval(this.#pingTimer);
    clearTimeout(this.#pongTimer);
    this.#pinged.clear();
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close(1000);
  }

  /** @param {Line} line */
  #set(line) {
    this.line = line;
    this.listeners.onLine(line);
  }
}
