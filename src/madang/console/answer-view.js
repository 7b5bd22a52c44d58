/**
 * An agent's answer inside its bubble. While it is written only what is new is put in; its end puts
 * the whole message in its place.
 */
import { cutAt, isAnswer, underWay, waitsForPeople } from './answers.js';
import { nameOf, uid } from './conversations.js';
import { fill, h, icon, iconButton, setText, whileBusy } from './dom.js';
import { t } from './i18n.js';
import { newClientId } from './protocol.js';

/**
 * @typedef {import('./session.js').Session} Session
 * @typedef {import('./alternatives.js').Group} Group
 * @typedef {{group?: Group, onTurn: (group: Group, id: string) => void, newest: boolean}} Beside
 *   the other answers to the same question, what turns to one of them, and whether this is the newest line
 */

/** The user id of an agent that the server itself runs begins with this: only those answer again. */
const OWN_AGENT = /^agent:/;

/** What was drawn into an element last: the steps of an answer change more rarely than its text.
 * @type {WeakMap<HTMLElement, any[]>} */
const drawnSteps = new WeakMap();

/** The parts of an answer: inside the bubble, and under it.
 * @param {Session} session @param {any} message @param {any} about  its conversation @param {Beside} beside */
export function answerParts(session, message, about, beside) {
  // What was asked stands where it was asked: in the text, or after it where that is not known.
  const requests = Object.entries(message.metadata?.approvals ?? {}).sort(([, a], [, b]) => (a.at ?? Infinity) - (b.at ?? Infinity));
  const places = requests.map(([, one]) => one.at ?? Infinity);
  const asked = requests.map(([id, one]) => approval(session, message, about, id, one));
  if (!underWay(message)) return { inside: [stepLines(message.metadata?.steps ?? []), cutAt(message.content, places).map((piece, n) => [textOf(asked.length ? piece.trim() : piece), asked[n]])], below: [ending(message), answerTools(session, message, about, beside)] };
  const steps = h('div', {});
  const words = document.createTextNode('');
  const text = h('p', { class: 'text growing', dir: 'auto' }, words);
  const before = asked.map(() => h('p', { class: 'text', dir: 'auto' }));
  const waits = waitsForPeople(message);
  const waiting = h('p', { class: 'answering' }, t(waits ? 'waitsForApproval' : 'answering'));
  const draw = () => {
    const answer = session.runs.answer(message.id);
    // What the history knew may be further than what was told by now.
    const all = answer && answer.text.length >= message.content.length ? answer.text : message.content;
    const pieces = cutAt(all, places);
    before.forEach((one, n) => { setText(one, pieces[n].trim()); one.hidden = !pieces[n].trim(); });
    const said = asked.length ? pieces[asked.length].trimStart() : all;
    if (said.startsWith(words.data)) words.appendData(said.slice(words.data.length));
    else words.data = said;
    text.hidden = !said;
    waiting.hidden = !waits && Boolean(all);
    drawSteps(steps, answer?.steps ?? message.metadata?.steps ?? [], true);
  };
  session.runs.show(message.id, draw);
  draw();
  return { inside: [steps, before.map((one, n) => [one, asked[n]]), text, waiting], below: [stopButton(session, message), answerTools(session, message, about, beside)] };
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

/** Whether the agent can be asked for another answer in the place of this one: not while a person answers.
 * @param {Session} session @param {any} message @param {any} about  its conversation */
export function canAnswerAgain(session, message, about) {
  const handler = session.state.conversations.get(about?.id)?.own?.handler ?? null;
  return handler === null && isAnswer(message) && !underWay(message) && !message.deleted_at && Boolean(message.reply_to_id) && OWN_AGENT.test(message.sender_id)
    && about?.status === 'active' && about.participants.some((p) => uid(p.user_id) === uid(message.sender_id));
}

/** Ask for another answer. What comes of it is drawn when it begins; until then `note` says what is known.
 * @param {Session} session @param {any} message @param {HTMLButtonElement} button @param {HTMLElement} note */
async function answerAgain(session, message, button, note) {
  // Whether a call arrived that was not answered is not known: the next one is the same.
  const key = (button.dataset.key ||= newClientId());
  const answer = await session.runs.again(message.id, key);
  if (answer.status > 0 && answer.status < 500) delete button.dataset.key;
  setText(note, !answer.ok ? t('notDone', { why: answer.body?.detail ?? answer.status }) : answer.body?.status === 'waiting' ? t('waitsForTurn') : '');
  note.classList.toggle('problem', !answer.ok);
}

/** The button that does. @param {Session} session @param {any} message */
function againButton(session, message) {
  const note = h('span', { role: 'status' });
  const button = h('button', { type: 'button', class: 'under-button again', onclick: () => whileBusy(button, () => answerAgain(session, message, button, note)) }, icon('again'), h('span', {}, t('again')));
  return [button, note];
}

/** Which of several answers this is, the way to the others, and the choice of the one that counts.
 * @param {Session} session @param {any} message @param {any} about @param {Beside} beside */
function answerTools(session, message, about, { group, onTurn, newest }) {
  const members = group && group.members.length > 1 ? group.members : [];
  const again = (members.length || newest || !['complete', undefined].includes(message.metadata?.status)) && canAnswerAgain(session, message, about);
  if (!members.length) return again ? h('div', { class: 'under-answer' }, againButton(session, message)) : null;
  const n = members.findIndex((item) => item.id === message.id);
  const problem = h('span', { class: 'problem', role: 'alert' });
  const turn = (way, by, label) => iconButton(way, t(label), () => onTurn(/** @type {Group} */ (group), members[n + by].id), { disabled: !members[n + by], dataset: { way } });
  const choose = h('button', { type: 'button', class: 'under-button choose', onclick: () => whileBusy(choose, async () => {
    const answer = await session.runs.choose(message.id);
    // Chosen: its event draws all this anew.
    setText(problem, answer.ok ? '' : t('notDone', { why: answer.body?.detail ?? answer.status }));
  }) }, t('useThis'));
  return h('div', { class: 'under-answer alternatives', role: 'group', 'aria-label': t('alternatives') },
    h('span', { class: 'pager' }, turn('back', -1, 'answerBefore'),
      h('span', { class: 'which', 'aria-label': t('answerOf', { n: n + 1, all: members.length }), role: 'img' }, `${n + 1} / ${members.length}`), turn('next', 1, 'answerAfter')),
    message.id === group?.counts ? h('span', { class: 'counts' }, icon('check'), h('span', {}, t('counts'))) : about?.status === 'active' ? choose : null,
    again ? againButton(session, message) : null, problem);
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
