/** The room for who takes part: what is live on top, then questions, chat and polls; beside each
 * other where there is room, one at a time on a phone. */
import { chatView } from './chat-view.js';
import { fill, h, icon, oncePerFrame, setAttr, setText, show } from './dom.js';
import { counted, number, t } from './i18n.js';
import { keepRoom } from './keep.js';
import { announce, explain, languageSwitch, lineView, note } from './parts.js';
import { pollsView } from './polls-view.js';
import { askView, liveView, questionsView } from './questions-view.js';
import { liveQuestion, onlineCount, openPoll } from './room.js';
import { createSeat } from './seat.js';

const SECTIONS = ['questions', 'chat', 'polls'];
/** From here on questions and chat stand beside each other. */
const WIDE = matchMedia('(min-width: 900px)');

/** @param {HTMLElement} root @param {string} code @param {import('./keep.js').Seat} place
 * @param {{onLeft: (ending: import('./seat.js').Ending) => void}} listeners */
export function takePart(root, code, place, { onLeft }) {
  let section = 'questions';
  let front = '';
  const unread = { questions: 0, chat: 0, polls: 0 };
  let view = { update() {} };
  let announced = '';
  const update = oncePerFrame(() => view.update());
  const seat = createSeat(code, place, {}, {
    onChange: update,
    onEnd: (ending) => { seat.end(); view = { update() {} }; onLeft(ending); },
    onProblem: (error, letter) => { if (!letter.frame.type || letter.frame.type !== 'chat_message') note(explain(error)); },
    onEvent: (frame) => {
      const about = { chat_message: 'chat', question: 'questions', poll_open: 'polls' }[frame.type];
      if (about && !visible(about) && frame.participant_id !== room.me.id) unread[about] += 1;
      if (frame.type === 'poll_open') announce(t('announcePoll', { text: frame.question }));
      if (frame.type === 'participant_update' && frame.participant_id === room.me.id && frame.participant_nickname) {
        place = { ...place, nickname: frame.participant_nickname };
        keepRoom(code, { seat: place });
      }
    },
  });
  const { room } = seat;

  /** @param {string} name */
  const visible = (name) => (WIDE.matches ? name !== 'polls' || section === 'polls' || Boolean(openPoll(room)) : section === name);

  function build() {
    const line = lineView(() => seat.connect());
    const title = h('h1', { class: 'name' });
    const people = h('span', { class: 'people' });
    const meName = h('span', { class: 'name' });
    const meButton = h('button', { type: 'button', class: 'me', 'aria-expanded': 'false', 'aria-controls': 'me', onclick: () => open(me.hidden) }, meName, icon('pencil'));
    const nickname = h('input', { name: 'nickname', maxlength: 40, autocomplete: 'nickname', 'aria-label': t('nickname') });
    const me = h('form', {
      id: 'me', class: 'me-form', hidden: true,
      onsubmit: (event) => {
        event.preventDefault();
        const wanted = nickname.value.trim();
        if (wanted && wanted !== room.me.name) seat.send({ type: 'participant_update', nickname: wanted });
        open(false);
        meButton.focus();
      },
      onkeydown: (event) => { if (event.key === 'Escape') { open(false); meButton.focus(); } },
    }, nickname, h('button', { type: 'submit', class: 'button primary' }, t('save')));
    /** @param {boolean} shown */
    function open(shown) {
      show(me, shown);
      setAttr(meButton, 'aria-expanded', String(shown));
      nickname.value = room.me.name;
      if (shown) nickname.select();
    }

    const live = liveView(seat);
    const pollText = h('strong', { class: 'text' });
    const pollCard = h('div', { class: 'poll-card', hidden: true }, icon('poll'), h('div', { class: 'spring' }, h('span', { class: 'meta' }, t('pollOpen')), pollText),
      h('button', { type: 'button', class: 'button primary', onclick: () => go('polls', true) }, t('takePart')));
    const status = h('p', { class: 'notice', role: 'status', hidden: true });

    const questions = questionsView(seat, {
      // The one being answered stands above all.
      select: (question) => question.state !== 'live',
      emptyText: () => (liveQuestion(room) ? null : room.settings.questions_visible === 'host' ? [t('onlyHost'), t('onlyHostText')] : [t('noQuestions'), t('noQuestionsText')]),
    });
    const ask = askView(seat, () => {});
    const chat = chatView(seat);
    const polls = pollsView(seat);
    const parts = {
      questions: h('section', { class: 'section questions-section', 'aria-label': t('questions') }, h('div', { class: 'scroller', tabindex: '0', role: 'group', 'aria-label': t('questions') }, questions.sortBar, questions.element), ask.element),
      chat: h('section', { class: 'section chat-section', 'aria-label': t('chat') }, chat.element),
      polls: h('section', { class: 'section polls-section', 'aria-label': t('polls') }, h('div', { class: 'scroller', tabindex: '0', role: 'group', 'aria-label': t('polls') }, polls.element)),
    };
    const badges = {};
    const buttons = SECTIONS.map((name) => {
      badges[name] = h('span', { class: 'badge', hidden: true });
      return h('button', { type: 'button', 'data-section': name, onclick: () => go(name) }, icon(name === 'questions' ? 'question' : name === 'polls' ? 'poll' : 'chat'), h('span', {}, t(name)), badges[name]);
    });
    const stage = h('div', { class: 'stage' }, live.element, pollCard, status);
    fill(root, h('div', { class: 'room' },
      h('header', { class: 'top' }, h('div', { class: 'titles' }, title, h('p', { class: 'meta' }, h('span', { class: 'mono' }, code), people)), meButton, languageSwitch(() => { build(); view.update(); })),
      me, line.element,
      h('main', {}, stage, parts.questions, parts.chat, parts.polls, h('nav', { class: 'tabs', 'aria-label': t('sections') }, buttons))));

    /** @param {string} name @param {boolean} [focus] */
    function go(name, focus) {
      section = name;
      unread[name] = 0;
      view.update();
      if (name === 'chat') chat.toEnd();
      if (focus) parts[name].querySelector('.scroller').focus();
    }

    view = {
      update() {
        const wide = WIDE.matches;
        // Wide, chat always stands on the right; the left shows questions or polls.
        if (wide && section === 'chat') section = 'questions';
        document.title = `${room.title || code} · Madang`;
        setText(title, room.title || code);
        setText(people, counted('here', onlineCount(room)));
        setText(meName, room.me.name);
        setAttr(meButton, 'aria-label', `${t('youAre', { name: room.me.name })}. ${t('rename')}`);
        line.update(seat.line, seat.loaded, true);
        for (const name of SECTIONS) {
          const shown = wide ? name === 'chat' || name === section : name === section;
          show(parts[name], shown);
          if (shown) unread[name] = 0;
          show(badges[name], unread[name] > 0);
          setText(badges[name], unread[name] > 99 ? '99+' : number(unread[name]));
        }
        buttons.forEach((button, n) => {
          setAttr(button, 'aria-current', SECTIONS[n] === section ? 'true' : false);
          show(button, !(wide && SECTIONS[n] === 'chat'));
        });
        const question = liveQuestion(room);
        live.update(question);
        const told = question ? question.id : '';
        if (told !== announced) {
          if (question) announce(t('announceLive', { text: question.text }));
          announced = told;
        }
        const poll = openPoll(room);
        show(pollCard, Boolean(poll) && section !== 'polls' && room.status === 'active' && !seat.answer(poll).length);
        if (poll) setText(pollText, poll.question);
        show(status, seat.loaded && room.status !== 'active');
        if (room.status !== 'active') setText(status, t(room.status));
        ask.update();
        if (!parts.questions.hidden) questions.update();
        if (!parts.chat.hidden) chat.update();
        if (!parts.polls.hidden) polls.update();
        if (front !== section) {
          front = section;
          if (section === 'chat') chat.toEnd();
        }
        setAttr(root, 'data-ready', seat.ready ? 'true' : 'false');
      },
    };
  }

  build();
  view.update();
  if (WIDE.addEventListener) WIDE.addEventListener('change', update);
  seat.connect();
  return seat;
}
