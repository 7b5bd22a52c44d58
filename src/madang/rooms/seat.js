/**
 * One's seat in a room: the connection, the room's state, and what is on its way. It reads the room
 * once, follows it by frames, and after a lost connection asks for what it missed by cursor; only
 * where that is not to be had it reads the room again. The page draws `seat.room` on each change.
 */
import { keepUnsent, unsent } from './keep.js';
import { createLine } from './line.js';
import { afterLoss, letter, mark, put, wire, without, written } from './outbox.js';
import { getPart, getSession, openSocket, Refused } from './rest.js';
import { apply, applySession, emptyRoom, load } from './room.js';

/**
 * @typedef {{why: 'kicked' | 'banned' | 'gone' | 'refused', reason: string}} Ending
 * @typedef {{
 *   onChange: () => void,
 *   onEnd: (ending: Ending) => void,
 *   onProblem: (error: any, letter: import('./outbox.js').Letter) => void,
 *   onEvent?: (frame: any) => void,
 * }} Listeners
 *   `onProblem`: a frame was refused. `onEvent`: a frame came while the room was live, not by catching up.
 */

const PAGE = 100;
/** Pages of questions that a phone reads, and of questions and people that a host does: what is
 * beyond comes as it changes, and stands in the export. */
const PAGES = 3;
const HOST_PAGES = 10;
const READ_AGAIN_MS = 2000;
const COUNT_AFTER_MS = 30000;
/** Typing is told again after this, while somebody types. */
const TYPING_EVERY_MS = 3000;
/** In a full hall nobody wants to know who is typing. */
const TYPING_UP_TO = 30;

/** @param {string} code @param {import('./keep.js').Seat} place @param {{host?: boolean, keeps?: boolean}} options
 * `keeps`: what is unsent outlives a refresh. @param {Listeners} listeners */
