/** Parts that several pages use: the top of a lone page, the line's state, notes that go by, poll results. */
import { fill, h, icon, keyed, setAttr, setText, show } from './dom.js';
import { counted, currentLanguage, number, setLanguage, t } from './i18n.js';
import { joinAddress } from './rest.js';

const NOTE_MS = 5000;
/** Words of a cloud that are shown: more cannot be read. */
const MOST_WORDS = 40;

/** Draw a page anew, keeping what is being written in it. @param {HTMLElement} root @param {() => void} redraw */
function keepingDrafts(root, redraw) {
  const fields = () => /** @type {HTMLTextAreaElement[]} */ ([...root.querySelectorAll('textarea, input[type=text], input[name]')]);
  const drafts = fields().map((field) => field.value);
  redraw();
  fields().forEach((field, n) => {
    if (!drafts[n] || field.value === drafts[n]) return;
    field.value = drafts[n];
    field.dispatchEvent(new Event('input'));
  });
}

/** The switch between the two languages. @param {() => void} redraw */
export function languageSwitch(redraw) {
  const other = currentLanguage() === 'ko' ? 'en' : 'ko';
  return h('button', {
    type: 'button', class: 'button quiet language', lang: other, 'aria-label': t('languageLabel'),
    onclick: () => {
      setLanguage(other);
      keepingDrafts(document.body, redraw);
      const again = document.querySelector('.language');
      if (again instanceof HTMLElement) again.focus();
    },
  }, t('language'));
}

/** A page with one thing on it. @param {HTMLElement} root @param {() => void} redraw @param {...any} content */
export function alone(root, redraw, ...content) {
  fill(root, h('div', { class: 'alone' },
    h('header', {}, h('a', { class: 'brand', href: joinAddress() }, h('img', { src: new URL('mark.svg', import.meta.url).href, alt: '' }), 'Madang'), h('span', { class: 'spring' }), languageSwitch(redraw)),
    h('main', {}, ...content)));
}

/** @param {any} name of an icon @param {string} title @param {string} text */
export const empty = (name, title, text) => h('div', { class: 'empty' }, icon(name), h('strong', {}, title), h('p', { class: 'empty-hint' }, text));

/** A text shown for a while and read out. @param {string} text */
export function note(text) {
  const place = document.getElementById('notes');
  if (!place) return;
  const toast = h('p', { class: 'toast' }, text);
  place.append(toast);
  setTimeout(() => toast.remove(), NOTE_MS);
}

/** Read out, and not shown: what a glance would tell. @param {string} text */
export function announce(text) {
  const place = document.getElementById('announcements');
  if (place) place.append(h('p', {}, text));
  while (place && place.childElementCount > 3) place.firstElementChild.remove();
}

/** @type {[RegExp, string][]} the contract's texts, and what they are in the page's language */
const MEANINGS = [
  [/content cannot be empty/, 'errorEmpty'], [/is limited to/, 'errorLong'], [/blocked word/, 'errorWords'], [/^Nickname/, 'errorNickname'],
  [/has ended/, 'ended'], [/is paused/, 'paused'], [/are muted/, 'muted'], [/^Chat is off/, 'chatOff'], [/is full|^Too many participants/, 'full'],
  [/counted already/, 'errorCounted'], [/(Poll|Question) is closed/, 'errorClosed'], [/^Slow mode/, 'errorRate'], [/^Options must/, 'errorOptions'],
];

/** What a refusal means, in the page's language. @param {{code?: string, message?: string, status?: number}} error */
export function explain({ code = '', message = '', status }) {
  if (status === 0) return t('noAnswer');
  const found = MEANINGS.find(([pattern]) => pattern.test(message));
  if (found) return t(found[1]);
  if (code === 'TOO_LARGE') return t('errorLong');
  if (code === 'RATE_LIMIT') return t('errorRate');
  if (code === 'FORBIDDEN' || code === 'NOT_FOUND') return t('errorNotAllowed');
  return t('error', { text: message || code });
}

/** The line where it is not well: what happened and when it is tried again.
 * @param {() => void} retry */
