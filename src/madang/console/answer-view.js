/**
 * An agent's answer inside its bubble. While it is written only what is new is put in; its end puts
 * the whole message in its place.
 */
import { underWay } from './answers.js';
import { nameOf } from './conversations.js';
import { fill, h, icon, setText } from './dom.js';
import { t } from './i18n.js';

/** @typedef {import('./session.js').Session} Session */

/** What was drawn into an element last: the steps of an answer change more rarely than its text.
 * @type {WeakMap<HTMLElement, any[]>} */
const drawnSteps = new WeakMap();

/** The parts of an answer: inside the bubble, and under it.
 * @param {Session} session @param {any} message @param {any} about  its conversation */
export function answerParts(session, message, about) {
  const asked = Object.entries(message.metadata?.approvals ?? {}).map(([id, one]) => approval(session, message, about, id, one));
  if (!underWay(message)) return { inside: [stepLines(message.metadata?.steps ?? []), textOf(message.content), asked], below: ending(message) };
  const steps = h('div', {});
  const words = document.createTextNode('');
  const text = h('p', { class: 'text growing', dir: 'auto' }, words);
  const waiting = h('p', { class: 'answering' }, t('answering'));
  const draw = () => {
    const answer = session.runs.answer(message.id);
    // What the history knew may be further than what was told by now.
    const said = answer && answer.text.length >= message.content.length ? answer.text : message.content;
    if (said.startsWith(words.data)) words.appendData(said.slice(words.data.length));
    else words.data = said;
    text.hidden = !said;
    waiting.hidden = Boolean(said);
    drawSteps(steps, answer?.steps ?? message.metadata?.steps ?? [], true);
  };
  session.runs.show(message.id, draw);
  draw();
  return { inside: [steps, text, waiting, asked], below: stopButton(session, message) };
}

/** @param {string} content */
const textOf = (content) => (content ? h('p', { class: 'text', dir: 'auto' }, content) : null);

/** @param {Session} session @param {any} message */
function stopButton(session, message) {
  const button = h('button', {
    type: 'button', class: 'stop', onclick: async () => {
      button.disabled = true;
      const answer = await session.runs.stop(message.id);
      // Stopped: its end puts the message in place of all this.
      if (!answer.ok) { button.disabled = false; setText(problem, t('notStopped')); }
    },
  }, icon('stop'), h('span', {}, t('stop')));
  const problem = h('span', { class: 'problem', role: 'alert' });
  return h('div', { class: 'under-answer' }, button, problem);
}

/** How it ended, where that is not simply well. @param {any} message */
function ending(message) {
  const { status, error } = message.metadata ?? {};
  if (!status || status === 'complete') return null;
  return h('p', { class: `under-answer ended ${status}` }, icon(status === 'cancelled' ? 'stop' : 'clear'),
    h('span', {}, t(status === 'failed' && !error ? 'run_failedSo' : `run_${status}`, { why: error ?? '' })));
}

/** @param {any[]} steps */
const stepLines = (steps) => (steps.length ? drawSteps(h('div', {}), steps, false) : null);

/** One quiet line each. @param {HTMLElement} element @param {any[]} steps @param {boolean} live */
function drawSteps(element, steps, live) {
  if (drawnSteps.get(element) === steps) return element;
  drawnSteps.set(element, steps);
  element.className = steps.length ? 'steps' : '';
  fill(element, steps.map((step) => {
    const thinking = step.kind === 'thinking';
    const said = thinking || step.input === undefined || step.input === null ? step.content ?? '' : JSON.stringify(step.input);
    return h('p', { class: `step ${live || step.status !== 'running' ? step.status ?? '' : ''}`, title: said || null },
      h('strong', {}, thinking ? t(live && step.status === 'running' ? 'thinking' : 'thought') : step.name ?? step.kind),
      said ? h('span', { class: 'step-said' }, said) : null,
      step.status === 'failed' ? h('span', {}, t('stepFailed')) : null);
  }));
  return element;
}

/** What the run asks people, with the options as long as nobody has answered.
 * @param {Session} session @param {any} message @param {any} about @param {string} id @param {any} asked */
function approval(session, message, about, id, asked) {
  const answered = asked.answer !== undefined && asked.answer !== null;
  const problem = h('p', { class: 'problem', role: 'alert' });
  const decide = async (option) => {
    for (const button of options.querySelectorAll('button')) button.disabled = true;
    const answer = await session.runs.decide(message.id, id, option);
    // Answered: its event draws all this anew. Somebody was first: so does theirs.
    if (answer.ok || answer.status === 409) return;
    for (const button of options.querySelectorAll('button')) button.disabled = false;
    setText(problem, t('notAnswered'));
  };
  const options = h('div', { class: 'options', role: 'group', 'aria-label': asked.question },
    (asked.options ?? []).map((option) => h('button', { type: 'button', class: 'button small', onclick: () => decide(option) }, optionWord(option))));
  const outcome = answered ? h('p', { class: 'outcome' }, icon('check'), h('span', {}, t('approvalAnswered', { name: nameOf(session.state, asked.by, about), answer: optionWord(asked.answer) }), asked.note ? ` · ${asked.note}` : ''))
    : underWay(message) ? [options, problem] : h('p', { class: 'outcome' }, t('approvalOver'));
  return h('div', { class: 'approval' }, h('p', { class: 'question' }, asked.question), details(asked.details), outcome);
}

/** The usual options have words of their own; any other is the agent's own. @param {string} option */
const optionWord = (option) => (option === 'approve' ? t('approve') : option === 'deny' ? t('deny') : option);

/** @param {any} said */
const details = (said) => (said && Object.keys(said).length ? h('code', { class: 'details' }, JSON.stringify(said)) : null);
