/** One line of the timeline as an element: a bubble, a tombstone, an event, a letter on its way. */
import { answerParts, canAnswerAgain } from './answer-view.js';
import { isAnswer } from './answers.js';
import { nameOf, reopened, titleOf, uid } from './conversations.js';
import { avatar, h, icon, iconButton } from './dom.js';
import { clockTime, nameList, t } from './i18n.js';
import { previewOf } from './preview.js';

/**
 * @typedef {import('./session.js').Session} Session
 * @typedef {import('./conversations.js').Item} Item
 * @typedef {object} Handlers
 * @property {(message: any) => void} onReply @property {(message: any) => void} onEdit
 * @property {(message: any) => void} onDelete @property {(message: any, emoji: string) => void} onReact
 * @property {(message: any) => void} onChoose @property {(id: string) => void} onJump
 * @property {(message: any) => void} onAgain
 * @property {(group: import('./alternatives.js').Group, id: string) => void} onTurn
 * @property {(file: any) => HTMLElement} file   an attachment as an element
 */

export const EMOJI = ['👍', '❤️', '😂', '🎉', '👀', '🙏'];

/** @param {Session} session @param {Item} item @param {boolean} follows  same sender just above
 * @param {Handlers} handlers @param {boolean} [answersAbove]  the question stands just above
 * @param {{group?: import('./alternatives.js').Group, newest?: boolean}} [beside]  other answers to the same question */
export function messageLine(session, item, follows, handlers, answersAbove = false, { group, newest = false } = {}) {
  if (!item.message) return eventLine(session, item);
  const message = item.message;
  const about = session.state.conversations.get(message.conversation_id)?.about;
  const own = uid(message.sender_id) === session.me;
  const name = nameOf(session.state, message.sender_id, about);
  if (message.sender_type === 'system' || message.message_type === 'system') {
    return h('li', { class: 'notice', dataset: { id: item.id } }, message.content);
  }
  const gone = Boolean(message.deleted_at);
  const agent = message.sender_type === 'agent';
  const answer = isAnswer(message) && !gone ? answerParts(session, message, about, { group, newest, onTurn: handlers.onTurn }) : null;
  const line = h('li', {
    class: `line ${own ? 'own' : 'other'} ${follows ? 'follows' : ''}`, dataset: { id: item.id }, tabindex: '-1',
    'aria-label': `${own ? t('you') : name}, ${clockTime(message.created_at)}: ${previewOf(message)}`,
  },
    own ? null : follows ? h('span', { class: 'avatar-space' }) : avatar(name, undefined, agent),
    h('div', { class: 'stack' },
      follows ? null : h('div', { class: 'by' }, own ? null : h('span', { class: 'name' }, name), agent ? h('span', { class: 'tag' }, t('agent')) : null, message.metadata?.alternative_of && !group ? h('span', { class: 'tag' }, t('anotherAnswer')) : null),
      h('div', { class: 'bubble-row' },
        h('div', { class: `bubble ${gone ? 'gone' : ''}` },
          message.reply_to_id && !answersAbove ? quoted(session, message.reply_to_id, about, handlers) : null,
          gone ? h('p', { class: 'text' }, t('deleted')) : answer ? answer.inside : message.content ? h('p', { class: 'text', dir: 'auto' }, message.content) : null,
          (message.attachments ?? []).map((file) => handlers.file(file)),
        ),
        h('div', { class: 'meta' },
          message.edited_at && !gone ? h('span', {}, t('edited')) : null,
          h('time', { datetime: message.created_at, title: `${message.created_at} · seq ${item.seq}` }, clockTime(message.created_at)),
        ),
      ),
      answer?.below,
      reactions(session, message, about, handlers),
    ));
  return line;
}

/** @param {Session} session @param {string} id @param {any} about @param {Handlers} handlers */
function quoted(session, id, about, handlers) {
  const target = session.state.conversations.get(about?.id)?.items.find((item) => item.id === id)?.message;
  const text = target ? previewOf(target) : '…';
  return h('button', { type: 'button', class: 'quoted', onclick: () => handlers.onJump(id) },
    target ? h('strong', {}, nameOf(session.state, target.sender_id, about)) : null, h('span', {}, String(text).slice(0, 140)));
}

/** @param {Session} session @param {any} message @param {any} about @param {Handlers} handlers */
function reactions(session, message, about, handlers) {
  const all = Object.entries(message.reactions ?? {}).filter(([, users]) => users.length);
  if (!all.length) return null;
  return h('div', { class: 'reactions' }, all.map(([emoji, users]) => {
    const names = nameList(users.map((user) => (uid(user) === session.me ? t('you') : nameOf(session.state, user, about))));
    const label = t('reacted', { emoji, n: users.length, names });
    const mine = users.some((user) => uid(user) === session.me);
    return h('button', { type: 'button', class: 'reaction', 'aria-pressed': String(mine), 'aria-label': label, title: names, onclick: () => handlers.onReact(message, emoji) },
      emoji, h('span', {}, users.length));
  }));
}

