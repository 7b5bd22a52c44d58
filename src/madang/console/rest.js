/**
 * The REST half of the contract over fetch. Paths are relative to the server's root, so that the
 * console also works where Madang is mounted below somebody's prefix.
 */

/** The server's root: the console lies in `console/` below it. */
export const ROOT = new URL('../', import.meta.url);
export const MESSENGER = 'api/v1/messenger';
export const AGENTS = 'api/chat';
export const EVENTS = 'api/v1/events';
/** Sessions with agents on a page of them; as many as this at most are read at once. */
export const SESSIONS_PAGE = 30;
const MOST_SESSIONS = 200;

/**
 * @typedef {{method: string, path: string, body?: any, query?: Record<string, any>, headers?: Record<string, string>, token?: string}} Call
 *   `path` without a leading slash, from the server's root
 * @typedef {{ok: boolean, status: number, body: any, ms: number}} Answer   status 0: no answer at all
 */

/** @param {Call} call */
export function addressOf(call) {
  const url = new URL(call.path.replace(/^\//, ''), ROOT);
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value !== undefined && value !== '' && value !== null) url.searchParams.set(name, String(value));
  }
  return url;
}

/** The WebSocket's address for a path from the root. @param {string} path */
export function socketAddress(path) {
  const url = new URL(path, ROOT);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

export class Rest {
  /**
   * @param {() => string | undefined} token
   * @param {(call: Call, answer: Answer) => void} onAnswer   every call with its answer, for the log
   */
  constructor(token, onAnswer) {
    this.token = token;
    this.onAnswer = onAnswer;
  }

  /** One call; never throws, a dead host is status 0. @param {Call} call @returns {Promise<Answer>} */
  async call(call) {
    const token = call.token || this.token();
    const headers = { Accept: 'application/json', ...call.headers };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (call.body !== undefined) headers['Content-Type'] = 'application/json';
    const started = performance.now();
    /** @type {Answer} */
    let answer;
    try {
      const response = await fetch(addressOf(call), {
        method: call.method, headers, credentials: 'omit', cache: 'no-store',
        body: call.body === undefined ? undefined : JSON.stringify(call.body),
      });
      answer = { ok: response.ok, status: response.status, body: parse(await response.text()), ms: 0 };
    } catch (error) {
      answer = { ok: false, status: 0, body: { detail: String(error) }, ms: 0 };
    }
    answer.ms = performance.now() - started;
    this.onAnswer(call, answer);
    return answer;
  }

  /** What is read while it comes, or is no JSON. Rejects where the host is dead.
   * @param {string} path @param {{headers?: Record<string, string>, signal?: AbortSignal}} [how] */
  open(path, { headers, signal } = {}) {
    return fetch(addressOf({ method: 'GET', path }), { headers: { ...this.authorization, ...headers }, signal, credentials: 'omit', cache: 'no-store' });
  }

  /** @returns {Record<string, string>} what says who asks */
  get authorization() {
    const token = this.token();
    return token ? { Authorization: `Bearer ${token}` } : {};
  }

  /** A messenger call. @param {string} method @param {string} path @param {Partial<Call>} [more] */
  messenger(method, path, more = {}) {
    return this.call({ method, path: `${MESSENGER}${path}`, ...more });
  }

  /** All my conversations, and my newest sessions with agents; null where one could not be read.
   * @param {number} sessions  how many of them */
  async conversations(sessions) {
    const [all, newest] = await Promise.all([this.#allConversations(), this.sessions(0, sessions)]);
    return all && newest && { list: [...all, ...newest.list], listed: newest.list.length, more: newest.more };
  }

  /** Sessions with agents, newest activity first, as the list tells of them: outlines. Null where
   * they could not be read. @param {number} offset @param {number} [limit] */
  async sessions(offset, limit = SESSIONS_PAGE) {
    const answer = await this.call({ method: 'GET', path: `${AGENTS}/sessions`, query: { limit: Math.min(limit, MOST_SESSIONS), offset } });
    return answer.ok ? { list: (answer.body?.sessions ?? []).map(outline), more: Boolean(answer.body?.has_more) } : null;
  }

  async #allConversations() {
    const all = [];
    let page;
    for (let pages = 0; pages < 20; pages += 1) {
      const answer = await this.messenger('GET', '/conversations', { query: { page } });
      if (!answer.ok) return null;
      all.push(...(answer.body?.conversations ?? []));
      if (!answer.body?.has_more || answer.body.next == null) break;
      page = answer.body.next;
    }
    return all;
  }

  /** @param {string} id @param {Record<string, any>} query */
  async messages(id, query) {
    const answer = await this.messenger('GET', `/conversations/${encodeURIComponent(id)}/messages`, { query });
    return answer.ok ? answer.body : null;
  }
}

/** A session as a conversation of which only this much is known: neither who is there nor its `last_seq`.
 * @param {Record<string, any>} line @returns {import('./conversations.js').Conversation} */
function outline({ session_id, title, agent_id, agent_name, last_message, last_message_at, unread_count, status, created_at, last_activity }) {
  return {
    id: session_id, kind: 'agent', title, status, unread_count, created_at, updated_at: last_activity, agent_id, agent_name, outline: true, participants: [],
    last_message: last_message_at ? { content: last_message, created_at: last_message_at } : null,
  };
}

/** @param {string} text */
function parse(text) {
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
