/**
 * What a user sees, as plain values: conversations, their messages, who is there, who is typing.
 * Every function takes a state and returns a new one; none knows the socket, the page or the time.
 *
 * The rule that all of it serves: an old snapshot plus the events since equals a fresh snapshot.
 * Events are counted once per (conversation, seq); what an event does to a message can be repeated
 * without harm, so events that came while a page was read are simply applied to that page again.
 *
 * @typedef {import('./protocol.js').Frame} Frame
 * @typedef {Record<string, any>} Message        MESSAGE of the contract
 * @typedef {Record<string, any>} Conversation   CONVERSATION of the contract; with `outline` only what
 *   a list tells of a session, until it is read whole
 * @typedef {{seq: number, id: string, message?: Message, event?: Frame}} Item  a line of the timeline
 * @typedef {{handler: string | null, agent: string, choices: Record<string, string>, seq: number}} Own
 *   what a session with an agent has besides: who answers in its agent's place (`*`: whoever comes
 *   first), and of several answers the one that counts, by question; as of the event `seq`
 * @typedef {{about: Conversation, seq: number, items: Item[], loaded: boolean, hasMore: boolean, ahead: boolean, own: Own | null}} Entry
 *   `seq` is the last event counted, `items` are in order of seq and without holes; `ahead`: they
 *   end somewhere in the past, and newer messages are read when somebody scrolls down
 * @typedef {object} State
 * @property {string} me
 * @property {number} cursor                              of the last event handled
 * @property {Map<string, Entry>} conversations
 * @property {Map<string, {status: string, last_seen?: string}>} presence
 * @property {Map<string, Map<string, number>>} typing    conversation → user → when it was said
 * @property {Set<string>} stale                          conversations to be read again over REST
 * @property {Map<string, string>} agents                 user id → what the agent is called
 */
import { conversationOf } from './protocol.js';

/** Messages kept of one conversation; older ones are read again when someone scrolls up. */
const MAX_ITEMS = 600;
const KEPT_ITEMS = 400;

/** The handler of a session that waits for whoever comes first. */
export const ANYBODY = '*';

/** User ids may come as numbers; they are compared as text. @param {unknown} id */
export const uid = (id) => String(id ?? '');

/** @param {string} me @returns {State} */
export function emptyState(me = '') {
  return { me, cursor: 0, conversations: new Map(), presence: new Map(), typing: new Map(), stale: new Set(), agents: new Map() };
}

/** @param {Conversation} about @returns {Entry} */
function entryOf(about) {
  return { about, seq: about.last_seq ?? 0, items: [], loaded: false, hasMore: true, ahead: false, own: null };
}

/** @param {State} state @param {string} id @param {Entry | null} entry @returns {State} */
function withEntry(state, id, entry) {
  const conversations = new Map(state.conversations);
  if (entry) conversations.set(id, entry);
  else conversations.delete(id);
  return { ...state, conversations };
}

/** @param {State} state @param {string} id @param {boolean} stale @returns {State} */
export function markStale(state, id, stale = true) {
  if (state.stale.has(id) === stale) return state;
  const next = new Set(state.stale);
  if (stale) next.add(id);
  else next.delete(id);
  return { ...state, stale: next };
}

/** One durable event. Repeats change nothing; a jump in `seq` marks the conversation stale.
 * @param {State} state @param {Frame} frame @returns {State} */
export function applyEvent(state, frame) {
  const id = conversationOf(frame);
  let next = frame.cursor > state.cursor ? { ...state, cursor: frame.cursor } : state;
  if (!id) return next;
  const entry = next.conversations.get(id);
  if (!entry) {
    const mine = frame.type === 'participant.left' && uid(frame.user_id) === state.me;
    if (mine) return next;
    if (frame.type !== 'conversation.created' || !frame.data) return markStale(next, id);
    const about = { ...frame.data, unread_count: 0, muted: false, last_seq: frame.seq };
    return withEntry(next, id, { ...entryOf(about), seq: frame.seq });
  }
  if (frame.seq <= entry.seq) return next;
  if (frame.type === 'participant.left' && uid(frame.user_id) === state.me) return withEntry(next, id, null);
  // Whether an outline counts this already is not known.
  if (entry.about.outline) return markStale(next, id);
  if (frame.seq > entry.seq + 1) next = markStale(next, id);
  const about = aboutAfter(entry, frame, state.me);
  const items = trim(itemsAfter(entry.items, withBefore(state, frame), entry.loaded && !entry.ahead));
  next = withEntry(next, id, {
    ...entry, about, items, own: ownAfter(entry.own, frame), seq: frame.seq, hasMore: entry.hasMore || items[0]?.seq > entry.items[0]?.seq,
  });
  if (frame.type === 'message.new') next = applyTyping(next, { type: 'typing.stop', conversation_id: id, user_id: frame.data?.sender_id }, 0);
  return next;
}

