/**
 * What was said and not yet confirmed. Each has an id that the server knows it by, so that sending it
 * again after a lost connection does it once. Pure values; the seat sends them, the page shows them.
 *
 * @typedef {{id: string, frame: {type: string} & Record<string, any>, at: string,
 *   state: 'waiting' | 'sending' | 'failed', after: number, problem?: string}} Letter
 *   `after`: not to be sent before this time, in milliseconds
 */

/** Written by people, so kept where they are refused, until somebody looks. */
const WRITTEN = new Set(['chat_message', 'question']);

/** A random id that also works where crypto.randomUUID is kept from plain-http pages. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `${Date.now().toString(16)}-${Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('')}`;
}

/** @param {Letter['frame']} frame @returns {Letter} */
export const letter = (frame) => ({ id: newId(), frame, at: new Date().toISOString(), state: 'waiting', after: 0 });

/** @param {Letter} one */
export const written = (one) => WRITTEN.has(one.frame.type);

/** What goes over the wire. A `client_id` makes a second sending find the first.
 * @param {Letter} one */
export function wire(one) {
  const named = written(one) || one.frame.type === 'poll_open';
  return named ? { ...one.frame, id: one.id, client_id: one.id } : { ...one.frame, id: one.id };
}

/** @param {Letter[]} box @param {string} id @param {Partial<Letter>} change @returns {Letter[]} */
export const mark = (box, id, change) => box.map((one) => (one.id === id ? { ...one, ...change } : one));

/** @param {Letter[]} box @param {string} id @returns {Letter[]} */
export const without = (box, id) => box.filter((one) => one.id !== id);

/** After a lost connection nobody knows what arrived: everything not refused goes again.
 * @param {Letter[]} box @returns {Letter[]} */
export const afterLoss = (box) => box.map((one) => (one.state === 'sending' ? { ...one, state: 'waiting' } : one));

/** A newer vote on the same thing replaces one that has not left yet.
 * @param {Letter[]} box @param {Letter} newer @returns {Letter[]} */
export function put(box, newer) {
  const { type, message_id: about } = newer.frame;
  const replaced = type === 'question_vote' || type === 'poll_vote'
    ? box.filter((one) => !(one.state === 'waiting' && one.frame.type === type && one.frame.message_id === about)) : box;
  return [...replaced, newer];
}
