/** The head of the open conversation: what it is called, who is there, and in a session with an agent who answers. */
import { ANYBODY, nameOf, titleOf, uid } from './conversations.js';
import { avatar, fill, h, icon, iconButton, whileBusy } from './dom.js';
import { nameList, shortWhen, t } from './i18n.js';
import { AGENTS } from './rest.js';

/** @typedef {import('./session.js').Session} Session */

/** What the head is drawn from: another value draws it anew. @param {Session} session @param {any} about */
const drawnFrom = (session, about) => [about, session.entry?.own, session.state.presence, session.state.agents, session.line.phase];

/** @param {Session} session
 * @param {{onBack: () => void, onChange: () => void, onChanged: () => void, say: (text: string) => void}} on
 *   `onChange`: somebody here is about to change who answers, or whether anybody can write; `onChanged`: has done so */
export function chatHead(session, { onBack, onChange, onChanged, say }) {
  const head = h('header', { class: 'chat-head' });
  // It stands there from the beginning: only what comes into a region that is there is read out.
  const answering = h('div', { class: 'handler', role: 'status', 'aria-live': 'polite', hidden: true });
  /** @type {any[]} */
  let drawn = [];

  /** @param {HTMLButtonElement} button @param {string} method @param {string} path @param {object} [body] */
  const ask = (button, method, path, body) => whileBusy(button, async () => {
    onChange();
    const answer = await session.rest.call({ method, path: `${AGENTS}/sessions/${encodeURIComponent(session.selected ?? '')}${path}`, body });
    if (answer.ok) onChanged();
    else say(t('notDone', { why: answer.body?.detail ?? answer.status }));
  });

  /** @param {'takeOver' | 'giveBack'} key @param {'hand' | 'reply'} sign @param {string | null} to */
  function handing(key, sign, to) {
    const button = h('button', { type: 'button', class: `button small ${key}`, title: t(key), 'aria-label': t(key), onclick: () => ask(button, 'POST', '/handover', { to }) }, icon(sign), h('span', {}, t(key)));
    return button;
  }
  const takeOver = () => handing('takeOver', 'hand', session.me);
  const giveBack = () => handing('giveBack', 'reply', null);

  /** @param {any} about @param {import('./conversations.js').Own | null | undefined} own */
  function drawAnswering(about, own) {
    const handler = own?.handler ?? null;
    answering.hidden = handler === null || about.status === 'archived';
    if (answering.hidden || !own) { fill(answering); return; }
    const agent = nameOf(session.state, own.agent, about);
    const mine = handler === session.me;
    answering.classList.toggle('asks', handler === ANYBODY);
    fill(answering, icon('hand'), h('p', {}, handler === ANYBODY ? t('waitsForPerson', { agent }) : mine ? t('youAnswer', { agent }) : t('theyAnswer', { name: nameOf(session.state, handler ?? '', about), agent })),
      h('span', { class: 'handler-tools' }, mine ? null : takeOver(), giveBack()));
  }

  /** What stands under the title: who is there, and which of them answers. @param {any} about @param {any[]} others */
  function below(about, others) {
    const own = session.entry?.own;
    const live = session.line.phase === 'live';
    const agentAnswers = own?.handler === null && about.status === 'active';
    const named = about.participants.filter((p) => !agentAnswers || uid(p.user_id) !== own?.agent);
    const names = nameList(named.map((p) => (uid(p.user_id) === session.me ? t('you') : nameOf(session.state, p.user_id, about))).slice(0, 6));
    if (about.kind === 'direct' && others.length === 1) {
      const status = session.state.presence.get(uid(others[0].user_id));
      return [live ? t(`status${capital(status?.status ?? 'offline')}`) : '', status?.status === 'offline' && status.last_seen ? t('lastSeen', { when: shortWhen(status.last_seen) }) : ''].filter(Boolean).join(' · ');
    }
    if (about.kind !== 'agent') return `${t('members', { n: about.participants.length })} · ${names}`;
    return own && agentAnswers ? `${t('agentAnswers', { name: nameOf(session.state, own.agent, about) })} · ${names}` : names;
  }

  return {
    head, answering,
    /** @param {any} about  the open conversation */
    draw(about) {
      const from = drawnFrom(session, about);
      if (from.length === drawn.length && from.every((value, n) => value === drawn[n])) return;
      drawn = from;
      const others = about.participants.filter((p) => uid(p.user_id) !== session.me);
      const direct = about.kind === 'direct' && others.length === 1;
      const presence = (p) => session.state.presence.get(uid(p.user_id))?.status;
      const shown = session.line.phase === 'live' ? presence(others[0] ?? {}) ?? 'offline' : 'unknown';
      const withAgent = about.kind === 'agent';
      const open = about.status !== 'archived';
      const admin = about.participants.some((p) => uid(p.user_id) === session.me && p.role === 'admin');
      const name = titleOf(session.state, about) || t(about.kind === 'inbox' ? 'inbox' : 'group');
      const said = below(about, others);
      const here = others.filter((p) => (presence(p) ?? 'offline') !== 'offline');
      const own = session.entry?.own;
      const focused = head.contains(document.activeElement) && /** @type {HTMLElement} */ (document.activeElement).title;
      fill(head, iconButton('back', t('back'), onBack, { class: 'back' }), avatar(name, direct ? shown : undefined, withAgent),
        h('div', { class: 'chat-title' }, h('h2', {}, name), h('p', { title: said }, said)),
        direct ? null : h('div', { class: 'faces' }, here.slice(0, 5).map((p) => avatar(nameOf(session.state, p.user_id, about), presence(p)))),
        open ? null : h('span', { class: 'tag' }, t('archived')),
        withAgent && open && own && own.handler === null ? takeOver() : null,
        withAgent && open && admin ? iconButton('archive', t('archive'), (event) => ask(/** @type {HTMLButtonElement} */ (event.currentTarget), 'DELETE', ''), { class: 'archive' }) : null);
      if (focused) for (const button of head.querySelectorAll('button')) if (button.title === focused) button.focus();
      drawAnswering(about, own);
    },
    /** Open an archived session again. @param {HTMLButtonElement} button */
    restore: (button) => ask(button, 'POST', '/restore'),
  };
}

/** @param {string} word */
const capital = (word) => word[0].toUpperCase() + word.slice(1);
