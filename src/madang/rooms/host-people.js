/** Who is in the room, and what a host may do to them. */
import { empty } from './parts.js';
import { fill, h, keyed, setText, show } from './dom.js';
import { moderation, moreButton } from './host-tools.js';
import { t } from './i18n.js';

/** People drawn at once; the others are found by name. */
const DRAWN = 200;

/** @param {any} seat */
export function hostPeople(seat) {
  const { room } = seat;
  const list = h('ul', { class: 'people-list' });
  const nothing = h('div', {});
  const search = h('input', { type: 'search', placeholder: t('find'), 'aria-label': t('find'), oninput: () => update() });
  const draw = keyed(list, (one) => one.id, (one) => personPart(seat, one));
  const element = h('div', { class: 'scroller', tabindex: '0', role: 'group', 'aria-label': t('people') }, h('div', { class: 'pad' }, search), nothing, list);
  function update() {
    const wanted = search.value.trim().toLowerCase();
    const all = [...room.people.values()].filter((one) => !one.host);
    const found = all.filter((one) => !wanted || one.name.toLowerCase().includes(wanted))
      .sort((a, b) => Number(b.online) - Number(a.online) || a.name.localeCompare(b.name));
    draw(found.slice(0, DRAWN));
    show(search, all.length > 8);
    if (!all.length && seat.loaded) {
      if (!nothing.firstChild) fill(nothing, empty('people', t('nobody'), t('nobodyText')));
    } else if (nothing.firstChild) fill(nothing);
  }
  return { element, update };
}

/** @param {any} seat @param {import('./room.js').Person} first */
function personPart(seat, first) {
  const name = h('span', { class: 'name' });
  const muted = h('span', { class: 'tag heed', hidden: true }, t('mutedTag'));
  const away = h('span', { class: 'tag', hidden: true }, t('awayTag'));
  const more = moderation(seat, { by: first.id }, () => button.close());
  const button = moreButton(() => t('toolsFor', { text: name.textContent || '' }), more.element);
  return {
    element: h('li', { class: 'person' }, h('div', { class: 'person-row' }, name, muted, away, h('span', { class: 'spring' }), button.element), more.element),
    /** @param {import('./room.js').Person} person */
    update(person) {
      setText(name, person.name);
      button.name();
      more.update();
      show(muted, person.muted);
      show(away, !person.online);
    },
  };
}