/** A change with what was before it, which no event says. @param {State} state @param {Frame} frame @returns {Frame} */
export function withBefore(state, frame) {
  const entry = frame.type === 'conversation.updated' && !frame.was && state.conversations.get(conversationOf(frame) ?? '');
  if (!entry || frame.seq <= entry.seq) return frame;
  const { title, status } = entry.about;
  return { ...frame, was: { title, status } };
}

/** @param {Item[]} items */
function trim(items) {
  return items.length > MAX_ITEMS ? items.slice(-KEPT_ITEMS) : items;
}

/** What an event does to the conversation itself. @param {Entry} entry @param {Frame} frame @param {string} me */
function aboutAfter(entry, frame, me) {
  const about = { ...entry.about, last_seq: frame.seq };
  const last = about.last_message;
  switch (frame.type) {
    case 'message.new': {
      about.last_message = frame.data;
      about.updated_at = frame.data?.created_at ?? about.updated_at;
      if (uid(frame.data?.sender_id) !== me) about.unread_count = (about.unread_count ?? 0) + 1;
      break;
    }
    case 'run.ended': case 'approval_request': case 'approval_answer':
    case 'message.edited':
      if (last && last.id === frame.message_id) about.last_message = { ...last, ...frame.data };
      break;
    case 'message.deleted':
      if (last && last.id === frame.message_id) about.last_message = tombstone(last, frame);
      break;
    case 'message.read':
      return readBy(entry, about, frame, me);
    case 'conversation.updated':
      for (const field of ['title', 'metadata', 'status', 'participants', 'updated_at']) {
        const value = frame.data?.[field] ?? frame[field];
        if (value !== undefined) about[field] = value;
      }
      break;
    case 'conversation.archived':
      about.status = 'archived';
      break;
    case 'participant.joined': {
      const others = about.participants.filter((p) => uid(p.user_id) !== uid(frame.user_id));
      const joined_at = frame.joined_at ?? frame.timestamp ?? frame.created_at;
      about.participants = [...others, { user_id: frame.user_id, role: frame.role ?? 'member', nickname: frame.nickname ?? null, last_read_seq: 0, joined_at }];
      break;
    }
    case 'participant.left':
      about.participants = about.participants.filter((p) => uid(p.user_id) !== uid(frame.user_id));
      break;
  }
  return about;
}

/** @param {Entry} entry @param {Conversation} about @param {Frame} frame @param {string} me */
function readBy(entry, about, frame, me) {
  const read = entry.items.find((item) => item.id === frame.message_id)?.seq
    ?? (about.last_message?.id === frame.message_id ? about.last_message.seq : frame.last_read_seq ?? 0);
  about.participants = about.participants.map((p) => uid(p.user_id) === uid(frame.user_id) && read > (p.last_read_seq ?? 0)
    ? { ...p, last_read_seq: read } : p);
  // What is newer than a timeline that ends in the past is not counted here.
  if (uid(frame.user_id) === me && read && !(entry.ahead && read < (about.last_message?.seq ?? 0))) {
    const newer = entry.items.filter((i) => i.message && i.seq > read && uid(i.message.sender_id) !== me).length;
    about.unread_count = Math.min(about.unread_count ?? 0, newer);
  }
  return about;
}

/** @param {Message} message @param {Frame} frame */
function tombstone(message, frame) {
  const at = frame.deleted_at ?? frame.timestamp ?? message.deleted_at ?? message.updated_at ?? message.created_at;
  return { ...message, content: '', attachments: [], reactions: {}, deleted_at: at };
}