/** The tools that float over the message under the pointer or the focus.
 * @param {Session} session @param {any} message @param {Handlers} handlers
 * @param {boolean} [again]  another answer can be asked for here, and nowhere else */
export function messageTools(session, message, handlers, again = true) {
  const about = session.state.conversations.get(message.conversation_id)?.about;
  const own = uid(message.sender_id) === session.me;
  const admin = about?.participants?.some((p) => uid(p.user_id) === session.me && p.role === 'admin');
  const gone = Boolean(message.deleted_at);
  const picker = h('div', { class: 'picker', hidden: true },
    EMOJI.map((emoji) => h('button', { type: 'button', 'aria-label': t('reactWith', { emoji }), onclick: () => { picker.hidden = true; handlers.onReact(message, emoji); } }, emoji)));
  return h('div', { class: 'message-tools', role: 'toolbar', 'aria-label': t('actions') },
    gone ? null : iconButton('smile', t('react'), () => { picker.hidden = !picker.hidden; }),
    gone ? null : iconButton('reply', t('reply'), () => handlers.onReply(message)),
    again && canAnswerAgain(session, message, about) ? iconButton('again', t('again'), () => handlers.onAgain(message)) : null,
    own && !gone ? iconButton('edit', t('edit'), () => handlers.onEdit(message)) : null,
    (own || admin) && !gone ? iconButton('trash', t('remove'), () => handlers.onDelete(message)) : null,
    h('button', { type: 'button', class: 'to-actions', title: t('choose'), 'aria-label': t('choose'), onclick: () => handlers.onChoose(message) }, t('actions')),
    picker);
}

/** @param {Session} session @param {Item} item */
function eventLine(session, item) {
  const frame = item.event;
  const about = session.state.conversations.get(frame.conversation_id)?.about;
  const name = nameOf(session.state, frame.user_id, about);
  const by = uid(frame.by);
  const told = (key) => t(key, { by: nameOf(session.state, by, about), to: nameOf(session.state, frame.to, about) }) + (frame.note ? ` · ${frame.note}` : '');
  const known = {
    'participant.joined': () => t('joined', { name }),
    'participant.left': () => (by && by !== uid(frame.user_id) ? t('takenOut', { by, name }) : t('left', { name })),
    'run.chosen': () => t('answerChosen', { name }),
    'run.ended': () => t('neverBegan'),
    handover: () => told(frame.to === null ? 'gaveBack' : frame.to === '*' ? 'askedForPerson' : uid(frame.to) === by ? 'tookOver' : 'handedTo'),
    'conversation.archived': () => t('wasArchived'),
    'conversation.created': () => t('created'),
    'conversation.updated': () => (reopened(frame) ? t('restored') : t('renamed', { title: frame.data?.title ?? (about ? titleOf(session.state, about) : '') })),
  }[frame.type];
  if (known) return h('li', { class: 'notice', dataset: { id: item.id } }, known());
  return h('li', { class: 'event', dataset: { id: item.id } },
    h('span', { class: 'event-type' }, icon('bolt'), frame.type),
    h('code', {}, JSON.stringify(frame.payload ?? frame.data ?? {})),
    frame.timestamp ? h('time', { datetime: frame.timestamp }, clockTime(frame.timestamp)) : null);
}

/** @param {Session} session @param {import('./outbox.js').Letter} letter */
export function letterLine(session, letter) {
  const live = session.line.phase === 'live';
  const failed = letter.state === 'failed';
  const note = failed ? t('notSent', { why: letter.problem ?? '' }) : live ? letter.problem ?? t('sending') : t('queued');
  return h('li', { class: `line own letter ${letter.state}`, dataset: { client: letter.client_id } },
    h('div', { class: 'stack' },
      h('div', { class: 'bubble-row' },
        h('div', { class: 'bubble' }, h('p', { class: 'text', dir: 'auto' }, letter.content)),
        h('div', { class: 'meta' }, failed ? null : icon('clock'), h('span', {}, note))),
      failed ? h('div', { class: 'letter-tools' },
        h('button', { type: 'button', class: 'link', onclick: () => session.tryAgain(letter.client_id) }, t('tryAgain')),
        h('button', { type: 'button', class: 'link', onclick: () => session.discard(letter.client_id) }, t('discard'))) : null));
}
