/** The conversations of a user: unread counts, last message, who is there; and a form for a new one. */
import { listed, nameOf, titleOf, uid } from './conversations.js';
import { avatar, fill, h, iconButton, oncePerFrame, place, setText, whileBusy } from './dom.js';
import { shortWhen, t } from './i18n.js';
import { newConversation } from './new-conversation.js';
import { previewOf } from './preview.js';
import { searchView } from './search-view.js';

/** This near to the end of the list the next sessions are read. */
const NEAR_END_PX = 200;

/** @param {import('./session.js').Session} session @param {{onOpen: () => void, onFound: () => void, say: (text: string) => void}} on */
export function listView(session, on) {
  const list = h('ul', { class: 'conversations' });
  // Those that are archived stand by themselves, folded.
  const shelf = h('ul', { class: 'conversations shelf' });
  const shelfName = h('summary', {});
  const archive = h('details', { class: 'archived', hidden: true }, shelfName, shelf);
  const more = h('button', { type: 'button', class: 'older-sessions', hidden: true, onclick: () => goOn() }, t('olderSessions'));
  const all = h('div', { class: 'list-body' }, list, archive, more);
  const none = h('p', { class: 'list-empty', hidden: true });
  const dialog = newConversation(session, on.onOpen);
  const search = searchView(session, on);
  const element = h('nav', { class: 'list', 'aria-label': t('conversations') },
    h('header', { class: 'list-head' }, h('h2', {}, t('conversations')), iconButton('plus', t('newConversation'), () => dialog.open())),
    search.element, all, none, dialog.element);
  fill(none, t('noConversations'), ' ', h('button', { type: 'button', class: 'link', onclick: () => dialog.open() }, t('startOne')));
  /** @type {Map<string, {of: any[], node: HTMLElement}>} */
  const drawn = new Map();
  let lyingBefore = '';

  all.addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const buttons = /** @type {HTMLElement[]} */ ([...all.querySelectorAll('button, summary')]).filter((one) => one.checkVisibility());
    const at = buttons.indexOf(/** @type {any} */ (document.activeElement)) + (event.key === 'ArrowDown' ? 1 : -1);
    if (buttons[at]) { event.preventDefault(); buttons[at].focus(); }
  });

  const goOn = () => whileBusy(more, () => session.olderSessions());
  all.addEventListener('scroll', () => { if (all.scrollHeight - all.scrollTop - all.clientHeight < NEAR_END_PX) goOn(); });

  function draw() {
    const entries = listed(session.state);
    search.draw();
    all.hidden = search.open;
    none.hidden = !session.ready || entries.length > 0 || search.open;
    const nodeOf = ({ about }) => {
      const others = (about.participants ?? []).filter((p) => uid(p.user_id) !== session.me);
      const there = session.line.phase === 'live' ? session.state.presence.get(uid(others[0]?.user_id))?.status ?? 'offline' : 'unknown';
      const status = about.kind === 'direct' && others.length === 1 ? there : undefined;
      const letter = session.outbox.findLast((one) => one.conversation_id === about.id);
      const typing = [...(session.state.typing.get(about.id)?.keys() ?? [])].filter((user) => user !== session.me).join();
      const open = about.id === session.selected;
      const of = [about, status, typing, open, letter, session.state.agents];
      const old = drawn.get(about.id);
      if (old && old.of.every((value, n) => value === of[n])) return old.node;
      const node = item(about, status, typing, open, letter);
      if (old?.node.contains(document.activeElement)) queueMicrotask(() => node.querySelector('button')?.focus());
      drawn.set(about.id, { of, node });
      return node;
    };
    for (const id of drawn.keys()) if (!session.state.conversations.has(id)) drawn.delete(id);
    const archived = entries.filter(({ about }) => about.status === 'archived');
    place(list, entries.filter(({ about }) => about.status !== 'archived').map(nodeOf));
    place(shelf, archived.map(nodeOf));
    archive.hidden = !archived.length;
    more.hidden = !session.timelines.moreSessions;
    setText(shelfName, t('archivedN', { n: archived.length }));
    // Whoever looks at one of them sees where it lies.
    const lying = archived.find(({ about }) => about.id === session.selected)?.about.id ?? '';
    if (lying !== lyingBefore) { lyingBefore = lying; if (lying) archive.open = true; }
  }

  function item(about, status, typing, open, letter) {
    const name = titleOf(session.state, about) || t(about.kind === 'inbox' ? 'inbox' : 'group');
    const last = about.last_message;
    const by = !last?.sender_id ? '' : uid(last.sender_id) === session.me ? `${t('you')}: ` : (about.kind === 'group' || about.kind === 'agent') ? `${nameOf(session.state, last.sender_id, about)}: ` : '';
    const line = typing ? t('typingOne', { a: typing.split(',')[0] }) : letter ? `${t('you')}: ${letter.content}` : !last ? t(about.kind === 'inbox' ? 'inboxReadOnly' : 'noMessages') : last.deleted_at ? t('deleted') : by + previewOf(last);
    return h('li', {},
      h('button', { type: 'button', class: 'conversation', 'aria-current': open ? 'true' : null, dataset: { id: about.id }, onclick: () => { session.select(about.id); on.onOpen(); } },
        avatar(name, status, about.kind === 'agent'),
        h('span', { class: 'what' },
          h('span', { class: 'top' }, h('strong', {}, name), last ? h('time', { datetime: last.created_at }, shortWhen(last.created_at)) : null),
          h('span', { class: 'under' }, h('span', { class: typing ? 'preview is-typing' : 'preview' }, line),
            about.unread_count ? h('span', { class: 'unread', 'aria-label': t('unread', { n: about.unread_count }) }, about.unread_count > 99 ? '99+' : about.unread_count) : null))));
  }

  const unwatch = session.watch(oncePerFrame(draw));
  draw();
  return { element, dispose() { unwatch(); search.dispose(); }, openNew: () => dialog.open() };
}
