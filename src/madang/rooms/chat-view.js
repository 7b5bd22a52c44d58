/** The chat: what was said, what is on its way, and where one writes. */
import { empty } from './parts.js';
import { fill, h, icon, keyed, setAttr, setText, show } from './dom.js';
import { clockTime, counted, t } from './i18n.js';
import { typists } from './room.js';
import { grow, letterState } from './questions-view.js';

/** Within so many pixels of the end one reads along, and new messages keep it there. */
const AT_END = 60;

/** @param {any} seat @param {{tools?: (message: any) => import('./dom.js').Part<any>}} [options] */
export function chatView(seat, options = {}) {
  const { room } = seat;
  let atEnd = true;
  let unread = 0;
  let last = '';
  let tick = 0;

  const list = h('ol', { class: 'messages' });
  const log = h('div', { role: 'log', 'aria-label': t('chat') }, list);
  const nothing = h('div', {});
  const newest = h('button', { type: 'button', class: 'button newest', hidden: true, onclick: toEnd });
  const scroller = h('div', { class: 'scroller', tabindex: '0', role: 'group', 'aria-label': t('chat') }, nothing, log);
  const typing = h('p', { class: 'typing meta', 'aria-hidden': 'true' });
  const draw = keyed(list, (one) => one.id, (one) => messagePart(seat, one, options.tools));
  scroller.addEventListener('scroll', () => {
    atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END;
    if (atEnd) unread = 0;
    show(newest, unread > 0);
  }, { passive: true });
  addEventListener('resize', () => { if (atEnd) toEnd(); });

  const area = h('textarea', {
    rows: 1, maxlength: 2000, placeholder: t('writePlaceholder'), 'aria-label': t('write'),
    oninput: () => { grow(area); seat.typing(Boolean(area.value.trim())); update(); },
    onkeydown: (event) => { if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== 229) { event.preventDefault(); submit(); } },
  });
  const button = h('button', { type: 'submit', class: 'round', 'aria-label': t('send') }, icon('send'));
  const slow = h('p', { class: 'meta slow', hidden: true });
  const form = h('form', { class: 'composer', onsubmit: (event) => { event.preventDefault(); submit(); } }, h('div', { class: 'composer-row' }, area, button), slow);
  const closed = h('p', { class: 'closed', hidden: true });
  const element = h('div', { class: 'chat-part' }, scroller, newest, typing, form, closed);

  function submit() {
    const content = area.value.trim();
    if (!content || button.disabled) return;
    seat.send({ type: 'chat_message', content });
    seat.typing(false);
    area.value = '';
    grow(area);
    atEnd = true;
    update();
    area.focus();
  }

  function toEnd() {
    scroller.scrollTop = scroller.scrollHeight;
    unread = 0;
    show(newest, false);
  }

  /** Seconds until one may write again. */
  function slowLeft() {
    const slowSeconds = room.me.host ? 0 : room.settings.slow_mode_seconds || 0;
    const waiting = seat.letters.filter((one) => one.frame.type === 'chat_message' && one.after > Date.now()).map((one) => one.after);
    const until = Math.max(slowSeconds && room.lastChat ? room.lastChat + slowSeconds * 1000 : 0, ...waiting);
    return Math.max(0, Math.ceil((until - Date.now()) / 1000));
  }

  function update() {
    const letters = seat.letters.filter((one) => one.frame.type === 'chat_message')
      .map((one) => ({ id: one.id, by: room.me.id, name: room.me.name, text: one.frame.content, at: one.at, letter: one }));
    const all = [...room.messages, ...letters];
    draw(all);
    const newestId = room.messages.length ? room.messages[room.messages.length - 1].id : '';
    if (newestId !== last) {
      if (last && !atEnd) unread += 1;
      last = newestId;
    }
    setText(newest, counted('unread', unread));
    show(newest, unread > 0 && !atEnd);
    if (!all.length && seat.loaded) {
      if (!nothing.firstChild) fill(nothing, empty('chat', t('noMessages'), t('noMessagesText')));
    } else if (nothing.firstChild) fill(nothing);
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;

    const names = typists(room);
    setText(typing, !names.length ? '' : names.length > 2 ? t('typingCrowd') : t(names.length === 1 ? 'typingOne' : 'typingMany', { names: names.join(', ') }));

    const why = room.status !== 'active' ? room.status : room.me.muted ? 'muted' : room.settings.chat_enabled === false && !room.me.host ? 'chatOff' : '';
    show(form, !why);
    show(closed, Boolean(why));
    if (why) setText(closed, t(why));
    const left = slowLeft();
    clearTimeout(tick);
    if (left || names.length) tick = setTimeout(update, 500);
    button.disabled = left > 0 || !area.value.trim();
    if (left) setText(button, left);
    else if (!button.firstElementChild) fill(button, icon('send'));
    show(slow, left > 0);
    setText(slow, left ? t('slow', { s: left }) : '');
  }

  return { element, update, toEnd, focus: () => area.focus() };
}

/** @param {any} seat @param {any} first @param {((message: any) => import('./dom.js').Part<any>) | undefined} makeTools */
function messagePart(seat, first, makeTools) {
  const { room } = seat;
  const own = first.by === room.me.id;
  const text = h('p', { class: 'text' });
  const name = h('span', { class: 'name' });
  const time = h('time', {});
  const state = h('span', { class: 'state' });
  const again = h('button', { type: 'button', class: 'button small', hidden: true, onclick: () => seat.again(first.id) }, t('again'));
  const discard = h('button', { type: 'button', class: 'button small', hidden: true, onclick: () => seat.discard(first.id) }, t('discard'));
  const tools = makeTools && !first.letter ? makeTools(first) : null;
  const element = h('li', { class: own ? 'message own' : 'message' },
    h('div', { class: 'meta' }, name, time, state), h('div', { class: 'bubble-row' }, h('div', { class: 'bubble' }, text), tools && tools.element), h('div', { class: 'again' }, again, discard));
  return {
    element,
    update(message) {
      const { letter } = message;
      setText(name, own ? t('you') : message.name);
      setText(text, message.text);
      setText(time, clockTime(message.at));
      setAttr(element, 'data-state', letter ? letter.state : false);
      setText(state, letter ? letterState(seat, letter) : '');
      const failed = Boolean(letter) && letter.state === 'failed';
      show(again, failed);
      show(discard, failed);
      if (tools) tools.update(message);
    },
  };
}
