/** `/r/CODE/host`: run the room. The host's token lies in this browser's storage and comes from the
 * page that opened the room, or is pasted here; it stands in no address. */
import { fill, h } from './dom.js';
import { hostView } from './host-view.js';
import { t } from './i18n.js';
import { keepRoom, keptRoom } from './keep.js';
import { alone, explain } from './parts.js';
import { getSession, joinAddress, takeSeat } from './rest.js';
import './words-host.js';

const RETRY_MS = 3000;
const root = /** @type {HTMLElement} */ (document.getElementById('root'));
const [, code] = /\/([^/]+)\/host\/?$/.exec(decodeURIComponent(location.pathname).toUpperCase().replace(/\/HOST\/?$/, '/host')) || ['', ''];
let draw = () => {};

/** @param {string} [wrong] what is wrong with the key that was tried */
function askKey(wrong) {
  draw = () => {
    document.title = `${t('keyTitle')} · Madang`;
    const problem = h('p', { class: 'problem', role: 'alert' }, wrong ? t(wrong) : '');
    const key = h('input', { type: 'password', name: 'key', required: true, autocomplete: 'off' });
    alone(root, draw, h('h1', {}, code), h('p', { class: 'lead' }, t('keyText')),
      h('form', {
        novalidate: true,
        onsubmit: (event) => { event.preventDefault(); if (key.value.trim()) begin(key.value.trim()); else key.focus(); },
      }, h('label', { class: 'field' }, h('span', {}, t('keyTitle')), key), problem, h('button', { type: 'submit', class: 'button primary wide' }, t('goOn'))),
      h('p', { class: 'actions' }, h('a', { class: 'link', href: joinAddress(code) }, t('justTakePart'))));
    key.focus();
  };
  draw();
}

/** @param {string} token the host's */
async function begin(token) {
  draw = () => alone(root, draw, h('p', { class: 'lead', role: 'status' }, t('loading')));
  draw();
  try {
    const session = await getSession(code, token);
    const seat = await takeSeat(code, { nickname: t('host') }, token);
    if (seat.role && seat.role !== 'host') throw Object.assign(new Error('not the host'), { status: 403 });
    keepRoom(code, { title: session.title, host_token: token });
    hostView(root, code, { participant_id: seat.participant_id, token, nickname: seat.nickname }, { onLeft: () => askKey('keyWrong') });
  } catch (error) {
    if (error.status === undefined) throw error;
    if (error.status === 401 || error.status === 403 || error.status === 404) askKey('keyWrong');
    else {
      draw = () => alone(root, draw, h('p', { class: 'lead', role: 'status' }, explain(error)));
      draw();
      setTimeout(() => begin(token), error.retryAfter || RETRY_MS);
    }
  }
}

const kept = keptRoom(code);
if (kept && kept.host_token) begin(kept.host_token);
else askKey();
