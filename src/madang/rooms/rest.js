/** REST calls of the live contract. Tokens go in a header, never in an address. */

/** Where the server's root is: it may be mounted below a path of another app. */
export const ROOT = new URL('../../../', import.meta.url);
const SESSIONS = 'api/v1/sessions';
/** A request that got no answer for so long is given up: a phone's network swallows some. */
const ANSWER_WITHIN_MS = 15000;

/** Why a request brought nothing: `status` 0 where nobody answered. */
export class Refused extends Error {
  /** @param {number} status @param {string} code @param {string} text @param {number} [retryAfter] milliseconds */
  constructor(status, code, text, retryAfter) {
    super(text);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** @param {string} method @param {string} path below the server's root
 * @param {{token?: string, body?: unknown}} [options] @returns {Promise<Response>} */
async function ask(method, path, { token, body } = {}) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), ANSWER_WITHIN_MS);
  let answer;
  try {
    answer = await fetch(new URL(path, ROOT).href, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: giveUp.signal, cache: 'no-store', credentials: 'omit',
    });
  } catch (lost) {
    throw new Refused(0, 'NETWORK', 'No answer');
  } finally {
    clearTimeout(timer);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.code || '', problem.detail || '', problem.retry_after);
}

/** @param {string} code @param {string} [rest] */
const at = (code, rest = '') => `${SESSIONS}/${encodeURIComponent(code)}${rest}`;

/** @param {Promise<Response>} asked @returns {Promise<any>} */
const json = (asked) => asked.then((answer) => answer.json());

/** @param {string} code @param {string} [token] */
export const getSession = (code, token) => json(ask('GET', at(code), { token }));
/** @param {string} code @param {string} rest such as `/questions?sort=top` @param {string} [token] */
export const getPart = (code, rest, token) => json(ask('GET', at(code, rest), { token }));
/** Take a seat, or come back to the one of `token`. @param {string} code @param {object} body @param {string} [token] */
export const takeSeat = (code, body, token) => json(ask('POST', at(code, '/participants'), { token, body }));
/** @param {string} code @param {object} change @param {string} token */
export const changeSession = (code, change, token) => json(ask('PATCH', at(code), { token, body: change }));
/** @param {object} room @param {string} token */
export const openRoom = (room, token) => json(ask('POST', SESSIONS, { token, body: room }));
/** A file, as a blob: its address must not carry the token. @param {string} code @param {string} rest @param {string} token */
export const getFile = (code, rest, token) => ask('GET', at(code, rest), { token }).then((answer) => answer.blob());
/** A token for anybody, which only a development server gives. @param {string} userId */
export const devToken = (userId) => json(ask('POST', 'api/v1/dev/token', { body: { user_id: userId } }));
export const getConfig = () => json(ask('GET', 'r/config.json'));

/** The QR code of the join link. @param {string} code */
export const qrAddress = (code) => new URL(at(code, '/qr.svg'), ROOT).href;
/** The address people join at. @param {string} [code] */
export const joinAddress = (code = '') => new URL(`r/${code}`, ROOT).href;

/** A WebSocket for a seat. The token is offered as a subprotocol, so that it stands in no address
 * and no log. @param {string} code @param {import('./keep.js').Seat} seat @param {Record<string, string | number | null | undefined>} query */
export function openSocket(code, seat, query) {
  const url = new URL(`api/v1/ws/${encodeURIComponent(code)}/${encodeURIComponent(seat.participant_id)}`, ROOT);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  for (const [name, value] of Object.entries(query)) if (value !== null && value !== undefined) url.searchParams.set(name, String(value));
  return new WebSocket(url.href, ['madang.v1', `bearer.${seat.token}`]);
}