const OF_A_MESSAGE = new Set(['message.edited', 'message.deleted', 'message.read', 'reaction.added', 'reaction.removed', 'run.ended', 'approval_request', 'approval_answer']);
/** Those that carry the message as it is now. */
const WITH_MESSAGE = new Set(['message.edited', 'run.ended', 'approval_request', 'approval_answer']);

/** What an event does to the timeline; repeating it changes nothing.
 * @param {Item[]} items @param {Frame} frame @param {boolean} toEnd  they go on to the newest
 * @returns {Item[]} */
function itemsAfter(items, frame, toEnd) {
  if (frame.type === 'message.new') {
    return toEnd && frame.data ? upsert(items, messageItem(frame.data, frame.seq)) : items;
  }
  // An answer that waited for its turn and never began has no message: its end is a line of its own.
  if (!OF_A_MESSAGE.has(frame.type) || frame.type === 'run.ended' && !frame.data) {
    if (!toEnd || frame.type === 'conversation.updated' && !worthALine(frame)) return items;
    return upsert(items, { seq: frame.seq, id: `event-${frame.seq}`, event: frame });
  }
  const at = items.findIndex((item) => item.id === frame.message_id);
  if (at < 0 || frame.type === 'message.read') return items;
  const message = items[at].message ?? {};
  const copy = items.slice();
  copy[at] = { ...items[at], message: changed(message, frame) };
  return copy;
}

/** Whether people are told of a change: of another title, and of what is open again.
 * @param {Frame} frame  with what `was` before it */
function worthALine({ was, data }) {
  return Boolean(was && data && (data.title && data.title !== was.title || reopened({ was, data })));
}

/** @param {{was?: any, data?: any}} frame */
export const reopened = ({ was, data }) => was?.status === 'archived' && data?.status === 'active';

/** @param {Message} message @param {Frame} frame @returns {Message} */
function changed(message, frame) {
  if (WITH_MESSAGE.has(frame.type)) return { ...message, ...frame.data };
  if (frame.type === 'message.deleted') return tombstone(message, frame);
  const users = (message.reactions?.[frame.emoji] ?? []).filter((id) => uid(id) !== uid(frame.user_id));
  if (frame.type === 'reaction.added') users.push(frame.user_id);
  const reactions = { ...message.reactions };
  if (users.length) reactions[frame.emoji] = users;
  else delete reactions[frame.emoji];
  return { ...message, reactions };
}

/** @param {Message} message @param {number} [seq] @returns {Item} */
function messageItem(message, seq) {
  return { seq: message.seq ?? seq ?? 0, id: message.id, message };
}

/** @param {Item[]} items @param {Item} item @returns {Item[]} */
function upsert(items, item) {
  const copy = items.slice();
  let at = copy.length;
  while (at > 0 && copy[at - 1].seq > item.seq) at -= 1;
  if (at > 0 && copy[at - 1].seq === item.seq) copy[at - 1] = item;
  else copy.splice(at, 0, item);
  return copy;
}

/** A message the server answered us with (`message.sent`, 201): shown at once; the event counts it.
 * @param {State} state @param {Message} message @returns {State} */
export function applyMessage(state, message) {
  const entry = state.conversations.get(message?.conversation_id);
  // Only as the very next line: a hole below it would look like a message that is missing.
  if (!entry?.loaded || entry.ahead || message.seq !== entry.seq + 1) return state;
  return withEntry(state, message.conversation_id, { ...entry, items: upsert(entry.items, messageItem(message)) });
}

/** All my conversations as the server has them now; `since` are the events that came meanwhile.
 * @param {State} state @param {Conversation[]} list @param {Frame[]} since @returns {State} */
export function applySnapshot(state, list, since = []) {
  const conversations = new Map();
  for (const about of list) conversations.set(about.id, merged(state.conversations.get(about.id), about));
  return replay({ ...state, conversations, stale: new Set(list.filter(tellsTooLittle).map((about) => about.id)) }, since);
}

/** More sessions than those that are there. @param {State} state @param {Conversation[]} list @returns {State} */
export function applyOutlines(state, list) {
  const conversations = new Map(state.conversations);
  const fresh = list.filter((about) => !conversations.has(about.id));
  for (const about of fresh) conversations.set(about.id, entryOf(about));
  return fresh.filter(tellsTooLittle).reduce((next, about) => markStale(next, about.id), { ...state, conversations });
}

