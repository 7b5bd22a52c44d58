/** The list of questions, with a vote button each; what stands beside each is the page's own. */
import { empty, explain, stateTag } from './parts.js';
import { fill, h, icon, keyed, setAttr, setText, show } from './dom.js';
import { clockTime, counted, number, t } from './i18n.js';
import { pending, sorted } from './room.js';

/** The list is put in a new order at most so often, and never under a finger. */
const ORDER_EVERY_MS = 900;
/** Questions drawn at once; more are a button away. */
const DRAWN = 60;

/**
 * @param {any} seat @param {{
 *   select?: (question: import('./room.js').Question) => boolean,
 *   tools?: (question: import('./room.js').Question) => import('./dom.js').Part<import('./room.js').Question>,
 *   emptyText?: () => [title: string, text: string] | null, sort?: 'top' | 'new',
 * }} options
 */
export function questionsView(seat, options = {}) {
  const { room } = seat;
  const select = options.select || (() => true);
  let sort = options.sort || 'top';
  let drawn = DRAWN;
  /** @type {string[]} */
  let order = [];
  let orderedAt = 0;
  let held = false;
  let orderTimer = 0;

  const list = h('ol', { class: 'questions' });
  const nothing = h('div', {});
  const more = h('button', { type: 'button', class: 'button more', onclick: () => { drawn += DRAWN; update(); } });
  const draw = keyed(list, (question) => question.id, (first) => questionPart(seat, first, options.tools));
  const sorts = ['top', 'new'].map((name) => h('button', {
    type: 'button', 'aria-pressed': String(sort === name),
    onclick: () => {
      sort = /** @type {'top' | 'new'} */ (name);
      sorts.forEach((button, n) => setAttr(button, 'aria-pressed', String(['top', 'new'][n] === sort)));
      orderedAt = 0;
      update();
    },
  }, t(name)));
  const sortBar = h('div', { class: 'sorts' }, h('div', { class: 'segments', role: 'group', 'aria-label': t('sort') }, sorts));
  const element = h('div', { class: 'questions-part' }, nothing, list, more);

  list.addEventListener('pointerdown', () => { held = true; });
  for (const name of ['pointerup', 'pointercancel']) addEventListener(name, () => { if (held) { held = false; setTimeout(update, ORDER_EVERY_MS / 2); } });

  function update() {
    const all = sorted(room, sort).filter(select);
    const now = Date.now();
    const wait = orderedAt + ORDER_EVERY_MS - now;
    const known = new Map(all.map((question) => [question.id, question]));
    const placed = new Set(order);
    const fresh = all.filter((question) => !placed.has(question.id)).map((question) => question.id);
    if (!held && (wait <= 0 || fresh.length)) {
      const next = all.map((question) => question.id);
      if (next.join() !== order.join()) orderedAt = now;
      order = next;
    } else if (!held && !orderTimer) orderTimer = setTimeout(() => { orderTimer = 0; update(); }, Math.max(0, wait));
    else order = [...order, ...fresh];
    const shown = order.map((id) => known.get(id)).filter(Boolean);
    draw(shown.slice(0, drawn));
    show(more, shown.length > drawn);
    setText(more, `+ ${number(shown.length - drawn)}`);
    show(list, shown.length > 0);
    show(sortBar, shown.length > 1);
    const said = !shown.length && seat.loaded && (options.emptyText ? options.emptyText() : [t('noQuestions'), t('noQuestionsText')]);
    if (said) {
      const [title, text] = said;
      if (nothing.textContent !== title + text) fill(nothing, empty('question', title, text));
    } else if (nothing.firstChild) fill(nothing);
    return shown.length;
  }

  return { element, sortBar, update };
}

/** @param {any} seat @param {import('./room.js').Question} first
 * @param {((question: import('./room.js').Question) => import('./dom.js').Part<import('./room.js').Question>) | undefined} makeTools */
function questionPart(seat, first, makeTools) {
  const { room } = seat;
  const vote = voteButton(seat);
  const text = h('p', { class: 'text' });
  const tag = h('span', { class: 'tag', hidden: true });
  const own = h('span', { class: 'tag act', hidden: true }, t('mine'));
  const name = h('span', { class: 'name' });
  const time = h('time', {});
  const tools = makeTools ? makeTools(first) : null;
  const element = h('li', { class: 'question' }, vote.element,
    h('div', { class: 'question-body' }, text, h('div', { class: 'meta' }, tag, own, name, time), tools && tools.element));
  return {
    element,
    /** @param {import('./room.js').Question} next */
    update(next) {
      vote.update(next);
      const state = pending(room, next) ? 'pending' : next.state;
      setText(text, next.text);
      setText(name, next.name || t('anonymous'));
      setText(time, clockTime(next.at));
      stateTag(tag, state);
      show(own, next.own && !room.me.host);
      setAttr(element, 'data-state', state);
      if (tools) tools.update(next);
    },
  };
}

