/** Buttons of a host: those that ask once more, and the ones behind "more". */
import { fill, h, icon, setAttr, setText, show } from './dom.js';
import { t } from './i18n.js';

const SURE_MS = 4000;

/** A button that does what cannot be undone: the first press asks, the second does.
 * @param {string} label @param {string} sure @param {() => void} act @param {string} [look] */
export function sureButton(label, sure, act, look = 'button small danger') {
  let timer = 0;
  const calm = () => { timer = 0; fill(button, label); };
  const button = h('button', {
    type: 'button', class: look,
    onclick: () => {
      if (timer) {
        clearTimeout(timer);
        calm();
        act();
      } else {
        fill(button, sure);
        timer = setTimeout(calm, SURE_MS);
      }
    },
    onblur: () => { if (timer) { clearTimeout(timer); calm(); } },
  }, label);
  return button;
}

/** A button that shows the rest. @param {() => string} label @param {HTMLElement} rest */
export function moreButton(label, rest) {
  /** @param {boolean} shown */
  const open = (shown) => {
    show(rest, shown);
    setAttr(button, 'aria-expanded', String(shown));
  };
  const button = h('button', { type: 'button', class: 'icon-button', 'aria-expanded': 'false', onclick: () => open(Boolean(rest.hidden)) }, icon('more'));
  return { element: button, name: () => setAttr(button, 'aria-label', label()), close: () => open(false) };
}

/** What a host may do to whoever said something, and to what was said.
 * @param {any} seat @param {{id?: string, by: string | null}} about the message, or only who @param {() => void} done */
export function moderation(seat, about, done) {
  const { room } = seat;
  const act = (action, more) => { seat.send({ type: 'moderate', action, ...more }); done(); };
  const of = { participant_id: about.by };
  const mute = h('button', { type: 'button', class: 'button small', onclick: () => act(isMuted() ? 'unmute' : 'mute', of) });
  const isMuted = () => Boolean((room.people.get(about.by || '') || {}).muted);
  const others = about.by && about.by !== room.me.id;
  const element = h('div', { class: 'moderation', hidden: true },
    about.id && sureButton(t('remove'), t('removeSure'), () => act('remove_message', { message_id: about.id })),
    others && [mute, sureButton(t('kick'), t('kickSure'), () => act('kick', of)), sureButton(t('ban'), t('banSure'), () => act('ban', of))]);
  return { element, update() { setText(mute, t(isMuted() ? 'unmute' : 'mute')); } };
}
