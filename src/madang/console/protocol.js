/**
 * What the wire means: which frames are durable events, what a close code asks of us, how long to
 * wait. Pure; knows no socket and no page.
 *
 * @typedef {Record<string, any> & {type: string}} Frame  one JSON object of the WebSocket
 * @typedef {{action: 'now' | 'backoff' | 'stop', why: string}} ClosePolicy
 */

/** A frame above this many bytes closes the connection with 1009. */
export const MAX_FRAME_BYTES = 65536;

/** Replies that may carry a `seq` or `cursor` but are not events of the log. */
const REPLIES = new Set([
  'system', 'subscribed', 'unsubscribed', 'resumed', 'message.sent', 'read.confirmed',
  'presence.confirmed', 'token.refreshed', 'pong', 'error',
]);

/** Whether `frame` is a durable event: it has a place in its conversation and in the log.
 * @param {Frame} frame */
export function isEvent(frame) {
  return Number.isSafeInteger(frame.seq) && Number.isSafeInteger(frame.cursor) && !REPLIES.has(frame.type);
}

/** @param {Frame} frame @returns {string | undefined} */
export function conversationOf(frame) {
  return frame.conversation_id ?? frame.data?.conversation_id;
}

/** What to do after a close. `stop` means: not again with these credentials.
 * @param {number} code @returns {ClosePolicy} */
export function closePolicy(code) {
  switch (code) {
    case 1001: return { action: 'now', why: 'goingAway' };
    case 1008: return { action: 'stop', why: 'refused' };
    case 1009: return { action: 'backoff', why: 'tooLarge' };
    case 4001: return { action: 'stop', why: 'expired' };
    case 4008: return { action: 'now', why: 'tooSlow' };
    case 4009: return { action: 'stop', why: 'removed' };
    default: return { action: 'backoff', why: 'lost' };
  }
}

const BACKOFF_FIRST_MS = 500;
const BACKOFF_LONGEST_MS = 20000;

/** Milliseconds before attempt `attempt` (0, 1, 2 …): exponential, half of it jitter, so that a
 * restarted server is not met by everyone in the same instant.
 * @param {number} attempt @param {() => number} random */
export function backoffDelay(attempt, random = Math.random) {
  const ceiling = Math.min(BACKOFF_LONGEST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(ceiling / 2 + (ceiling / 2) * random());
}

/** Bytes of `text` on the wire. @param {string} text */
export function byteSize(text) {
  return encoder.encode(text).length;
}
const encoder = new TextEncoder();

/** A random id that also works where crypto.randomUUID is kept from plain-http pages. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}

/** An id for a message: it begins with the time, so that the server keeps those of one moment together. */
export function newClientId() {
  return `${Date.now().toString(16)}-${randomId().slice(0, 16)}`;
}

/** What a JWT says about itself, unverified and only for display; null where it is not a JWT.
 * @param {string} token @returns {{sub?: string, org?: string, exp?: number, name?: string, roles?: string[]} | null} */
export function readToken(token) {
  try {
    const part = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return claims && typeof claims === 'object' ? claims : null;
  } catch {
    return null;
  }
}
