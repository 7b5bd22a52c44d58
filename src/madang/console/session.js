/**
 * One user at this console: the connection, REST, the state and the outbox, put together. Knows no
 * DOM; views subscribe and read.
 */
import { Connection } from './connection.js';
import * as convo from './conversations.js';
import { Files } from './files.js';
import { FrameLog } from './frames.js';
import { afterLoss, arrived, letterFrame, letterId, mark, tooLarge } from './outbox.js';
import { conversationOf, isEvent, newClientId, readToken } from './protocol.js';
import { AGENTS, MESSENGER, Rest, socketAddress } from './rest.js';
import { Runs } from './runs.js';
import { Search } from './search.js';
import { Timelines } from './timelines.js';

/**
 * @typedef {{token?: string, devUser?: string}} Credentials  a pasted token, or in dev mode a name
 * @typedef {{credentials: Credentials, cursor: number, selected: string | null, outbox: import('./outbox.js').Letter[]}} Saved
 */

const TYPING_EVERY_MS = 3000;
const RESUME_ID = 'resume';
/** @type {import('./conversations.js').Item[]} */
const NO_LINES = [];

export class Session {
  state = convo.emptyState();
  log = new FrameLog();
  /** @type {import('./outbox.js').Letter[]} */ outbox = [];
  /** @type {string | null} */ selected = null;
  /** @type {import('./conversations.js').Message | null} */ message = null;
  /** The message to be shown where it was said; another object each time. @type {{id: string} | null} */ target = null;
  /** @type {Map<string, string>} */ drafts = new Map();
  /** @type {number | null} */ latency = null;
  connectionId = '';
  /** Snapshot of my conversations read at least once. */
  ready = false;
  /** Open the newest conversation once they are known, unless one is open. */
  openNewest = false;
  /** @type {string | undefined} */ #devToken;
  /** @type {import('./protocol.js').Frame[] | null} */ #held = null;
  #connectedCursor = 0;
  #saidTyping = 0;
  #typingIn = '';
  #readUpTo = new Map();
  /** @type {Set<() => void>} */ #watchers = new Set();
  /** @type {Set<(notice: {kind: string, text: string}) => void>} */ #listeners = new Set();
  #timers = new Set();

