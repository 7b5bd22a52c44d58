/**
 * A room as this browser knows it: what REST answered at first, and every frame since. Pure: knows no
 * socket and no page. A frame that comes twice changes nothing the second time.
 *
 * @typedef {{id: string, by: string | null, name: string, text: string, at: string}} Message
 * @typedef {{id: string, by: string | null, name: string, text: string, at: string, votes: number,
 *   state: QuestionState, voted: boolean, own: boolean, anonymous: boolean, approved: boolean}} Question
 * @typedef {'open' | 'approved' | 'live' | 'answered' | 'dismissed'} QuestionState
 * @typedef {{id: string, question: string, kind: 'single' | 'multiple' | 'cloud', options: string[], counts: number[],
 *   words: {word: string, count: number}[], voters: number, open: boolean, at: string, mine: (number | string)[], most: number}} Poll
 * @typedef {{id: string, name: string, online: boolean, muted: boolean, host: boolean}} Person
 * @typedef {{
 *   code: string, title: string, status: 'active' | 'paused' | 'ended', settings: Record<string, any>, language: string,
 *   me: Person, count: number, online: Map<string, boolean>, everybody: boolean, people: Map<string, Person>, messages: Message[],
 *   questions: Map<string, Question>, polls: Map<string, Poll>, typing: Map<string, {name: string, until: number}>,
 *   lastChat: number, stale: boolean,
 * }} Room
 *   `online`: of whom it is known; `everybody`: whether that is all who are here. A phone only counts:
 *   the names of thousands would weigh more than the page.
 */

/** Chat messages kept: a phone shows the latest. */
const MOST_MESSAGES = 300;
const TYPING_MS = 6000;

/** @param {string} code @param {import('./keep.js').Seat} seat @param {boolean} host @returns {Room} */
export function emptyRoom(code, seat, host) {
  return {
    code, title: '', status: 'active', settings: {}, language: 'ko',
    me: { id: seat.participant_id, name: seat.nickname, online: true, muted: false, host },
    count: 1, online: new Map(), everybody: false, people: new Map(), messages: [], questions: new Map(), polls: new Map(), typing: new Map(),
    lastChat: 0, stale: false,
  };
}

/** @param {Room} room @param {any} session as REST and frames tell it */
export function applySession(room, session) {
  if (!session) return;
  if (typeof session.title === 'string') room.title = session.title;
  if (session.status) room.status = session.status;
  if (session.language) room.language = session.language;
  if (session.settings) {
    const before = room.settings;
    room.settings = { ...before, ...session.settings };
    if (session.settings.language) room.language = session.settings.language;
    // Whether others' questions may be seen has changed: what one has not seen yet must be read.
    for (const name of ['questions_visible', 'questions_need_approval', 'anonymous_to_host']) {
      if (name in before && before[name] !== room.settings[name]) room.stale = true;
    }
  }
}

/** @param {any} told @returns {Message} */
const messageOf = (told) => ({
  id: told.message_id, by: told.participant_id || null, name: told.participant_nickname || '', text: told.content || '', at: told.timestamp || '',
});

/** @param {any} told @param {string} me @param {Question} [before] @returns {Question} */
const questionOf = (told, me, before) => ({
  ...messageOf(told), own: told.own === true || told.participant_id === me || Boolean(before && before.own), votes: told.votes || 0, state: told.state || 'open', anonymous: Boolean(told.anonymous),
  approved: typeof told.approved === 'boolean' ? told.approved : Boolean(before && before.approved),
  voted: typeof told.voted === 'boolean' ? told.voted : Boolean(before && before.voted),
});

/** @param {any} told @param {Poll} [before] @returns {Poll} */
function pollOf(told, before) {
  const poll = before || { id: told.message_id, question: '', kind: 'single', options: [], counts: [], words: [], voters: 0, open: true, at: '', mine: [], most: 1 };
  const texts = Array.isArray(told.options) ? told.options.map((one) => (typeof one === 'string' ? one : one.text)) : poll.options;
  const given = told.counts && typeof told.counts === 'object' ? told.counts : poll.counts;
  const counts = texts.map((_, n) => given[n] || 0);
  const state = told.state || (told.type === 'poll_closed' ? 'closed' : told.type === 'poll_open' ? 'open' : poll.open ? 'open' : 'closed');
  return {
    ...poll, options: texts, counts,
    question: typeof told.question === 'string' ? told.question : poll.question,
    kind: told.kind || poll.kind,
    words: Array.isArray(told.words) ? told.words : (told.kind || poll.kind) === 'cloud' && told.counts ? Object.entries(told.counts).map(([word, count]) => ({ word, count })) : poll.words,
    most: told.most || poll.most,
    voters: typeof told.voters === 'number' ? told.voters : poll.voters,
    at: told.timestamp || poll.at,
    open: state === 'open',
    mine: Array.isArray(told.mine) ? told.mine : poll.mine,
  };
}

/** Somebody is here or not; `turned` where they came or left just now.
 * @param {Room} room @param {string} id @param {boolean} here @param {boolean} turned */
function seen(room, id, here, turned) {
  const before = room.online.get(id);
  room.online.set(id, here);
  if (before === here || (before === undefined && !turned && !room.everybody)) return;
  if (here) room.count += 1;
  else if (before || !room.everybody) room.count -= 1;
}

