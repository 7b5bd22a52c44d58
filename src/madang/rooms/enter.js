/** `/r/`: type a code, or go back to a room one was in. */
import { fill, h } from './dom.js';
import { addWords, t } from './i18n.js';
import { keptRooms } from './keep.js';
import { alone } from './parts.js';
import { joinAddress } from './rest.js';

addWords({
  enterTitle: ['Join a room', '방에 들어가기'],
  enterText: ['Type the code you see on the screen.', '화면에 보이는 코드를 입력해 주세요.'],
  enter: ['Go to the room', '방으로 가기'],
  badCode: ['A code has six letters and digits.', '코드는 영문과 숫자 여섯 자예요.'],
  yourRooms: ['Your rooms', '내가 있던 방'],
  roomUntitled: ['Room {code}', '{code} 방'],
  asHost: ['host', '진행'],
  newRoom: ['Open a room of your own', '새 방 열기'],
  code: ['Room code', '방 코드'],
});

const LENGTH = 6;
const root = /** @type {HTMLElement} */ (document.getElementById('root'));

/** What is typed, read as people copy codes: any case, with spaces or a dash. @param {string} typed */
const codeOf = (typed) => typed.toUpperCase().replace(/[^A-Z0-9]/g, '');

function draw() {
  document.title = `${t('enterTitle')} · Madang`;
  const problem = h('p', { class: 'problem', role: 'alert' });
  const input = h('input', {
    class: 'code-input', name: 'code', maxlength: 12, required: true, autocomplete: 'off', autocapitalize: 'characters', autocorrect: 'off',
    spellcheck: 'false', inputmode: 'text', enterkeyhint: 'go', placeholder: '······', 'aria-label': t('code'), value: new URLSearchParams(location.search).get('code') || '',
  });
  const form = h('form', {
    novalidate: true,
    onsubmit: (event) => {
      event.preventDefault();
      const code = codeOf(input.value);
      if (code.length === LENGTH) location.assign(joinAddress(code));
      else {
        fill(problem, t('badCode'));
        input.focus();
      }
    },
  }, input, problem, h('button', { type: 'submit', class: 'button primary wide' }, t('enter')));
  const kept = keptRooms();
  const rooms = kept.length > 0 && h('nav', { class: 'rooms-list', 'aria-labelledby': 'rooms-title' }, h('h2', { id: 'rooms-title' }, t('yourRooms')),
    h('ul', {}, kept.slice(0, 6).map((room) => h('li', {}, h('a', { href: joinAddress(room.host_token ? `${room.code}/host` : room.code) },
      h('span', { class: 'title name' }, room.title || t('roomUntitled', { code: room.code })), room.host_token && h('span', { class: 'tag act' }, t('asHost')), h('span', { class: 'mono' }, room.code))))));
  alone(root, draw, h('h1', {}, t('enterTitle')), h('p', { class: 'lead' }, t('enterText')), form, rooms,
    h('p', { class: 'actions' }, h('a', { class: 'link', href: joinAddress('new') }, t('newRoom'))));
  input.focus();
}

draw();
