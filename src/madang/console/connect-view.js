/** The form that lets a user in: a name in dev mode, a token always. */
import { fill, h } from './dom.js';
import { t } from './i18n.js';
import { readToken } from './protocol.js';

/** @param {{dev: boolean, onConnect: (credentials: import('./session.js').Credentials) => void, onCancel?: () => void}} options */
export function connectView({ dev, onConnect, onCancel }) {
  const name = h('input', { name: 'user', autocomplete: 'off', spellcheck: 'false', maxlength: '100', placeholder: 'alice' });
  const token = h('textarea', { name: 'token', rows: '3', class: 'mono', autocomplete: 'off', spellcheck: 'false', placeholder: 'eyJ…' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const cancel = onCancel ? h('button', { type: 'button', class: 'button', onclick: onCancel }, t('cancel')) : null;
  const byName = h('form', { class: 'connect-form', onsubmit: (event) => {
    event.preventDefault();
    const user = name.value.trim();
    if (user) onConnect({ devUser: user });
    else name.focus();
  } },
    h('label', { class: 'field' }, h('span', {}, t('userName')), h('span', { class: 'joined' }, name, h('button', { type: 'submit', class: 'button primary' }, t('connect'))), h('small', {}, t('userNameHint'))));
  const byToken = h('form', { class: 'connect-form', onsubmit: (event) => {
    event.preventDefault();
    const text = token.value.trim();
    if (!readToken(text)) {
      problem.textContent = t('badToken');
      token.focus();
      return;
    }
    onConnect({ token: text });
  } },
    h('label', { class: 'field' }, h('span', {}, t('token')), token, h('small', {}, t('tokenHint'))), problem,
    h('div', { class: 'sheet-buttons' }, cancel, h('button', { type: 'submit', class: dev ? 'button' : 'button primary' }, t('connectWithToken'))));
  const element = h('div', { class: 'connect' });
  fill(element, dev ? byName : null, dev ? h('p', { class: 'or' }, t('orToken')) : null, byToken);
  return { element, focus: () => (dev ? name : token).focus() };
}
