/** A host's polls: open one, watch its results, close it. */
import { empty, resultsView, votersText } from './parts.js';
import { fill, h, icon, keyed, setAttr, setText, show } from './dom.js';
import { moderation, moreButton } from './host-tools.js';
import { t } from './i18n.js';
import { latestPolls } from './room.js';

const MOST_OPTIONS = 20;
const KINDS = ['single', 'multiple', 'cloud'];

/** @param {any} seat */
export function hostPolls(seat) {
  const { room } = seat;
  const list = h('ol', { class: 'polls' });
  const nothing = h('div', {});
  const draw = keyed(list, (poll) => poll.id, (poll) => pollPart(seat, poll));
  const form = pollForm(seat, () => { show(form.element, false); update(); add.focus(); });
  const add = h('button', { type: 'button', class: 'button wide', onclick: () => { show(form.element, true); update(); form.focus(); } }, icon('plus'), t('newPoll'));
  const element = h('div', { class: 'scroller host-polls', tabindex: '0', role: 'group', 'aria-label': t('polls') }, h('div', { class: 'pad' }, add, form.element), nothing, list);
  function update() {
    const polls = latestPolls(room);
    show(add, Boolean(form.element.hidden) && room.status !== 'ended');
    draw(polls);
    show(list, polls.length > 0);
    if (!polls.length && form.element.hidden && seat.loaded) {
      if (!nothing.firstChild) fill(nothing, empty('poll', t('noPolls'), t('noPollsHostText')));
    } else if (nothing.firstChild) fill(nothing);
  }
  return { element, update };
}

/** @param {any} seat @param {import('./room.js').Poll} first */
function pollPart(seat, first) {
  const title = h('h2', { class: 'text' });
  const tag = h('span', { class: 'tag' });
  const voters = h('p', { class: 'meta voters' });
  const results = resultsView(first);
  const close = h('button', { type: 'button', class: 'button small', onclick: () => seat.send({ type: 'poll_close', message_id: first.id }) }, t('closePoll'));
  const more = moderation(seat, { id: first.id, by: null }, () => button.close());
  const button = moreButton(() => t('toolsFor', { text: first.question }), more.element);
  return {
    element: h('li', { class: 'poll' }, h('div', { class: 'poll-head' }, tag, h('span', { class: 'meta spring' }, t(`kind_${first.kind}`)), button.element), more.element, title, results.element, h('div', { class: 'poll-foot' }, voters, close)),
    /** @param {import('./room.js').Poll} poll */
    update(poll) {
      button.name();
      setText(title, poll.question);
      setText(tag, t(poll.open ? 'pollRunning' : 'pollClosed'));
      setAttr(tag, 'class', poll.open ? 'tag act' : 'tag');
      setText(voters, votersText(poll));
      show(close, poll.open);
      results.update(poll, []);
    },
  };
}

/** @param {any} seat @param {() => void} done */
function pollForm(seat, done) {
  let kind = 'single';
  const question = h('input', { name: 'question', maxlength: 300, autocomplete: 'off' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const options = h('div', { class: 'options' });
  const add = h('button', { type: 'button', class: 'button small', onclick: () => { addOption(); inputs()[inputs().length - 1].focus(); } }, t('addOption'));
  const group = h('fieldset', { class: 'field' }, h('legend', {}, t('options')), options, add);
  const kinds = KINDS.map((name) => h('button', { type: 'button', onclick: () => setKind(name) }, t(name)));
  const element = h('form', { class: 'poll-form card', hidden: true, novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
    h('label', { class: 'field' }, h('span', {}, t('pollQuestion')), question),
    h('div', { class: 'segments', role: 'group', 'aria-label': t('pollKind') }, kinds), group, problem,
    h('div', { class: 'buttons' }, h('button', { type: 'button', class: 'button quiet', onclick: () => { clear(); done(); } }, t('cancel')), h('button', { type: 'submit', class: 'button primary' }, t('openPoll'))));

  const inputs = () => [...options.querySelectorAll('input')];

  function addOption() {
    const input = h('input', { maxlength: 100, autocomplete: 'off' });
    const row = h('div', { class: 'option' }, input, h('button', { type: 'button', class: 'icon-button', onclick: () => { row.remove(); name(); add.focus(); } }, icon('cross')));
    options.append(row);
    name();
  }
  function name() {
    [...options.children].forEach((row, n) => {
      setAttr(row.firstElementChild, 'aria-label', t('option', { n: n + 1 }));
      setAttr(row.firstElementChild, 'placeholder', t('option', { n: n + 1 }));
      setAttr(row.lastElementChild, 'aria-label', t('removeOption', { n: n + 1 }));
      show(row.lastElementChild, options.childElementCount > 2);
    });
    show(add, options.childElementCount < MOST_OPTIONS);
  }
  /** @param {string} next */
  function setKind(next) {
    kind = next;
    kinds.forEach((button, n) => setAttr(button, 'aria-pressed', String(KINDS[n] === kind)));
    show(group, kind !== 'cloud');
  }
  function clear() {
    question.value = '';
    fill(problem);
    options.textContent = '';
    addOption();
    addOption();
    setKind('single');
  }
  function submit() {
    const texts = inputs().map((input) => input.value.trim()).filter(Boolean);
    if (!question.value.trim() || (kind !== 'cloud' && texts.length < 2)) {
      fill(problem, t(kind === 'cloud' ? 'pollNeedsQuestion' : 'pollNeeds'));
      (question.value.trim() ? inputs().find((input) => !input.value.trim()) : question).focus();
      return;
    }
    seat.send({ type: 'poll_open', question: question.value.trim(), kind, ...(kind === 'cloud' ? {} : { options: texts }) });
    clear();
    done();
  }
  clear();
  return { element, focus: () => question.focus() };
}