/** A last message without words is a file, deleted, or an answer that came to nothing: an outline does not say.
 * @param {Conversation} about */
const tellsTooLittle = (about) => Boolean(about.outline && about.last_message && !about.last_message.content);

/** One conversation read again. @param {State} state @param {Conversation} about @param {Frame[]} since */
export function applyConversation(state, about, since = []) {
  const next = withEntry(state, about.id, merged(state.conversations.get(about.id), about));
  return replay(markStale(next, about.id, false), since);
}

/** @param {State} state @param {string} id @returns {State} */
export function dropConversation(state, id) {
  return markStale(withEntry(state, id, null), id, false);
}

/** @param {Entry | undefined} entry @param {Conversation} about @returns {Entry} */
function merged(entry, about) {
  if (!entry) return entryOf(about);
  // What is open keeps its lines until it is read whole.
  if (about.outline && entry.loaded) return entry;
  const seq = about.last_seq ?? 0;
  if (seq < entry.seq) return entry;
  return { ...entry, about, seq };
}

/** @param {State} state @param {Frame[]} events @returns {State} */
export function replay(state, events) {
  return events.reduce(applyEvent, state);
}

/** A page of messages, `has_more` on the side that it was read for (around one: older ones); `since` are the events of any conversation that came while it was read.
 * @param {State} state @param {string} id @param {{messages: Message[], has_more: boolean}} page
 * @param {'latest' | 'older' | 'newer' | 'around'} where @param {Frame[]} since @returns {State} */
export function applyPage(state, id, page, where, since = []) {
  const entry = state.conversations.get(id);
  if (!entry) return state;
  const fresh = page.messages.map((message) => messageItem(message));
  const newest = entry.items.at(-1)?.seq ?? 0;
  const touches = where === 'older' || where === 'newer' || where === 'latest' && (!page.has_more || (fresh[0]?.seq ?? 0) <= newest);
  const ahead = where === 'older' ? entry.ahead : where === 'newer' ? page.has_more
    : where === 'around' && (fresh.at(-1)?.seq ?? 0) < (entry.about.last_message?.seq ?? 0);
  let items = touches ? fresh.reduce(upsert, entry.items) : fresh;
  for (const frame of since) {
    if (conversationOf(frame) !== id) continue;
    // A line that stands there already knows what was before it.
    items = itemsAfter(items, entry.items.find((item) => item.event?.seq === frame.seq)?.event ?? frame, !ahead);
  }
  const hasMore = where === 'newer' || where === 'latest' && touches && entry.loaded ? entry.hasMore : page.has_more;
  return withEntry(state, id, { ...entry, items, loaded: true, hasMore, ahead });
}

/** Lines that tell of events from before this page was opened, where they belong among the messages.
 * @param {State} state @param {string} id @param {Frame[]} frames  of this conversation @returns {State} */
export function applyLines(state, id, frames) {
  const entry = state.conversations.get(id);
  if (!entry?.loaded) return state;
  const { items, hasMore, ahead } = entry;
  const first = hasMore ? items[0]?.seq ?? Infinity : 0;
  const last = ahead ? items.at(-1)?.seq ?? 0 : Infinity;
  const missing = frames.filter(({ seq }) => seq > first && seq < last && !items.some((item) => item.seq === seq));
  if (!missing.length) return state;
  return withEntry(state, id, { ...entry, items: missing.map((frame) => ({ seq: frame.seq, id: `event-${frame.seq}`, event: frame })).reduce(upsert, items) });
}

/** What a session has besides, read over REST. @param {State} state @param {string} id
 * @param {Record<string, any>} session @param {Frame[]} since @returns {State} */
export function applyOwn(state, id, session, since = []) {
  const entry = state.conversations.get(id);
  if (!entry) return state;
  const handler = session.handler === null ? null : uid(session.handler);
  /** @type {Own | null} */
  const read = { handler, agent: uid(session.agent?.user_id), choices: session.choices ?? {}, seq: session.last_seq ?? 0 };
  const own = since.filter((frame) => conversationOf(frame) === id).reduce(ownAfter, read);
  return withEntry(state, id, { ...entry, own });
}