export function createSeat(code, place, { host = false, keeps = true }, listeners) {
  const room = emptyRoom(code, place, host);
  /** @type {import('./outbox.js').Letter[]} */
  let box = keeps ? afterLoss(unsent(code)) : [];
  /** @type {import('./line.js').Line} */
  let line = { phase: 'connecting' };
  /** @type {number | null} */
  let cursor = null;
  let epoch = '';
  let ready = false;
  let loaded = false;
  /** Frames that came while the room was being read. @type {any[] | null} */
  let meanwhile = null;
  let reading = 0;
  let flushTimer = 0;
  let typingTold = 0;
  let countTimer = 0;
  let moderated = '';

  const socket = createLine(
    () => openSocket(code, place, loaded && cursor !== null ? { cursor, epoch } : {}),
    { onLine, onFrame },
  );

  /** @param {import('./line.js').Line} next */
  function onLine(next) {
    line = next;
    if (next.phase !== 'live') {
      ready = false;
      reading += 1;
      meanwhile = null;
      box = afterLoss(box);
    }
    if (next.phase === 'closed') {
      const reason = next.reason || '';
      const why = next.code === 4009 ? (moderated === 'ban' || /banned/i.test(reason) ? 'banned' : 'kicked') : reason === 'Session not found' ? 'gone' : 'refused';
      listeners.onEnd({ why, reason });
    }
    listeners.onChange();
  }

  /** @param {any} frame */
  function onFrame(frame) {
    if (frame.type === 'connected') {
      epoch = frame.epoch || '';
      applySession(room, frame.session);
      if (frame.participant_nickname) room.me.name = frame.participant_nickname;
      if (typeof frame.is_muted === 'boolean') room.me.muted = frame.is_muted;
      if (!loaded) read(frame.cursor);
      return;
    }
    if (frame.type === 'resumed') {
      if (frame.recovered) {
        cursor = frame.cursor;
        becomeLive();
      } else read(frame.cursor);
      return;
    }
    if (frame.type === 'moderated') moderated = frame.action;
    settle(frame);
    if (meanwhile) meanwhile.push(frame);
    else follow(frame);
    if (room.stale && ready && !meanwhile) read(cursor);
    listeners.onChange();
  }

  /** @param {any} frame */
  function follow(frame) {
    apply(room, frame);
    if (typeof frame.cursor === 'number' && (cursor === null || frame.cursor > cursor)) cursor = frame.cursor;
    if (!room.everybody && !countTimer && /^participant_(joined|left)$/.test(frame.type)) countTimer = setTimeout(countAgain, COUNT_AFTER_MS * (1 + Math.random()));
    if (ready && listeners.onEvent) listeners.onEvent(frame);
  }

  /** Read all of the room; frames that come meanwhile are put on top. @param {number | null} from */
  async function read(from) {
    reading += 1;
    const mine = reading;
    meanwhile = meanwhile || [];
    const { token } = place;
    const part = (rest) => getPart(code, rest, token);
    /** @param {string} name @param {string} query */
    const all = async (name, query) => {
      const found = [];
      let next = '';
      for (let page = 0; page < (host ? HOST_PAGES : PAGES); page += 1) {
        const answer = await part(`/${name}?${query}limit=${PAGE}${next}`);
        found.push(...answer[name]);
        if (!answer.has_more) break;
        next = `&page=${encodeURIComponent(answer.next)}`;
      }
      return found;
    };
    try {
      const [session, messages, questions, polls, status, people] = await Promise.all([
        getSession(code, token), part(`/messages?limit=${PAGE}`), all('questions', 'sort=top&'), part('/polls'),
        host ? part('/status') : null, host ? all('participants', '') : [],
      ]);
      if (mine !== reading) return;
      load(room, { session, online: status && status.online_participants, messages: messages.messages, questions, polls: polls.polls, people });
      loaded = true;
      cursor = from;
      const since = meanwhile || [];
      meanwhile = null;
      for (const frame of since) follow(frame);
      becomeLive();
    } catch (error) {
      if (mine !== reading) return;
      if (!(error instanceof Refused)) throw error;
      // The network is gone or the server is busy: the line notices the one and waits out the other.
      if (error.status === 404 || error.status === 401) listeners.onEnd({ why: 'gone', reason: error.message });
      else setTimeout(() => { if (mine === reading) read(from); }, READ_AGAIN_MS);
    }
  }

  function becomeLive() {
    meanwhile = null;
    ready = true;
    socket.live();
    flush();
    if (room.stale) read(cursor);
  }

  /** Counting those who come and go may be one off where they did while the room was read. */
  async function countAgain() {
    countTimer = 0;
    const session = await getSession(code, place.token).catch(() => null);
    if (session && ready && !room.everybody) room.count = session.online_count;
    listeners.onChange();
  }

  function changed() {
    if (keeps) keepUnsent(code, box);
    listeners.onChange();
  }

  /** Send what waits, in order. */
  function flush() {
    clearTimeout(flushTimer);
    if (!ready) return;
    const now = Date.now();
    for (const one of box) {
      if (one.state !== 'waiting') continue;
      if (one.after > now) {
        flushTimer = setTimeout(flush, one.after - now);
        break;
      }
      if (!socket.send(wire(one))) break;
      box = mark(box, one.id, { state: 'sending' });
    }
    changed();
  }

  /** A reply, an error, or one's own message coming back. @param {any} frame */
  function settle(frame) {
    const one = box.find((waiting) => waiting.id === frame.reply_to || (frame.client_id && waiting.id === frame.client_id));
    if (!one) {
      if (frame.type === 'error') listeners.onProblem(frame, { id: '', frame: { type: '' }, at: '', state: 'failed', after: 0 });
      return;
    }
    if (frame.type === 'error') {
      const retry = typeof frame.retry_after === 'number' ? frame.retry_after : null;
      if (retry !== null && written(one)) {
        box = mark(box, one.id, { state: 'waiting', after: Date.now() + retry });
        flush();
      } else if (written(one)) box = mark(box, one.id, { state: 'failed', problem: frame.message });
      else box = without(box, one.id);
      if (!(retry !== null && written(one))) listeners.onProblem(frame, one);
    } else {
      box = without(box, one.id);
      if (one.frame.type === 'chat_message' && frame.type === 'chat_message') room.lastChat = Date.now();
    }
    changed();
  }

  return {
    room,
    get line() { return line; },
    get ready() { return ready; },
    get loaded() { return loaded; },
    get letters() { return box; },
    connect: socket.connect,
    end: socket.end,
    /** Send a frame, now or once there is a connection. @param {{type: string} & Record<string, any>} frame */
    send(frame) {
      box = put(box, letter(frame));
      flush();
      changed();
    },
    /** @param {string} id */
    again(id) {
      box = mark(box, id, { state: 'waiting', problem: undefined, after: 0 });
      flush();
    },
    /** @param {string} id */
    discard(id) {
      box = without(box, id);
      changed();
    },
    /** One's vote on a question as it is meant to be, also while it is on its way.
     * @param {import('./room.js').Question} question @returns {{up: boolean, votes: number}} */
    vote(question) {
      const mine = box.filter((one) => one.frame.type === 'question_vote' && one.frame.message_id === question.id);
      const last = mine[mine.length - 1];
      if (!last || last.frame.up === question.voted) return { up: question.voted, votes: question.votes };
      return { up: last.frame.up, votes: Math.max(0, question.votes + (last.frame.up ? 1 : -1)) };
    },
    /** One's answer to a poll, also while it is on its way. @param {import('./room.js').Poll} poll */
    answer(poll) {
      const mine = box.filter((one) => one.frame.type === 'poll_vote' && one.frame.message_id === poll.id);
      const last = mine[mine.length - 1];
      return last ? last.frame.choices || last.frame.words : poll.mine;
    },
    /** @param {boolean} typing */
    typing(typing) {
      if (!ready || room.count > TYPING_UP_TO) return;
      const now = Date.now();
      if (typing && now - typingTold < TYPING_EVERY_MS) return;
      if (!typing && !typingTold) return;
      typingTold = typing ? now : 0;
      socket.send({ type: 'typing', is_typing: typing });
    },
  };
}