  /** @param {string} key @param {Credentials} credentials @param {Partial<Saved>} [saved]
   * @param {boolean} [dev]  the server runs with --dev */
  constructor(key, credentials, saved = {}, dev = false) {
    this.key = key;
    this.dev = dev;
    this.credentials = credentials;
    this.state = { ...this.state, me: credentials.devUser ?? convo.uid(readToken(credentials.token ?? '')?.sub), cursor: saved.cursor ?? 0 };
    this.selected = saved.selected ?? null;
    this.outbox = afterLoss(saved.outbox ?? []);
    this.rest = new Rest(() => this.token, (call, answer) => {
      const shown = { status: answer.status, ms: Math.round(answer.ms), ...(call.body === undefined ? {} : { request: call.body }), response: answer.body };
      this.log.push('http', JSON.stringify(shown), `${call.method} ${shortPath(call)}`);
      this.#changed();
    });
    this.runs = new Runs(this.rest, (text, type) => { this.log.push('http', text, type); });
    this.files = new Files(this.rest, () => this.#changed());
    this.timelines = new Timelines(this.rest, { get: () => this.state, put: (state) => { this.state = state; }, changed: () => this.#changed() });
    this.search = new Search(this.rest, () => { this.#knowPlaces(); this.#changed(); });
    this.connection = new Connection(() => this.#openSocket(), {
      onLine: (line) => this.#onLine(line),
      onFrame: (frame) => this.#onFrame(frame),
      onRaw: (direction, text) => { this.log.push(direction, text); this.#changed(); },
      onLatency: (ms) => { this.latency = ms; },
      whyNotOpened: () => this.#whyNotOpened(),
    });
    this.expiry = setInterval(() => this.#put(convo.expireTyping(this.state, Date.now())), 1000);
  }

  get me() { return this.state.me; }
  /** What to call me: the name in my token, which the server itself keeps nowhere. */
  get name() { return String(readToken(this.token ?? '')?.name || this.me); }
  get line() { return this.connection.line; }
  get token() { return this.credentials.token ?? this.#devToken; }
  get entry() { return this.selected ? this.state.conversations.get(this.selected) : undefined; }

  /** @returns {Saved} what a reload needs */
  get saved() {
    const { credentials, state, selected, outbox } = this;
    return { credentials, cursor: state.cursor, selected, outbox };
  }

  /** Call `watcher` after every change; the answer ends it. @param {() => void} watcher */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Hear of things worth a word to the user. @param {(notice: {kind: string, text: string}) => void} listener */
  onNotice(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start() {
    this.connection.connect();
  }

  dispose() {
    this.connection.dispose();
    this.runs.dispose();
    this.files.dispose();
    clearInterval(this.expiry);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#watchers.clear();
  }

  /** Go on as the same user with another token. @param {string} token */
  replaceToken(token) {
    this.credentials = { token };
    this.connection.connect();
  }

  #openSocket() {
    const { token, devUser } = this.credentials;
    if (!token) return new WebSocket(socketAddress(`${MESSENGER}/ws/${encodeURIComponent(devUser ?? '')}`));
    // As a subprotocol the token stays out of every access log.
    return new WebSocket(socketAddress(`${MESSENGER}/ws`), ['madang.v1', `bearer.${token}`]);
  }

  /** @returns {Promise<'refused' | 'expired' | null>} */
  async #whyNotOpened() {
    if (!this.token) return null;
    const answer = await this.rest.messenger('GET', '/conversations', { query: { limit: 1 } });
    if (answer.status !== 401 && answer.status !== 403) return null;
    const exp = readToken(this.token)?.exp;
    return exp && exp * 1000 < Date.now() ? 'expired' : 'refused';
  }

  async #mintDevToken() {
    this.#devToken = await this.#minted([]);
  }

  /** A token of mine with a role as well, which a development server gives to whoever asks; elsewhere
   * nothing, and the call goes out with the token there is. @param {'admin' | 'service'} role */
  tokenWith(role) {
    return this.dev ? this.#minted([role]) : Promise.resolve(undefined);
  }

  /** @param {string[]} roles @returns {Promise<string | undefined>} */
  async #minted(roles) {
    const answer = await this.rest.call({ method: 'POST', path: 'api/v1/dev/token', body: { user_id: this.credentials.devUser ?? this.me, roles } });
    return answer.ok ? answer.body?.token : undefined;
  }

  /** @param {import('./connection.js').Line} line */
  #onLine(line) {
    if (line.phase !== 'live') {
      this.#held = null;
      this.latency = null;
      this.outbox = afterLoss(this.outbox);
      this.#saidTyping = 0;
      // Who is there is not known from here; it is asked again afterwards.
      this.state = { ...this.state, typing: new Map(), presence: new Map() };
    }
    this.#changed();
  }

  /** @param {import('./protocol.js').Frame} frame */
  #onFrame(frame) {
    if (isEvent(frame)) {
      if (this.#held) this.#held.push(frame);
      else this.#onEvent(frame);
      return;
    }
    switch (frame.type) {
      case 'system': if (frame.event === 'connected') this.#onConnected(frame); break;
      case 'resumed': this.#onResumed(frame); break;
      case 'message.sent':
        this.#onSent(frame);
        break;
      case 'error': this.#onError(frame); break;
      default: this.#put(convo.applySignal(this.state, frame, Date.now()));
    }
  }

  /** @param {import('./protocol.js').Frame} frame */
  #onSent(frame) {
    const next = convo.applyMessage(this.state, frame.data);
    const entry = this.state.conversations.get(frame.data?.conversation_id);
    // With events still to come in between, the letter stays in view until `message.new` is here.
    const early = next === this.state && entry?.loaded && frame.data.seq > entry.seq + 1;
    if (!early) this.outbox = arrived(this.outbox, frame.client_id ?? frame.data?.client_id);
    this.state = next;
    this.#changed();
  }

  /** @param {import('./protocol.js').Frame} frame */
  #onConnected(frame) {
    this.connectionId = frame.connection_id ?? '';
    this.#connectedCursor = frame.cursor ?? 0;
    this.state = { ...this.state, me: convo.uid(frame.user_id) };
    if (this.state.cursor > 0) {
      this.#held = [];
      this.connection.send({ type: 'resume', id: RESUME_ID, cursor: this.state.cursor });
      return;
    }
    this.state = { ...this.state, cursor: this.#connectedCursor };
    this.#live();
    this.reload();
  }

  /** Replayed and live events may come mixed: they wait until all are here and go in order.
   * @param {import('./protocol.js').Frame} frame */
  #onResumed(frame) {
    if (frame.recovered === false) {
      this.#startOver();
      this.#notice('notRecovered', String(frame.reason ?? ''));
      return;
    }
    const held = (this.#held ?? []).sort((a, b) => a.cursor - b.cursor);
    this.#held = null;
    for (const event of held) this.#onEvent(event);
    if (frame.cursor > this.state.cursor) this.state = { ...this.state, cursor: frame.cursor };
    this.#live();
    if (!this.ready) this.reload();
    else this.#loadPresence();
  }

  #startOver() {
    const late = this.#held ?? [];
    this.#held = null;
    this.state = { ...convo.forgetTimelines(this.state), cursor: this.#connectedCursor };
    this.files.settle();
    this.timelines.hear(...late);
    this.search.clear();
    this.#live();
    this.reload();
  }

  #live() {
    this.connection.markLive();
    this.#flush();
  }

  /** @param {import('./protocol.js').Frame} event */
  #onEvent(event) {
    // Whoever reads a page meanwhile needs what was before it as well.
    const frame = convo.withBefore(this.state, event);
    this.timelines.hear(frame);
    this.search.heard(frame, this.me);
    if (frame.type === 'message.new' && convo.uid(frame.data?.sender_id) === this.me) {
      this.outbox = arrived(this.outbox, frame.data.client_id);
      this.files.arrived(frame.data.client_id);
    }
    if (frame.type === 'conversation.created' && frame.data?.kind === 'agent') this.loadAgents();
    const id = conversationOf(frame) ?? '';
    if (frame.type === 'participant.left' && convo.uid(frame.user_id) === this.me && this.state.conversations.has(id)) {
      if (this.state.conversations.get(id)?.about.kind === 'agent') this.timelines.sessionGone();
      this.#notice('left', convo.titleOf(this.state, this.state.conversations.get(id).about));
    }
    this.#put(convo.applyEvent(this.state, frame));
    // While the whole list is being read, it answers for these as well.
    if (this.ready) this.#readStale();
  }

