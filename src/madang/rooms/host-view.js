/** The host's page: questions on the left, chat, polls, people and settings beside them; on a phone
 * one at a time. */
import { chatView } from './chat-view.js';
import { fill, h, icon, oncePerFrame, setAttr, setText, show } from './dom.js';
import { hostPeople } from './host-people.js';
import { hostPolls } from './host-polls.js';
import { hostQuestions } from './host-questions.js';
import { hostSettings } from './host-settings.js';
import { moderation, moreButton, sureButton } from './host-tools.js';
import { counted, number, t } from './i18n.js';
import { explain, languageSwitch, lineView, note } from './parts.js';
import { changeSession, getFile, joinAddress } from './rest.js';
import { onlineCount } from './room.js';
import { createSeat } from './seat.js';

const SECTIONS = ['questions', 'chat', 'polls', 'people', 'settings'];
const ICON_OF = { questions: 'question', chat: 'chat', polls: 'poll', people: 'people', settings: 'gear' };
const WIDE = matchMedia('(min-width: 900px)');

/** @param {HTMLElement} root @param {string} code @param {import('./keep.js').Seat} place its token is the host's
 * @param {{onLeft: () => void}} listeners */
export function hostView(root, code, place, { onLeft }) {
  let section = 'questions';
  /** What stands beside the questions where there is room. */
  let beside = 'chat';
  const unread = { questions: 0, chat: 0, polls: 0, people: 0, settings: 0 };
  let view = { update() {} };
  const update = oncePerFrame(() => view.update());
  const shown = (name) => (WIDE.matches ? name === 'questions' || name === beside : name === section);
  const seat = createSeat(code, place, { host: true, keeps: false }, {
    onChange: update,
    onEnd: () => { seat.end(); view = { update() {} }; onLeft(); },
    onProblem: (error, letter) => { if (letter.frame.type !== 'chat_message') note(explain(error)); },
    onEvent: (frame) => {
      const about = { chat_message: 'chat', question: 'questions' }[frame.type];
      if (about && !shown(about) && frame.participant_id !== seat.room.me.id) unread[about] += 1;
    },
  });
  const { room } = seat;

  /** @param {string} status */
  async function setStatus(status) {
    try {
      await changeSession(code, { status }, place.token);
    } catch (error) {
      note(explain(error));
    }
  }

  /** @param {string} kind */
  async function download(kind) {
    try {
      const blob = await getFile(code, `/export.${kind}`, place.token);
      const address = URL.createObjectURL(blob);
      h('a', { href: address, download: `${code}.${kind}` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    } catch (error) {
      note(explain(error));
    }
  }

  function build() {
    const line = lineView(() => seat.connect());
    const title = h('h1', { class: 'name' });
    const status = h('span', { class: 'tag' });
    const people = h('span', { class: 'people' });
    const pause = h('button', { type: 'button', class: 'button', onclick: () => setStatus(room.status === 'paused' ? 'active' : 'paused') });
    const end = sureButton(t('end'), t('endSure'), () => setStatus('ended'), 'button danger');
    const rest = h('div', { class: 'host-more', id: 'host-more', hidden: true },
      ['csv', 'json'].map((kind) => h('button', { type: 'button', class: 'button', onclick: () => download(kind) }, icon('down'), t(kind === 'csv' ? 'exportCsv' : 'exportJson'))), pause, end,
      languageSwitch(() => { build(); view.update(); }));
    const more = moreButton(() => t('more'), rest);
    more.name();

    const questions = hostQuestions(seat);
    const chat = chatView(seat, { tools: (message) => messageTools(seat, message) });
    const views = { questions, chat, polls: hostPolls(seat), people: hostPeople(seat), settings: hostSettings(seat, code, place.token) };
    const parts = {};
    const badges = {};
    const buttons = SECTIONS.map((name) => {
      parts[name] = h('section', { class: `section ${name}-section`, 'aria-label': t(name) }, views[name].element);
      badges[name] = h('span', { class: 'badge', hidden: true });
      return h('button', { type: 'button', 'data-section': name, onclick: () => go(name) }, icon(ICON_OF[name]), h('span', {}, t(name)), badges[name]);
    });
    fill(root, h('div', { class: 'room hosting' },
      h('header', { class: 'top' },
        h('div', { class: 'titles' }, title, h('p', { class: 'meta' }, status, people)),
        h('p', { class: 'code-plate', 'aria-label': `${t('code')} ${[...code].join(' ')}` }, code),
        h('a', { class: 'button screen-link', href: joinAddress(`${code}/screen`), target: '_blank', rel: 'noopener', 'aria-label': t('screen') }, icon('screen'), h('span', {}, t('screen'))),
        more.element),
      rest, line.element,
      h('main', {}, SECTIONS.map((name) => parts[name]), h('nav', { class: 'tabs', 'aria-label': t('sections') }, buttons))));

    /** @param {string} name */
    function go(name) {
      section = name;
      if (name !== 'questions') beside = name;
      view.update();
      if (name === 'chat') chat.toEnd();
    }

    view = {
      update() {
        document.title = `${room.title || code} · ${t('hostTitle')} · Madang`;
        setText(title, room.title || code);
        setText(status, t(`status_${room.status}`));
        setAttr(status, 'class', room.status === 'active' ? 'tag act' : 'tag heed');
        setText(people, counted('here', onlineCount(room)));
        if (pause.textContent !== t(room.status === 'paused' ? 'resume' : 'pause')) fill(pause, icon(room.status === 'paused' ? 'play' : 'pause'), t(room.status === 'paused' ? 'resume' : 'pause'));
        show(pause, room.status !== 'ended');
        show(end, room.status !== 'ended');
        line.update(seat.line, seat.loaded, false);
        const wide = WIDE.matches;
        for (const name of SECTIONS) {
          const visible = shown(name);
          show(parts[name], visible);
          if (visible) {
            unread[name] = 0;
            views[name].update();
          }
          show(badges[name], unread[name] > 0);
          setText(badges[name], unread[name] > 99 ? '99+' : number(unread[name]));
        }
        buttons.forEach((button, n) => {
          setAttr(button, 'aria-current', (wide ? beside : section) === SECTIONS[n] ? 'true' : false);
          show(button, !(wide && SECTIONS[n] === 'questions'));
        });
        setAttr(root, 'data-ready', seat.ready ? 'true' : 'false');
      },
    };
  }

  build();
  view.update();
  if (WIDE.addEventListener) WIDE.addEventListener('change', update);
  seat.connect();
}

/** @param {any} seat @param {any} message */
function messageTools(seat, message) {
  const more = moderation(seat, message, () => button.close());
  const button = moreButton(() => t('toolsFor', { text: message.text }), more.element);
  return { element: h('div', { class: 'message-tools' }, button.element, more.element), update() { button.name(); more.update(); } };
}
