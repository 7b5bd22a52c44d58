/**
 * The REST half of the contract over fetch. Paths are relative to the server's root, so that the
 * console also works where Madang is mounted below somebody's prefix.
 */

/** The server's root: the console lies in `console/` below it. */
export const ROOT = new URL('../', import.meta.url);
export const MESSENGER = 'api/v1/messenger';

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

  /** A messenger call. @param {string} method @param {string} path @param {Partial<Call>} [more] */
  messenger(method, path, more = {}) {
    return this.call({ method, path: `${MESSENGER}${path}`, ...more });
  }

  /** Every page of my conversations; null where one could not be read. */
  async conversations() {
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

/** @param {string} text */
function parse(text) {
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
