/**
 * Several answers to one question: they stand in one place of the timeline, one of them in sight,
 * and one of them counts. Pure.
 *
 * @typedef {import('./conversations.js').Item} Item
 * @typedef {{key: string, all: Item[], members: Item[], counts: string}} Group
 *   `all` in order of seq, the first says where they stand; `members` those not deleted; `counts`
 *   the message id of the one that does
 */
import { isAnswer } from './answers.js';

/** The answers that have others beside them, by message id.
 * @param {Item[]} items @param {Record<string, string>} [choices]  the answer that counts, by question
 * @returns {Map<string, Group>} */
export function groupsOf(items, choices = {}) {
  /** @type {Map<string, Item[]>} */
  const answers = new Map();
  for (const item of items) {
    if (!isAnswer(item.message)) continue;
    const key = item.message?.metadata?.alternative_of ?? item.id;
    answers.set(key, [...(answers.get(key) ?? []), item]);
  }
  const groups = new Map();
  for (const [key, all] of answers) {
    if (all.length < 2) continue;
    const living = all.filter((item) => !item.message?.deleted_at);
    const members = living.length ? living : all.slice(0, 1);
    const chosen = choices[members[0].message?.reply_to_id];
    const counts = members.find((item) => item.id === chosen)?.id ?? members[members.length - 1].id;
    for (const item of all) groups.set(item.id, { key, all, members, counts });
  }
  return groups;
}
