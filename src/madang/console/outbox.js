/**
 * Messages on their way: each has a client_id, so that sending it again can do no harm. Pure values;
 * the session sends them and the page shows them below the timeline.
 *
 * @typedef {{client_id: string, conversation_id: string, content: string, reply_to_id?: string, created_at: string,
 *   state: 'waiting' | 'sending' | 'failed', problem?: string}} Letter
 */
import { MAX_FRAME_BYTES, byteSize } from './protocol.js';

/** The frame of a letter; its `id` ties an error to it. @param {Letter} letter */
export function letterFrame(letter) {
  return {
    type: 'message.send', id: letterId(letter.client_id), conversation_id: letter.conversation_id,
    content: letter.content, client_id: letter.client_id,
    ...(letter.reply_to_id ? { reply_to_id: letter.reply_to_id } : {}),
  };
}

/** @param {string} clientId */
export const letterId = (clientId) => `send-${clientId}`;

/** A frame the server would close the connection for is not worth sending. @param {Letter} letter */
export const tooLarge = (letter) => byteSize(JSON.stringify(letterFrame(letter))) > MAX_FRAME_BYTES;

/** @param {Letter[]} outbox @param {string} clientId @param {Partial<Letter>} change @returns {Letter[]} */
export function mark(outbox, clientId, change) {
  return outbox.map((letter) => (letter.client_id === clientId ? { ...letter, ...change } : letter));
}

/** @param {Letter[]} outbox @param {string | undefined | null} clientId @returns {Letter[]} */
export function arrived(outbox, clientId) {
  return outbox.some((letter) => letter.client_id === clientId)
    ? outbox.filter((letter) => letter.client_id !== clientId) : outbox;
}

/** After a lost connection nobody knows what arrived: everything not refused goes again.
 * @param {Letter[]} outbox @returns {Letter[]} */
export function afterLoss(outbox) {
  return outbox.map((letter) => (letter.state === 'sending' ? { ...letter, state: 'waiting' } : letter));
}
