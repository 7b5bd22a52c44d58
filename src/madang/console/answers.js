/**
 * What is known of an answer while it is written, put together from the frames that tell of it.
 * Pure. Offsets count characters as Unicode does (code points), texts here are JavaScript's.
 *
 * @typedef {Record<string, any> & {step: number}} Step   a thought, a tool call
 * @typedef {{text: string, length: number, steps: Step[], over: boolean}} Answer
 *   `length` is that of the text in code points; `over`: its end was told
 */

/** @type {Answer} */
export const NOTHING_YET = { text: '', length: 0, steps: [], over: false };

/** Whether this message is an answer whose end is still to come. @param {import('./conversations.js').Message | undefined} message */
export function underWay(message) {
  return isAnswer(message) && message?.metadata?.status === 'streaming' && !message.deleted_at;
}

/** What people are asked by an answer that goes on with their word. @param {import('./conversations.js').Message | undefined} message */
export const waitsForPeople = (message) => underWay(message) && Object.values(message?.metadata?.approvals ?? {}).some((one) => (one.answer ?? null) === null);

/** A text cut at these places, one piece more than there are places. @param {string} text @param {number[]} places  in order */
export function cutAt(text, places) {
  if (!places.length) return [text];
  const chars = [...text];
  const ends = [0, ...places, chars.length];
  return ends.slice(1).map((end, n) => chars.slice(ends[n], end).join(''));
}

/** @param {import('./conversations.js').Message | undefined} message */
export const isAnswer = (message) => message?.message_type === 'stream';

/** The answer after one more frame; null where something before it is missing.
 * @param {Answer} answer @param {import('./protocol.js').Frame} frame @returns {Answer | null} */
export function afterFrame(answer, frame) {
  switch (frame.type) {
    case 'stream_chunk': {
      if (frame.offset > answer.length) return null;
      const text = upTo(answer.text, answer.length, frame.offset) + frame.content;
      return { ...answer, text, length: frame.offset + count(frame.content) };
    }
    case 'run_step': return { ...answer, steps: afterStep(answer.steps, frame) };
    case 'stream_end': return { ...answer, over: true };
    default: return answer;
  }
}

/** @param {Step[]} steps @param {import('./protocol.js').Frame} frame */
function afterStep(steps, frame) {
  const { type, message_id, so_far, ...told } = frame;
  const before = so_far ? undefined : steps.find((one) => one.step === told.step);
  const step = { ...before, ...told };
  if (before?.content !== undefined && told.content !== undefined) {
    step.content = upTo(before.content, count(before.content), told.offset ?? 0) + told.content;
  }
  return [...steps.filter((one) => one.step !== told.step), /** @type {Step} */ (step)].sort((a, b) => a.step - b.step);
}

/** @param {string} text @param {number} length  its code points @param {number} offset */
function upTo(text, length, offset) {
  return offset >= length ? text : [...text].slice(0, offset).join('');
}

/** @param {string} text  its code points */
function count(text) {
  let n = 0;
  for (const _ of text) n += 1;
  return n;
}
