/** `/r/new`: open a room. The token of whoever opens it is used once and not kept; what is kept in
 * this browser is the room's own host token. */
import { fill, h } from './dom.js';
import { currentLanguage, t } from './i18n.js';
import { keepRoom } from './keep.js';
import { alone, explain } from './parts.js';
import { devToken, getConfig, joinAddress, openRoom } from './rest.js';
import './words-host.js';

const root = /** @type {HTMLElement} */ (document.getElementById('root'));
let dev = false;

function draw() {
  document.title = `${t('newTitle')} · Madang`;
  const problem = h('p', { class: 'problem', role: 'alert' });
  const title = h('input', { name: 'title', maxlength: 200, required: true, placeholder: t('titlePlaceholder'), autocomplete: 'off' });
  const who = dev
    ? h('input', { name: 'name', maxlength: 100, required: true, autocomplete: 'username', value: 'host' })
    : h('input', { name: 'token', type: 'password', required: true, autocomplete: 'off' });
  const language = h('select', { name: 'language' }, h('option', { value: 'ko' }, '한국어'), h('option', { value: 'en' }, 'English'));
  language.value = currentLanguage();
  const button = h('button', { type: 'submit', class: 'button primary wide' }, t('open'));
  const form = h('form', { novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
    h('label', { class: 'field' }, h('span', {}, t('title')), title),
    h('label', { class: 'field' }, h('span', {}, t('roomLanguage')), language),
    h('label', { class: 'field' }, h('span', {}, t(dev ? 'yourName' : 'token')), who, h('small', {}, t(dev ? 'yourNameHint' : 'tokenHint'))),
    problem, button);
  alone(root, draw, h('h1', {}, t('newTitle')), h('p', { class: 'lead' }, t('newText')), form);
  title.focus();

  async function submit() {
    if (!title.value.trim() || !who.value.trim()) {
      const first = title.value.trim() ? who : title;
      fill(problem, first === title ? t('titleEmpty') : t('badToken'));
      first.focus();
      return;
    }
    button.disabled = true;
    fill(button, t('opening'));
    fill(problem);
    try {
      const token = dev ? (await devToken(who.value.trim())).token : who.value.trim();
      const room = await openRoom({ title: title.value.trim(), language: language.value }, token);
      keepRoom(room.session_code, { title: title.value.trim(), host_token: room.host_token });
      location.assign(joinAddress(`${room.session_code}/host`));
    } catch (error) {
      fill(problem, error.status === 401 ? t('badToken') : explain(error));
      button.disabled = false;
      fill(button, t('open'));
    }
  }
}

getConfig().then((config) => { dev = config.dev; }).catch(() => {}).then(draw);
