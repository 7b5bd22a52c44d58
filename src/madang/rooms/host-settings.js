/** The room's settings: each holds as soon as it is changed. */
import { explain, note } from './parts.js';
import { copyText, h, icon } from './dom.js';
import { t } from './i18n.js';
import { changeSession, joinAddress } from './rest.js';

const SLOW_SECONDS = [0, 5, 10, 30, 60, 300];
const KEEP_DAYS = [null, 90, 30, 7, 1, 0];

/** @param {any} seat @param {string} code @param {string} token the host's */
export function hostSettings(seat, code, token) {
  const { room } = seat;
  /** @type {(() => void)[]} */
  const follow = [];
  /** What is being written in is not overwritten. @param {HTMLElement} input */
  const free = (input) => document.activeElement !== input;

  async function save(change) {
    try {
      await changeSession(code, { settings: change }, token);
      note(t('saved'));
    } catch (error) {
      note(explain(error));
      update();
    }
  }
  /** @param {string} name @param {string} label */
  function check(name, label) {
    const input = h('input', { type: 'checkbox', name, onchange: () => save({ [name]: input.checked }) });
    follow.push(() => { input.checked = Boolean(room.settings[name]); input.disabled = room.status === 'ended'; });
    return h('label', { class: 'check' }, input, t(label));
  }
  /** @param {string} name @param {string} label @param {[value: any, text: string][]} choices */
  function choose(name, label, choices) {
    const texts = choices.map(([value]) => JSON.stringify(value));
    const select = h('select', { name, onchange: () => save({ [name]: JSON.parse(select.value) }) }, choices.map(([, text], n) => h('option', { value: texts[n] }, text)));
    follow.push(() => {
      const now = JSON.stringify(name in room.settings ? room.settings[name] : choices[0][0]);
      if (!texts.includes(now)) {
        texts.push(now);
        select.append(h('option', { value: now }, now));
      }
      select.value = now;
      select.disabled = room.status === 'ended';
    });
    return h('label', { class: 'field' }, h('span', {}, t(label)), select);
  }
  const words = h('textarea', { rows: 4, name: 'blocked_words', onchange: () => save({ blocked_words: words.value.split('\n').map((word) => word.trim()).filter(Boolean) }) });
  follow.push(() => { if (free(words)) words.value = (room.settings.blocked_words || []).join('\n'); words.disabled = room.status === 'ended'; });

  const element = h('div', { class: 'scroller', tabindex: '0', role: 'group', 'aria-label': t('settings') }, h('form', { class: 'pad settings', onsubmit: (event) => event.preventDefault() },
    h('fieldset', {}, h('legend', {}, t('questions')), choose('questions_visible', 'setVisible', [['all', t('visible_all')], ['host', t('visible_host')]]),
      check('questions_need_approval', 'setApproval'), check('anonymous_allowed', 'setAnonymous'), check('anonymous_to_host', 'setAnonymousHost'),
      choose('one_vote_per', 'setVotes', ['seat', 'device', 'address'].map((one) => [one, t(`per_${one}`)]))),
    h('fieldset', {}, h('legend', {}, t('chat')), check('chat_enabled', 'setChat'),
      choose('slow_mode_seconds', 'setSlow', SLOW_SECONDS.map((n) => [n, n ? t('slowSeconds', { n }) : t('slowOff')])),
      h('label', { class: 'field' }, h('span', {}, t('setWords')), words, h('small', {}, t('setWordsHint')))),
    h('fieldset', {}, h('legend', {}, t('hostTitle')), choose('keep_days', 'setKeep', KEEP_DAYS.map((n) => [n, n === null ? t('keepForever') : n ? t('keepDays', { n }) : t('keepNone')])),
      h('button', { type: 'button', class: 'button wide', onclick: () => { copyText(joinAddress(code)); note(t('linkCopied')); } }, icon('copy'), t('copyLink')),
      h('button', { type: 'button', class: 'button wide', onclick: () => { copyText(token); note(t('keyCopied')); } }, icon('copy'), t('copyKey')))));

  function update() {
    for (const one of follow) one();
  }
  return { element, update };
}
