/** A host's questions: what is asked, what waits to be approved, what is answered or dismissed, and
 * what to do with each. */
import { h, setAttr, setText, show } from './dom.js';
import { moderation, moreButton } from './host-tools.js';
import { number, t } from './i18n.js';
import { questionsView } from './questions-view.js';
import { pending } from './room.js';

const FILTERS = ['open', 'pending', 'answered', 'dismissed'];

/** @param {any} seat */
export function hostQuestions(seat) {
  const { room } = seat;
  let filter = 'open';
  const of = (question) => (pending(room, question) ? 'pending' : question.state === 'answered' || question.state === 'dismissed' ? question.state : 'open');
  const view = questionsView(seat, {
    select: (question) => of(question) === filter,
    tools: (question) => toolsPart(seat, question),
    emptyText: () => (filter === 'open' ? [t('noQuestions'), t('noneOpenText')] : filter === 'pending' ? [t('nonePending'), t('nonePendingText')]
      : filter === 'answered' ? [t('noneAnswered'), t('noneAnsweredText')] : [t('noneDismissed'), t('noneDismissedText')]),
  });
  const counts = {};
  const buttons = FILTERS.map((name) => {
    counts[name] = h('span', { class: 'count' });
    return h('button', { type: 'button', onclick: () => { filter = name; update(); } }, t(`filter_${name}`), ' ', counts[name]);
  });
  const element = h('div', { class: 'host-questions' }, h('div', { class: 'filters' }, h('div', { class: 'segments', role: 'group', 'aria-label': t('filter') }, buttons), h('span', { class: 'spring' }), view.sortBar),
    h('div', { class: 'scroller', tabindex: '0', role: 'group', 'aria-label': t('questions') }, view.element));

  function update() {
    const sums = { open: 0, pending: 0, answered: 0, dismissed: 0 };
    for (const question of room.questions.values()) sums[of(question)] += 1;
    FILTERS.forEach((name, n) => {
      setAttr(buttons[n], 'aria-pressed', String(name === filter));
      setText(counts[name], sums[name] ? number(sums[name]) : '');
      setAttr(counts[name], 'class', name === 'pending' && sums[name] ? 'count heed' : 'count');
      show(buttons[n], name !== 'pending' || Boolean(room.settings.questions_need_approval) || sums.pending > 0 || filter === 'pending');
    });
    view.update();
  }
  return { element, update };
}

/** What each state leads to: the new state, its word, whether it is the next natural step. */
const STEPS = {
  pending: [['approved', 'approve', true], ['dismissed', 'dismiss']],
  open: [['live', 'makeLive', true], ['answered', 'markAnswered'], ['dismissed', 'dismiss']],
  approved: [['live', 'makeLive', true], ['answered', 'markAnswered'], ['dismissed', 'dismiss']],
  live: [['answered', 'markAnswered', true], ['open', 'takeDown']],
  answered: [['open', 'reopen']],
  dismissed: [['open', 'reopen']],
};

/** @param {any} seat @param {import('./room.js').Question} first */
function toolsPart(seat, first) {
  const { room } = seat;
  const steps = h('div', { class: 'steps' });
  const more = moderation(seat, first, () => button.close());
  const button = moreButton(() => t('toolsFor', { text: first.text }), more.element);
  let drawn = '';
  return {
    element: h('div', { class: 'tools' }, h('div', { class: 'tools-row' }, steps, button.element), more.element),
    /** @param {import('./room.js').Question} question */
    update(question) {
      const state = pending(room, question) ? 'pending' : question.state;
      button.name();
      more.update();
      if (drawn === state) return;
      drawn = state;
      const had = steps.contains(document.activeElement);
      steps.textContent = '';
      for (const [next, word, main] of STEPS[state] || []) {
        steps.append(h('button', {
          type: 'button', class: main ? 'button small primary' : 'button small',
          onclick: () => seat.send({ type: 'question_state', message_id: question.id, state: next }),
        }, t(String(word))));
      }
      if (had && steps.firstElementChild) /** @type {HTMLElement} */ (steps.firstElementChild).focus();
    },
  };
}