  /** @param {import('./protocol.js').Frame} frame */
  #onError(frame) {
    if (frame.reply_to === RESUME_ID) {
      if (!frame.retry_after) this.#startOver();
      else this.#later(frame.retry_after, () => this.connection.send({ type: 'resume', id: RESUME_ID, cursor: this.state.cursor }));
      return;
    }
    const letter = this.outbox.find((one) => letterId(one.client_id) === frame.reply_to);
    if (letter && frame.retry_after) {
      this.outbox = mark(this.outbox, letter.client_id, { state: 'waiting', problem: frame.message });
      this.#later(frame.retry_after, () => this.#flush());
    } else if (letter) {
      this.outbox = mark(this.outbox, letter.client_id, { state: 'failed', problem: frame.message });
    } else {
      this.#notice('error', `${frame.code ?? ''} ${frame.message ?? ''}`.trim());
    }
    this.#changed();
  }

  /** @param {number} ms @param {() => void} then */
  #later(ms, then) {
    const timer = setTimeout(() => { this.#timers.delete(timer); then(); }, ms);
    this.#timers.add(timer);
  }

  /** Read all snapshots again. */
  async reload() {
    if (!this.token && this.credentials.devUser) await this.#mintDevToken();
    if (!await this.timelines.everything()) {
      if (this.line.phase === 'live') this.#later(3000, () => this.reload());
      return;
    }
    this.ready = true;
    // What is open may be a session from further down than the first page.
    if (this.selected && !this.state.conversations.has(this.selected)) await this.timelines.conversation(this.selected);
    if (this.selected && !this.state.conversations.has(this.selected)) this.selected = null;
    if (this.openNewest && !this.selected) this.select(convo.listed(this.state)[0]?.about.id ?? null);
    this.openNewest = false;
    this.#loadPresence();
    if ([...this.state.conversations.values()].some(({ about }) => about.kind === 'agent')) this.loadAgents();
    for (const [id, entry] of this.state.conversations) {
      if (id === this.selected || entry.loaded) this.#latest(id);
    }
    this.#readStale();
  }

  #readStale() {
    for (const stale of this.state.stale) this.#loadConversation(stale);
  }

  async #loadPresence() {
    const users = new Set();
    for (const { about } of this.state.conversations.values()) for (const p of about.participants ?? []) users.add(convo.uid(p.user_id));
    if (!users.size) return;
    const answer = await this.rest.messenger('GET', '/presence', { query: { user_ids: [...users].slice(0, 100).join(',') } });
    if (answer.ok) this.#put(convo.applyPresence(this.state, answer.body?.users ?? []));
  }

  /** The agents on offer, and what they are called from now on. @returns {Promise<any[]>} */
  async loadAgents() {
    const answer = await this.rest.call({ method: 'GET', path: `${AGENTS}/agents` });
    const agents = answer.body?.agents ?? [];
    if (answer.ok) this.#put({ ...this.state, agents: new Map(agents.map((one) => [convo.uid(one.user_id), String(one.name)])) });
    return agents;
  }

  /** @param {string} id */
  async #loadConversation(id) {
    const { loaded, about } = this.state.conversations.get(id) ?? {};
    if (await this.timelines.conversation(id) && (loaded || id === this.selected)) await this.timelines.latest(id);
    if (about?.outline) this.#loadPresence();
  }

  /** What was found may stand in conversations that are not known here. */
  #knowPlaces() {
    for (const { conversation_id: id } of this.search.results) if (!this.state.conversations.has(id)) this.timelines.conversation(id);
  }

  /** The newest of a conversation; of one known only in outline also who is there.
   * @param {string} id */
  async #latest(id) {
    const outlined = this.state.conversations.get(id)?.about.outline;
    await this.timelines.latest(id);
    if (outlined) this.#loadPresence();
  }

  /** Sessions that are not listed yet. */
  async olderSessions() {
    await this.timelines.olderSessions();
    this.#readStale();
  }

  async loadOlder() {
    if (this.selected) await this.timelines.older(this.selected);
  }

  async loadNewer() {
    if (this.selected) await this.timelines.newer(this.selected);
  }

  /** Back to the newest messages from somewhere in the past. */
  async toNewest() {
    this.target = null;
    if (this.selected && this.entry?.ahead) await this.timelines.latest(this.selected);
  }

  get loadingOlder() { return this.timelines.isReadingOlder(this.selected); }

  /** @param {string | null} id */
  select(id) {
    this.#show(id);
    // Whoever comes back comes to the newest, not to where a search has led.
    if (id && (!this.entry?.loaded || this.entry.ahead)) this.#latest(id);
  }

  /** @param {string | null} id */
  #show(id) {
    if (this.selected && this.selected !== id) this.typing(false);
    this.selected = id;
    this.message = null;
    this.target = null;
    this.#changed();
  }

  /** Show a message where it was said, with what stands around it.
   * @param {string} id  its conversation's @param {string} message
   * @returns {Promise<boolean>} false: it is not to be had any more */
  async openAt(id, message) {
    const known = this.state.conversations.get(id);
    if (!known || known.about.outline) await this.timelines.conversation(id).then(() => this.#loadPresence());
    if (!this.state.conversations.has(id)) return false;
    this.#show(id);
    const there = () => this.state.conversations.get(id)?.items.some((item) => item.id === message) ?? false;
    if (!there()) await Promise.all([this.timelines.around(id, message), this.entry?.own ? null : this.timelines.own(id)]);
    // Whoever went on meanwhile is not called back.
    if (this.selected !== id) return true;
    if (!this.entry?.loaded) await this.timelines.latest(id);
    if (!there()) return false;
    this.target = { id: message };
    this.#changed();
    return true;
  }

  /** Show a conversation that was just made, before or after its event. @param {any} about */
  adopt(about) {
    this.state = convo.applyConversation(this.state, about);
    this.select(about.id);
    this.#loadPresence();
  }

  /** The message the action forms are filled from. @param {import('./conversations.js').Message | null} message */
  choose(message) {
    this.message = message;
    this.#changed();
  }

  /** Put a message into the outbox and send it as soon as there is a line.
   * @param {string} content @param {string} [replyTo] */
  write(content, replyTo) {
    if (!this.selected) return;
    /** @type {import('./outbox.js').Letter} */
    const letter = {
      client_id: newClientId(), conversation_id: this.selected, content, reply_to_id: replyTo,
      created_at: new Date().toISOString(), state: 'waiting',
    };
    if (tooLarge(letter)) Object.assign(letter, { state: 'failed', problem: 'Message too large' });
    this.outbox = [...this.outbox, letter];
    this.#saidTyping = 0;
    this.toNewest();
    this.#flush();
    this.#changed();
  }

  /** @param {string} clientId */
  tryAgain(clientId) {
    this.outbox = mark(this.outbox, clientId, { state: 'waiting', problem: undefined });
    this.#flush();
    this.#changed();
  }

  /** @param {string} clientId */
  discard(clientId) {
    this.outbox = arrived(this.outbox, clientId);
    this.#changed();
  }

  #flush() {
    if (this.line.phase !== 'live') return;
    for (const letter of this.outbox) {
      if (letter.state !== 'waiting') continue;
      if (!this.connection.send(letterFrame(letter))) return;
      this.outbox = mark(this.outbox, letter.client_id, { state: 'sending' });
    }
  }

  /** Send a frame of the contract. @param {object} frame */
  command(frame) {
    const sent = this.connection.send(frame);
    if (!sent) this.#notice('notConnected', '');
    return sent;
  }

  /** Send any text as a frame, right or wrong. @param {string} text */
  raw(text) {
    const sent = this.connection.sendText(text);
    if (!sent) this.#notice('notConnected', '');
    return sent;
  }

  /** Say that the user types, at most every few seconds, or no longer does. @param {boolean} on */
  typing(on) {
    const now = Date.now();
    if (on ? now - this.#saidTyping < TYPING_EVERY_MS && this.#typingIn === this.selected : !this.#saidTyping) return;
    if (on) this.#typingIn = this.selected ?? '';
    this.#saidTyping = on ? now : 0;
    if (this.line.phase === 'live' && this.#typingIn) {
      this.connection.send({ type: on ? 'typing.start' : 'typing.stop', conversation_id: this.#typingIn });
    }
  }

  /** The newest message of the open conversation was seen: say so once. */
  seen() {
    const entry = this.entry;
    const last = entry?.items.findLast((item) => item.message);
    if (!entry || entry.ahead || !last?.message || this.line.phase !== 'live' || !entry.about.unread_count) return;
    if ((this.#readUpTo.get(entry.about.id) ?? 0) >= last.seq) return;
    this.#readUpTo.set(entry.about.id, last.seq);
    this.connection.send({ type: 'message.read', message_id: last.id });
  }

  /** @param {import('./conversations.js').State} state */
  #put(state) {
    if (state === this.state) return;
    this.state = state;
    this.#changed();
  }

  #changed() {
    this.runs.follow(this.entry?.items ?? NO_LINES, this.line.phase === 'live');
    for (const watcher of this.#watchers) watcher();
  }

  /** @param {string} kind @param {string} text */
  #notice(kind, text) {
    for (const listener of this.#listeners) listener({ kind, text });
  }
}

/** A call as the log names it. @param {import('./rest.js').Call} call */
function shortPath(call) {
  return `/${call.path.replace(/^\//, '').replace(`${MESSENGER}/`, '')}`;
}
