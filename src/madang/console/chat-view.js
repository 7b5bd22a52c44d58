/** The open conversation: its head, the timeline, who is typing, and the composer. */
import { groupsOf } from './alternatives.js';
import { isAnswer } from './answers.js';
import { chatHead } from './chat-head.js';
import { composer } from './composer.js';
import { nameOf, uid } from './conversations.js';
import { avatar, fill, h, oncePerFrame, place, setText } from './dom.js';
import { attachments, uploadLine } from './file-view.js';
import { dayName, nameList, t } from './i18n.js';
import { letterLine, messageLine, messageTools } from './message-view.js';
import { newClientId } from './protocol.js';

/** Messages of one sender within this time stand together. */
const TOGETHER_MS = 5 * 60000;
/** This near to the end counts as being at the end. */
const NEAR_END_PX = 80;

/** @param {import('./session.js').Session} session @param {{onBack: () => void, onAct: () => void, onNew: () => void, say: (text: string) => void}} on */
export function chatView(session, on) {
  /** @type {Map<string, {of: any, node: HTMLElement}>} */
  const drawn = new Map();
  let drawnFor = '';
  let atEnd = true;
  let lastTop = 0;
  /** Something came while the end was out of sight. */
  let unseen = false;
  /** @type {Map<string, import('./alternatives.js').Group>} */
  let groups = new Map();
  /** Which of several answers somebody looks at here, until another one counts. @type {Map<string, {id: string, counts: string}>} */
  const looked = new Map();
  /** The message that was looked for, once it was brought into sight. */
  let brought = session.target;
  /** Somebody here archived or restored what had this status: the focus goes where one writes, or may again. */
  let statusBefore = '';
  /** @type {HTMLElement | null} */
  let toolsOn = null;

  const head = chatHead(session, { onBack: on.onBack, say: on.say, onChange: () => { statusBefore = session.entry?.about.status; }, onChanged: toWriter });
  const list = h('ol', { class: 'timeline', 'aria-label': t('messages') });
  const older = h('button', { type: 'button', class: 'older', onclick: () => loadOlder() });
  const scroller = h('div', { class: 'scroller', tabindex: '0', role: 'log', 'aria-label': t('messages'), 'aria-live': 'off' }, h('div', { class: 'scroller-fill' }), older, list);
  const jump = h('button', { type: 'button', class: 'jump', hidden: true, onclick: () => toEnd() }, t('newMessages'));
  const typing = h('p', { class: 'typing', role: 'status', 'aria-live': 'polite' });
  const writer = composer(session, head.restore);
  const files = attachments(session, scroller);
  const start = h('button', { type: 'button', class: 'button primary', onclick: () => on.onNew() }, t('startOne'));
  const emptyTitle = h('h2', {});
  const empty = h('div', { class: 'chat-empty' }, h('img', { src: 'mark.svg', alt: '', width: '56', height: '56' }), emptyTitle, h('p', {}, t('pickHint')), start);
  const body = h('div', { class: 'chat-body' }, h('div', { class: 'chat-top' }, head.head, head.answering), h('div', { class: 'scroll-frame' }, scroller, jump), typing, writer.element);
  const element = h('section', { class: 'chat', 'aria-label': t('messages') }, empty, body);

  /** @type {import('./message-view.js').Handlers} */
  const handlers = {
    onReply: (message) => { hideTools(); writer.set({ kind: 'reply', message }); },
    onEdit: (message) => { hideTools(); writer.set({ kind: 'edit', message }); },
    onDelete: (message) => { hideTools(); session.command({ type: 'message.delete', message_id: message.id }); },
    onReact: (message, emoji) => {
      hideTools();
      const mine = (message.reactions?.[emoji] ?? []).some((user) => uid(user) === session.me);
      session.command({ type: mine ? 'reaction.remove' : 'reaction.add', message_id: message.id, emoji });
    },
    onChoose: (message) => { hideTools(); session.choose(message); on.onAct(); },
    file: (file) => files.line(file),
    onJump: (id) => { if (groups.has(id) || drawn.has(id)) bring(id); else if (session.selected) session.openAt(session.selected, id); },
    onTurn: (group, id) => { looked.set(group.key, { id, counts: group.counts }); draw(); },
    onAgain: async (message) => {
      hideTools();
      const answer = await session.runs.again(message.id, newClientId());
      if (!answer.ok) on.say(t('notDone', { why: answer.body?.detail ?? answer.status }));
      else if (answer.body?.status === 'waiting') on.say(t('waitsForTurn'));
    },
  };

  const showTools = (event) => {
    const node = event.target instanceof Element ? /** @type {HTMLElement | null} */ (event.target.closest('.line[data-id]')) : null;
    if (!node || node === toolsOn) return;
    const message = session.entry?.items.find((item) => item.id === node.dataset.id)?.message;
    if (!message) return;
    hideTools();
    toolsOn = node;
    node.querySelector('.stack')?.append(messageTools(session, message, handlers, !node.querySelector('.again')));
  };
  const hideTools = () => {
    toolsOn?.querySelector('.message-tools')?.remove();
    toolsOn = null;
  };
  list.addEventListener('pointerover', showTools);
  list.addEventListener('focusin', showTools);
  list.addEventListener('click', (event) => { if (!(event.target instanceof Element && event.target.closest('.message-tools'))) showTools(event); });
  // A finger leaves nothing when it is lifted: the next touch elsewhere puts the tools away.
  let pressedTools = false;
  const onPress = (event) => {
    pressedTools = event.target instanceof Element && Boolean(event.target.closest('.message-tools'));
    if (toolsOn && !(event.target instanceof Node && toolsOn.contains(event.target))) hideTools();
  };
  // The touch that brings the tools out may end on one of them: it was not meant.
  list.addEventListener('click', (event) => {
    if (event.detail > 0 && !pressedTools && event.target instanceof Element && event.target.closest('.message-tools')) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);
  document.addEventListener('pointerdown', onPress);
  // A click leaves the focus behind, a keyboard shows where it is: only that keeps the tools.
  list.addEventListener('pointerleave', (event) => { if (event.pointerType !== 'touch' && !toolsOn?.matches(':focus-visible, :has(:focus-visible)')) hideTools(); });
  scroller.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') hideTools();
    if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return;
    const lines = [...list.querySelectorAll('.line[data-id]')];
    const now = lines.indexOf(document.activeElement?.closest('.line') ?? list);
    const next = event.key === 'ArrowUp' ? (now < 0 ? lines.length - 1 : now - 1) : now + 1;
    if (now < 0 && event.key === 'ArrowDown' || !lines[next]) return;
    event.preventDefault();
    /** @type {HTMLElement} */ (lines[next]).focus();
  });
  scroller.addEventListener('scroll', () => {
    // Only who scrolls up leaves the end: a line that grew has moved it away by itself.
    const nearEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX;
    if (nearEnd && session.entry?.ahead) session.loadNewer();
    if (nearEnd && !session.entry?.ahead) atEnd = true;
    else if (scroller.scrollTop < lastTop) atEnd = false;
    lastTop = scroller.scrollTop;
    if (atEnd) { jump.hidden = true; unseen = false; seen(); }
    if (scroller.scrollTop < 60 && session.entry?.hasMore) loadOlder();
  });
  const onFocus = () => seen();
  addEventListener('focus', onFocus);
  document.addEventListener('visibilitychange', onFocus);
  // A phone's keyboard, a growing composer or a panel that becomes narrow must not hide the newest.
  const resized = new ResizeObserver(() => { if (atEnd) scroller.scrollTop = scroller.scrollHeight; });
  resized.observe(scroller);
  resized.observe(list);

  async function loadOlder() {
    const before = scroller.scrollHeight;
    const top = scroller.scrollTop;
    await session.loadOlder();
    draw();
    scroller.scrollTop = top + scroller.scrollHeight - before;
  }

  async function toEnd() {
    await session.toNewest();
    draw();
    scroller.scrollTop = scroller.scrollHeight;
    atEnd = true;
    unseen = false;
    jump.hidden = true;
    seen();
  }

  function seen() {
    // Several users stand side by side in one window: what is visible counts as seen.
    if (atEnd && document.visibilityState === 'visible' && element.offsetParent) session.seen();
  }

  /** The focus to where one writes; on a phone that would bring the keyboard up. */
  function toWriter() {
    if (matchMedia('(hover: hover)').matches) writer.focus();
  }

  /** Show a message in the middle, the right one where it is one of several answers.
   * @param {string} id */
  function bring(id) {
    const group = groups.get(id);
    if (group && group.members.some((item) => item.id === id)) looked.set(group.key, { id, counts: group.counts });
    if (group && session.entry) drawTimeline(session.entry);
    const node = drawn.get(id)?.node;
    if (!node) return;
    atEnd = false;
    node.scrollIntoView({ block: 'center' });
    node.focus({ preventScroll: true });
  }

  /** @param {import('./alternatives.js').Group} group */
  function inSight(group) {
    const look = looked.get(group.key);
    const id = look?.counts === group.counts ? look.id : group.counts;
    return group.members.find((item) => item.id === id) ?? group.members[0];
  }

  /** Who has read up to which message, as small faces under it. */
  function readersAt(entry) {
    /** @type {Map<string, string[]>} */
    const at = new Map();
    for (const p of entry.about.participants) {
      if (uid(p.user_id) === session.me || !p.last_read_seq) continue;
      const item = entry.items.findLast((one) => one.message && one.seq <= p.last_read_seq);
      if (item) at.set(item.id, [...(at.get(item.id) ?? []), nameOf(session.state, p.user_id, entry.about)]);
    }
    return at;
  }

  function drawTimeline(entry) {
    const readers = readersAt(entry);
    groups = groupsOf(entry.items, entry.own?.choices);
    // Several answers to one question stand in the place of the first.
    const lines = entry.items.filter((item) => (groups.get(item.id)?.all[0] ?? item) === item);
    const newest = entry.ahead ? null : lines.findLast((item) => item.message);
    const focused = /** @type {HTMLElement | null} */ (list.contains(document.activeElement) ? document.activeElement : null);
    const focusedLine = /** @type {HTMLElement | null | undefined} */ (focused?.closest('.line'));
    const nodes = [];
    let day = '';
    let above = null;
    // A line that tells of a change does not come between an answer and its question.
    let saidAbove = '';
    const used = new Set();
    const keep = (key, of, make) => {
      used.add(key);
      const old = drawn.get(key);
      if (old && old.of.length === of.length && old.of.every((value, n) => value === of[n])) return old.node;
      if (old?.node === toolsOn) toolsOn = null;
      const node = make();
      drawn.set(key, { of, node });
      return node;
    };
    const quotedOf = (message) => (message?.reply_to_id ? entry.items.find((item) => item.id === message.reply_to_id)?.message : null);
    for (const first of lines) {
      const group = groups.get(first.id);
      const item = group ? inSight(group) : first;
      const made = first.message?.created_at ?? first.event?.timestamp;
      const today = made ? dayName(made) : day;
      if (today && today !== day) {
        day = today;
        above = null;
        nodes.push(keep(`day ${day}`, [day], () => h('li', { class: 'day' }, h('span', {}, day))));
      }
      const follows = Boolean(above && item.message && !item.message.metadata?.alternative_of && uid(above.sender_id) === uid(item.message.sender_id) && Date.parse(item.message.created_at) - Date.parse(above.created_at) < TOGETHER_MS);
      const answersAbove = Boolean(saidAbove && isAnswer(item.message) && item.message.reply_to_id === saidAbove);
      if (item.message) saidAbove = item.id;
      above = item.message && item.message.sender_type !== 'system' ? item.message : null;
      const isNewest = first === newest;
      const of = [item.message ?? item.event, follows, quotedOf(item.message), answersAbove, session.state.agents, isNewest, entry.about.status, entry.own?.handler, group?.counts, group?.members.map((one) => one.id).join()];
      const node = keep(item.id, of, () => messageLine(session, item, follows, handlers, answersAbove, { group, newest: isNewest }));
      node.classList.toggle('chosen', Boolean(session.message && session.message.id === item.id));
      node.classList.toggle('found', session.target?.id === item.id);
      nodes.push(node);
      const names = group ? group.all.flatMap((one) => readers.get(one.id) ?? []) : readers.get(item.id) ?? [];
      if (names.length) nodes.push(keep(`read ${item.id}`, [names.join()], () => h('li', { class: 'readers', 'aria-label': t('readBy', { names: nameList(names) }), title: t('readBy', { names: nameList(names) }) }, names.slice(0, 8).map((name) => avatar(name)))));
    }
    for (const letter of session.outbox) {
      if (letter.conversation_id !== entry.about.id) continue;
      nodes.push(keep(`letter ${letter.client_id}`, [letter, session.line.phase === 'live'], () => letterLine(session, letter)));
    }
    for (const upload of session.files.uploads) {
      if (upload.conversation_id === entry.about.id) nodes.push(keep(`upload ${upload.client_id}`, [upload], () => uploadLine(session, upload)));
    }
    if (entry.loaded && !nodes.length) nodes.push(keep('empty', [], () => h('li', { class: 'notice' }, t('noMessages'))));
    for (const key of drawn.keys()) if (!used.has(key)) drawn.delete(key);
    place(list, nodes);
    if (focused && focusedLine && !focusedLine.isConnected) keepFocus(focused, focusedLine.dataset.id ?? '');
  }

  /** What had the focus was drawn anew: so has what stands in its place.
   * @param {HTMLElement} focused @param {string} id  its line's */
  function keepFocus(focused, id) {
    const group = groups.get(id);
    const node = drawn.get(group ? inSight(group).id : id)?.node;
    const way = focused.dataset.way;
    const same = way ? node?.querySelector(`[data-way="${way}"]:not(:disabled)`) ?? node?.querySelector('[data-way]:not(:disabled)') : null;
    /** @type {HTMLElement | null | undefined} */ (same ?? node)?.focus({ preventScroll: true });
  }

  function drawTyping(about) {
    const users = [...(session.state.typing.get(about.id)?.keys() ?? [])].filter((user) => user !== session.me).map((user) => nameOf(session.state, user, about));
    const [a, b] = users;
    setText(typing, !users.length ? '' : users.length === 1 ? t('typingOne', { a }) : users.length === 2 ? t('typingTwo', { a, b }) : t('typingMany'));
    typing.classList.toggle('on', users.length > 0);
  }

  function draw() {
    const entry = session.entry;
    empty.hidden = Boolean(entry);
    body.hidden = !entry;
    if (!entry) {
      const none = session.ready && !session.state.conversations.size;
      setText(emptyTitle, t(none ? 'noConversations' : 'pickConversation'));
      start.hidden = !none;
      // Nothing of a conversation that was closed or taken away stays in the page.
      hideTools();
      drawn.clear();
      files.forget();
      fill(list);
      drawnFor = '';
      return;
    }
    const fresh = entry.about.id !== drawnFor;
    if (fresh) { drawn.clear(); looked.clear(); files.forget(); hideTools(); atEnd = true; unseen = false; jump.hidden = true; drawnFor = entry.about.id; }
    const lastBefore = list.lastElementChild;
    head.draw(entry.about);
    older.hidden = !entry.loaded || !entry.items.some((item) => item.message);
    older.disabled = !entry.hasMore;
    setText(older, !entry.hasMore ? t('beginning') : session.loadingOlder ? t('loading') : t('loadOlder'));
    drawTimeline(entry);
    if (toolsOn && !toolsOn.matches(':hover, :focus-within')) hideTools();
    drawTyping(entry.about);
    writer.draw();
    if (session.target && session.target !== brought && entry.items.some((item) => item.id === session.target?.id)) {
      brought = session.target;
      bring(brought.id);
    } else if (atEnd || fresh) scroller.scrollTop = scroller.scrollHeight;
    else if (list.lastElementChild !== lastBefore && list.lastElementChild?.classList.contains('other')) { jump.hidden = false; unseen = true; }
    if (entry.ahead) jump.hidden = false;
    setText(jump, t(unseen ? 'newMessages' : 'toNewest'));
    if (statusBefore && statusBefore !== entry.about.status) { statusBefore = ''; toWriter(); }
    seen();
  }

  const redraw = oncePerFrame(draw);
  const unwatch = session.watch(redraw);
  draw();
  return {
    element,
    /** To the composer; a conversation opened just now is drawn first. */
    focus() { draw(); writer.focus(); },
    dispose() {
      unwatch();
      files.forget();
      resized.disconnect();
      removeEventListener('focus', onFocus);
      document.removeEventListener('visibilitychange', onFocus);
      document.removeEventListener('pointerdown', onPress);
    },
  };
}