/** The question being answered, large, for those who take part. @param {any} seat */
export function liveView(seat) {
  const vote = voteButton(seat);
  const text = h('p', { class: 'text live-text' });
  const by = h('p', { class: 'meta name' });
  const element = h('section', { class: 'live', 'aria-labelledby': 'live-title', hidden: true }, vote.element,
    h('div', { class: 'spring' }, h('h2', { id: 'live-title' }, icon('live'), t('nowLive')), text, by));
  return {
    element,
    /** @param {import('./room.js').Question | undefined} question */
    update(question) {
      show(element, Boolean(question));
      if (!question) return;
      vote.update(question);
      setText(text, question.text);
      setText(by, question.name || t('anonymous'));
    },
  };
}

/** A vote for a question, and how many it has. @param {any} seat */
function voteButton(seat) {
  /** @type {import('./room.js').Question} */
  let question;
  const count = h('span', { class: 'votes' });
  const element = h('button', {
    type: 'button', class: 'upvote',
    onclick: () => seat.send({ type: 'question_vote', message_id: question.id, up: !seat.vote(question).up }),
  }, icon('up'), count);
  return {
    element,
    /** @param {import('./room.js').Question} next */
    update(next) {
      question = next;
      const { up, votes } = seat.vote(next);
      setText(count, number(votes));
      setAttr(element, 'aria-pressed', String(up));
      setAttr(element, 'aria-label', `${t('voteFor', { text: next.text })}, ${counted('votes', votes)}`);
      element.disabled = seat.room.status !== 'active' || next.state === 'answered' || next.state === 'dismissed';
    },
  };
}

/** Where one asks. @param {any} seat @param {(text: string) => void} said */
export function askView(seat, said) {
  const { room } = seat;
  const area = h('textarea', {
    rows: 1, maxlength: 1000, placeholder: t('askPlaceholder'), 'aria-label': t('askLabel'),
    oninput: () => { grow(area); update(); },
    onkeydown: (event) => { if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== 229) { event.preventDefault(); submit(); } },
  });
  const letters = h('ul', { class: 'letters', 'aria-label': t('onTheWay') });
  const drawLetters = keyed(letters, (one) => one.id, (one) => letterPart(seat, one));
  const anonymous = h('input', { type: 'checkbox' });
  const check = h('label', { class: 'check anonymous' }, anonymous, t('askAnonymously'));
  const button = h('button', { type: 'submit', class: 'round', 'aria-label': t('ask') }, icon('send'));
  const hint = h('p', { class: 'meta', hidden: true });
  const element = h('form', { class: 'composer', onsubmit: (event) => { event.preventDefault(); submit(); } },
    letters, h('div', { class: 'composer-row' }, area, button), h('div', { class: 'composer-foot' }, check, hint));

  function submit() {
    const content = area.value.trim();
    if (!content || room.status !== 'active') return;
    seat.send({ type: 'question', content, ...(room.settings.anonymous_allowed ? { anonymous: anonymous.checked } : {}) });
    area.value = '';
    grow(area);
    update();
    area.focus();
    said(content);
  }

  function update() {
    drawLetters(seat.letters.filter((one) => one.frame.type === 'question'));
    show(element, room.status === 'active' && !room.me.muted);
    show(check, Boolean(room.settings.anonymous_allowed));
    show(hint, Boolean(room.settings.questions_need_approval) && room.settings.questions_visible !== 'host');
    setText(hint, t('needsApproval'));
    button.disabled = !area.value.trim();
  }
  return { element, update };
}

/** A question that is not there yet. @param {any} seat @param {import('./outbox.js').Letter} first */
function letterPart(seat, first) {
  const text = h('p', { class: 'text' }, first.frame.content);
  const state = h('p', { class: 'meta' });
  const tools = h('div', { class: 'again' }, h('button', { type: 'button', class: 'button small', onclick: () => seat.again(first.id) }, t('again')),
    h('button', { type: 'button', class: 'button small', onclick: () => seat.discard(first.id) }, t('discard')));
  return {
    element: h('li', {}, text, state, tools),
    /** @param {import('./outbox.js').Letter} one */
    update(one) {
      setText(state, letterState(seat, one));
      show(tools, one.state === 'failed');
    },
  };
}

/** Where something written is on its way. @param {any} seat @param {import('./outbox.js').Letter} one */
export function letterState(seat, one) {
  if (one.state === 'failed') return t('failed', { why: explain({ message: one.problem }) });
  const wait = Math.ceil((one.after - Date.now()) / 1000);
  return wait > 0 ? t('slow', { s: wait }) : t(seat.ready ? 'sending' : 'waiting');
}

/** As high as its text, up to a few lines. @param {HTMLTextAreaElement} area */
export function grow(area) {
  area.style.height = 'auto';
  area.style.height = `${Math.min(area.scrollHeight + 2, 140)}px`;
}