/** @param {Own | null} own @param {Frame} frame @returns {Own | null} */
function ownAfter(own, frame) {
  if (!own || frame.seq <= own.seq) return own;
  const next = { ...own, seq: frame.seq };
  const message = frame.data;
  if (frame.type === 'handover') next.handler = frame.to === null ? null : uid(frame.to);
  // Who has taken over and leaves makes room for whoever comes first.
  else if (frame.type === 'participant.left' && uid(frame.user_id) === own.handler) next.handler = ANYBODY;
  else if (frame.type === 'run.chosen') next.choices = { ...own.choices, [frame.question_id]: frame.message_id };
  else if (frame.type === 'message.new' && message?.metadata?.alternative_of) next.choices = { ...own.choices, [message.reply_to_id]: message.id };
  return next;
}

/** Forget timelines that may have a hole, keep what the list shows. @param {State} state @returns {State} */
export function forgetTimelines(state) {
  const conversations = new Map();
  for (const [id, entry] of state.conversations) conversations.set(id, { ...entry, seq: 0, items: [], loaded: false, hasMore: true, ahead: false, own: null });
  return { ...state, conversations };
}

const PRESENCE = { 'user.online': 'online', 'user.away': 'away', 'user.dnd': 'dnd', 'user.offline': 'offline' };

/** A signal: presence or typing. @param {State} state @param {Frame} frame @param {number} now ms */
export function applySignal(state, frame, now) {
  const status = PRESENCE[frame.type];
  if (status) return applyPresence(state, [{ user_id: frame.user_id, status: frame.status ?? status, last_seen: frame.last_seen }]);
  if (frame.type === 'typing.start' || frame.type === 'typing.stop') return applyTyping(state, frame, now);
  return state;
}

/** @param {State} state @param {{user_id: any, status: string, last_seen?: string}[]} users @returns {State} */
export function applyPresence(state, users) {
  const presence = new Map(state.presence);
  for (const user of users) presence.set(uid(user.user_id), { status: user.status, last_seen: user.last_seen });
  return { ...state, presence };
}

/** @param {State} state @param {Frame} frame @param {number} now @returns {State} */
function applyTyping(state, frame, now) {
  const id = frame.conversation_id;
  const user = uid(frame.user_id);
  const before = state.typing.get(id);
  if (frame.type === 'typing.stop' && !before?.has(user)) return state;
  const users = new Map(before);
  if (frame.type === 'typing.start') users.set(user, now);
  else users.delete(user);
  return { ...state, typing: new Map(state.typing).set(id, users) };
}

/** The server says `typing.stop`; if that was lost, the line goes after this long. */
const TYPING_MS = 8000;

/** @param {State} state @param {number} now @returns {State} */
export function expireTyping(state, now) {
  let next = state;
  for (const [id, users] of state.typing) {
    for (const [user, at] of users) {
      if (now - at > TYPING_MS) next = applyTyping(next, { type: 'typing.stop', conversation_id: id, user_id: user }, now);
    }
  }
  return next;
}

/** Conversations, newest activity first. @param {State} state @returns {Entry[]} */
export function listed(state) {
  const when = (entry) => entry.about.last_message?.created_at ?? entry.about.updated_at ?? entry.about.created_at ?? '';
  return [...state.conversations.values()].sort((a, b) => (when(a) < when(b) ? 1 : when(a) > when(b) ? -1 : 0));
}

/** The user id of an agent that the server itself runs begins with this. */
const AGENT_PREFIX = /^agent:/;

/** @param {State} state @param {string} userId @param {Conversation} [about] */
export function nameOf(state, userId, about) {
  const seat = about?.participants?.find((p) => uid(p.user_id) === uid(userId));
  return seat?.nickname || seat?.name || state.agents.get(uid(userId)) || uid(userId).replace(AGENT_PREFIX, '');
}

/** What a conversation is called for this user. @param {State} state @param {Conversation} about */
export function titleOf(state, about) {
  if (about.title) return String(about.title);
  if (about.outline) return String(about.agent_name ?? '');
  const others = (about.participants ?? []).filter((p) => uid(p.user_id) !== state.me);
  return others.map((p) => nameOf(state, p.user_id, about)).join(', ');
}