/** @param {Room} room @param {any} told @param {Partial<Person>} [more] */
function person(room, told, more = {}) {
  const id = told.participant_id;
  const before = room.people.get(id) || { id, name: '', online: room.online.get(id) === true, muted: false, host: false };
  const now = {
    ...before, ...more,
    name: told.participant_nickname || before.name,
    online: typeof told.is_online === 'boolean' ? told.is_online : more.online === undefined ? before.online : more.online,
    muted: typeof told.is_muted === 'boolean' ? told.is_muted : before.muted,
    host: told.role ? told.role === 'host' : before.host,
  };
  room.people.set(id, now);
  if (more.online !== undefined || typeof told.is_online === 'boolean') seen(room, id, now.online, more.online !== undefined);
  if (id === room.me.id) room.me = { ...room.me, name: now.name || room.me.name, muted: now.muted };
}

/** @param {Room} room @param {Message} message */
function addMessage(room, message) {
  const { messages } = room;
  if (messages.some((one) => one.id === message.id)) return;
  messages.push(message);
  if (messages.length > MOST_MESSAGES) messages.splice(0, messages.length - MOST_MESSAGES);
  if (message.by) room.typing.delete(message.by);
}

/** What REST answered, all of it. @param {Room} room
 * @param {{session: any, online: string[] | null, messages: any[], questions: any[], polls: any[], people: any[]}} read */
export function load(room, read) {
  room.messages = [];
  room.questions = new Map();
  room.polls = new Map();
  room.people = new Map();
  room.stale = false;
  room.settings = {};
  applySession(room, read.session);
  room.everybody = Boolean(read.online);
  room.online = new Map((read.online || [room.me.id]).map((id) => [id, true]));
  room.count = read.online ? read.online.length : read.session.online_count;
  for (const told of read.people) person(room, told);
  for (const told of read.messages) addMessage(room, messageOf(told));
  room.messages.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  for (const told of read.questions) room.questions.set(told.message_id, questionOf(told, room.me.id));
  for (const told of read.polls) room.polls.set(told.message_id, pollOf(told));
}

/** A frame. @param {Room} room @param {any} frame @param {number} now milliseconds */
export function apply(room, frame, now = Date.now()) {
  const { message_id: id } = frame;
  switch (frame.type) {
    case 'chat_message':
      addMessage(room, messageOf(frame));
      break;
    case 'question':
      room.questions.set(id, questionOf(frame, room.me.id, room.questions.get(id)));
      break;
    case 'question_update': {
      const question = room.questions.get(id);
      if (!question) break;
      if (frame.state === 'dismissed' && !room.me.host && !question.own) room.questions.delete(id);
      else room.questions.set(id, { ...question, 
        votes: typeof frame.votes === 'number' ? frame.votes : question.votes, state: frame.state || question.state,
        voted: typeof frame.voted === 'boolean' ? frame.voted : question.voted,
        approved: question.approved || ['approved', 'live', 'answered'].includes(frame.state),
      });
      break;
    }
    case 'message_removed':
      room.messages = room.messages.filter((message) => message.id !== id);
      room.questions.delete(id);
      room.polls.delete(id);
      break;
    case 'poll_open': case 'poll_update': case 'poll_closed':
      if (frame.type !== 'poll_update' || room.polls.has(id)) room.polls.set(id, pollOf(frame, room.polls.get(id)));
      break;
    case 'participant_joined':
      person(room, frame, { online: true });
      break;
    case 'participant_left':
      person(room, frame, { online: false });
      room.typing.delete(frame.participant_id);
      break;
    case 'participant_update':
      person(room, frame);
      break;
    case 'typing':
      if (frame.is_typing) room.typing.set(frame.participant_id, { name: frame.participant_nickname, until: now + TYPING_MS });
      else room.typing.delete(frame.participant_id);
      break;
    case 'session_update':
      applySession(room, frame);
      break;
    default:
  }
}

/** Whether it waits for the host to let the others see it. @param {Room} room @param {Question} question */
export const pending = (room, question) => question.state === 'open' && !question.approved && Boolean(room.settings.questions_need_approval);

const RANK = { live: 0, open: 1, approved: 1, answered: 2, dismissed: 3 };

/** By votes, equal ones as they were asked; what is live stands first, what is answered last.
 * @param {Question} a @param {Question} b */
const byVotes = (a, b) => RANK[a.state] - RANK[b.state] || b.votes - a.votes || byAge(a, b);
/** @param {Question} a @param {Question} b */
const byAge = (a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.id < b.id ? -1 : 1);

/** @param {Room} room @param {'top' | 'new'} sort @returns {Question[]} */
export function sorted(room, sort) {
  return [...room.questions.values()].sort(sort === 'new' ? (a, b) => byAge(b, a) : byVotes);
}

/** @param {Room} room */
export const liveQuestion = (room) => [...room.questions.values()].find((question) => question.state === 'live');
/** The polls, the latest first. @param {Room} room */
export const latestPolls = (room) => [...room.polls.values()].sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : a.id < b.id ? 1 : -1));
/** @param {Room} room */
export const openPoll = (room) => latestPolls(room).find((poll) => poll.open);
/** How many are here, oneself included. @param {Room} room */
export const onlineCount = (room) => Math.max(1, room.count);

/** Who is typing, oneself left out. @param {Room} room @param {number} [now] @returns {string[]} */
export const typists = (room, now = Date.now()) => [...room.typing].filter(([id, one]) => one.until > now && id !== room.me.id).map(([, one]) => one.name);
