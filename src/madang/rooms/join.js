/** `/r/CODE`: choose a nickname and take part. A refresh is the same seat. */
import { fill, h } from './dom.js';
import { counted, t } from './i18n.js';
import { deviceName, forgetSeat, keepRoom, keptRoom } from './keep.js';
import { alone, explain, note } from './parts.js';
import { getSession, joinAddress, takeSeat } from './rest.js';
import { takePart } from './taking-part.js';

const RETRY_MS = 3000;
const root = /** @type {HTMLElement} */ (document.getElementById('root'));
const path = location.pathname.replace(/\/+$/, '');
const code = decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)).toUpperCase();
let draw = () => {};
let session = { title: '', online_count: 0 };

async function begin() {
  draw = () => alone(root, draw, h('p', { class: 'lead', role: 'status' }, t('loading')));
  draw();
  try {
    session = await getSession(code, (seatOf() || {}).token);
  } catch (error) {
    if (error.status === 404 && seatOf() && /^Participant/.test(error.message)) {
      forgetSeat(code);
      begin();
    } else failed(error, begin);
    return;
  }
  const seat = seatOf();
  if (seat) enter(seat);
  else askName();
}

const seatOf = () => (keptRoom(code) || {}).seat;

/** @param {import('./keep.js').Seat} seat */
function enter(seat) {
  takePart(root, code, seat, {
    onLeft: (ending) => {
      if (ending.why !== 'banned' && ending.why !== 'kicked') {
        forgetSeat(code);
        if (ending.why === 'gone') nothing('notFound', 'notFoundText');
        else nothing('seatGone', 'seatGoneText', 'joinAgain', begin);
      } else if (ending.why === 'kicked') {
        forgetSeat(code);
        nothing('kicked', 'kickedText', 'joinAgain', begin);
      } else nothing('banned', '');
    },
  });
}

function askName() {
  draw = () => {
    document.title = `${session.title} · Madang`;
    const problem = h('p', { class: 'problem', role: 'alert' });
    const input = h('input', { name: 'nickname', maxlength: 40, required: true, autocomplete: 'nickname', enterkeyhint: 'go', 'aria-describedby': 'nickname-hint' });
    const button = h('button', { type: 'submit', class: 'button primary wide' }, t('join'));
    const form = h('form', {
      novalidate: true,
      onsubmit: async (event) => {
        event.preventDefault();
        const nickname = input.value.trim();
        if (!nickname) {
          fill(problem, t('nicknameEmpty'));
          input.focus();
          return;
        }
        button.disabled = true;
        fill(button, t('joining'));
        fill(problem);
        try {
          const seat = await takeSeat(code, { nickname, device: deviceName() });
          keepRoom(code, { title: session.title, seat });
          enter(seat);
          if (seat.nickname !== nickname.normalize('NFKC')) note(t('nicknameTaken', { name: seat.nickname }));
        } catch (error) {
          if (error.status === 404) failed(error, begin);
          else {
            fill(problem, explain({ code: error.code, message: error.message, status: error.status }));
            button.disabled = false;
            fill(button, t('join'));
            input.focus();
          }
        }
      },
    }, h('label', { class: 'field' }, h('span', {}, t('nickname')), input, h('small', { id: 'nickname-hint' }, t('nicknameHint'))), problem, button);
    alone(root, draw, h('p', { class: 'meta' }, session.online_count ? counted('here', session.online_count) : code), h('h1', { class: 'text' }, session.title), form);
    input.focus();
  };
  draw();
}

/** @param {any} error @param {() => void} retry */
function failed(error, retry) {
  if (error.status === 404 || error.status === 422) {
    nothing('notFound', 'notFoundText');
    return;
  }
  if (error.status === undefined) throw error;
  const wait = error.retryAfter || RETRY_MS;
  draw = () => alone(root, draw, h('p', { class: 'lead', role: 'status' }, error.status === 0 ? t('noAnswer') : t('busy', { s: Math.ceil(wait / 1000) })),
    h('div', { class: 'actions' }, h('button', { type: 'button', class: 'button wide', onclick: again }, t('again'))));
  draw();
  const timer = setTimeout(retry, wait);
  function again() {
    clearTimeout(timer);
    retry();
  }
}

/** A page that says why there is nothing to do here. @param {string} title @param {string} text
 * @param {string} [action] @param {() => void} [act] */
function nothing(title, text, action, act) {
  draw = () => {
    document.title = `${t(title)} · Madang`;
    alone(root, draw, h('h1', { tabindex: '-1', id: 'said' }, t(title)), text && h('p', { class: 'lead' }, t(text)),
      h('div', { class: 'actions' }, action && h('button', { type: 'button', class: 'button primary wide', onclick: act }, t(action)), h('a', { class: 'button wide', href: joinAddress() }, t('otherCode'))));
    const said = document.getElementById('said');
    if (said) said.focus();
  };
  draw();
}

begin();