export function lineView(retry) {
  const text = h('p', {});
  const when = h('span', { class: 'meta-when', 'aria-hidden': 'true' });
  const button = h('button', { type: 'button', class: 'button', onclick: retry }, t('retryNow'));
  const element = h('div', { class: 'line', role: 'status', hidden: true }, icon('away'), h('div', { class: 'spring' }, text, when), button);
  let timer = 0;
  let wasLost = false;
  /** @param {import('./line.js').Line} line @param {boolean} everLive @param {boolean} keeps */
  const update = (line, everLive, keeps) => {
    clearTimeout(timer);
    const lost = line.phase === 'waiting' || (line.phase === 'connecting' && everLive);
    if (lost) wasLost = true;
    if (line.phase === 'live' && wasLost) {
      wasLost = false;
      announce(t('back'));
    }
    show(element, lost);
    if (!lost) return;
    setText(text, t(keeps ? 'lostKept' : 'lost'));
    show(button, line.phase === 'waiting');
    const tick = () => {
      const left = Math.max(0, Math.ceil(((line.retryAt || 0) - Date.now()) / 1000));
      setText(when, line.phase === 'connecting' ? t('connecting') : t('retryIn', { s: left }));
      if (line.phase === 'waiting') timer = setTimeout(tick, 500);
    };
    tick();
  };
  return { element, update };
}

/** The results of a poll as bars or as a cloud of words. @param {import('./room.js').Poll} first */
export function resultsView(first) {
  const list = first.kind === 'cloud' ? h('ul', { class: 'cloud', 'aria-label': t('results') }) : h('ul', { class: 'bars', 'aria-label': t('results') });
  const none = h('p', { class: 'hint center' }, t('noWords'));
  const draw = first.kind === 'cloud' ? keyed(list, (one) => one.word, wordPart) : keyed(list, (one) => String(one.n), barPart);
  const element = h('div', { class: 'results' }, none, list);
  /** @param {import('./room.js').Poll} poll @param {(number | string)[]} mine */
  const update = (poll, mine) => {
    show(none, poll.kind === 'cloud' && !poll.words.length);
    if (poll.kind === 'cloud') {
      const words = [...poll.words].sort((a, b) => b.count - a.count || (a.word < b.word ? -1 : 1)).slice(0, MOST_WORDS);
      const most = words.length ? words[0].count : 1;
      // The most frequent in the middle: odd places before it, even ones after.
      const placed = [];
      words.forEach((one, n) => (n % 2 ? placed.unshift(one) : placed.push(one)));
      draw(placed.map((one) => ({ ...one, size: 1 + 1.6 * Math.sqrt(one.count / most) * (one.count > 1 || most === 1 ? 1 : 0.4) })));
    } else {
      const all = poll.kind === 'multiple' ? poll.voters : poll.counts.reduce((sum, count) => sum + count, 0);
      draw(poll.options.map((text, n) => ({ n, text, count: poll.counts[n] || 0, share: all ? (poll.counts[n] || 0) / all : 0, own: mine.includes(n) })));
    }
  };
  return { element, update };
}

function barPart() {
  const bar = h('span', { class: 'bar' });
  const text = h('span', { class: 'text' });
  const own = h('span', { class: 'tag act', hidden: true }, t('yourChoice'));
  const share = h('span', { class: 'share' });
  const count = h('span', { class: 'count' });
  const element = h('li', {}, bar, h('div', { class: 'row' }, h('span', { class: 'what' }, text, ' ', own), share, count));
  return {
    element,
    update(one) {
      const percent = `${Math.round(one.share * 100)}%`;
      // Through the object model: the page's policy refuses style attributes.
      bar.style.setProperty('--share', percent);
      setText(text, one.text);
      setText(share, percent);
      setText(count, number(one.count));
      show(own, one.own);
    },
  };
}

function wordPart() {
  const text = h('span', { class: 'text' });
  const count = h('span', { class: 'count' });
  const element = h('li', {}, text, count);
  return {
    element,
    update(one) {
      element.style.setProperty('--size', one.size.toFixed(2));
      setText(text, one.word);
      setText(count, number(one.count));
    },
  };
}

/** How many voted. @param {import('./room.js').Poll} poll */
export const votersText = (poll) => counted('voters', poll.voters);

const STATES = { pending: ['statePending', 'tag heed'], live: ['stateLive', 'tag act'], answered: ['stateAnswered', 'tag'], dismissed: ['stateDismissed', 'tag'] };

/** The state of a question as a small sign, where there is something to say.
 * @param {HTMLElement} element @param {string} state */
export function stateTag(element, state) {
  const found = STATES[state];
  show(element, Boolean(found));
  setText(element, found ? t(found[0]) : '');
  if (!found) return;
  setAttr(element, 'class', found[1]);
}
