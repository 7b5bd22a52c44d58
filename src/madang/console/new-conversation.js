/** The form for a new conversation: with one person, with several, or with an agent. */
import { splitList } from './actions.js';
import { fill, h, setText } from './dom.js';
import { t } from './i18n.js';
import { AGENTS } from './rest.js';

/** @param {import('./session.js').Session} session @param {() => void} onOpen */
export function newConversation(session, onOpen) {
  const people = h('input', { name: 'people', required: true, autocomplete: 'off', spellcheck: 'false' });
  const peopleHint = h('small', {});
  const title = h('input', { name: 'title', autocomplete: 'off' });
  const titleHint = h('small', {}, t('titleHint'));
  const agent = h('select', { name: 'agent' });
  const withAgent = h('option', { value: 'agent', hidden: true, disabled: true }, t('withAgent'));
  const kind = h('select', { name: 'kind' }, h('option', { value: 'direct' }, t('direct')), h('option', { value: 'group' }, t('group')), withAgent);
  const problem = h('p', { class: 'problem', role: 'alert' });
  const titleField = h('label', { class: 'field' }, h('span', {}, t('title')), title, titleHint);
  const agentField = h('label', { class: 'field' }, h('span', {}, t('whichAgent')), agent);

  function draw() {
    const asked = kind.value === 'agent';
    titleField.hidden = kind.value === 'direct';
    titleHint.hidden = agentField.hidden = !asked;
    people.required = !asked;
    setText(peopleHint, t(asked ? 'othersHint' : 'peopleHint'));
  }

  async function offerAgents() {
    const agents = await session.loadAgents();
    fill(agent, agents.map((one) => h('option', { value: one.id }, one.name)));
    withAgent.hidden = withAgent.disabled = !agents.length;
  }

  /** @returns {Promise<import('./rest.js').Answer>} with a CONVERSATION */
  async function make() {
    const others = splitList(people.value);
    const titled = title.value && kind.value !== 'direct' ? { title: title.value } : {};
    if (kind.value !== 'agent') return session.rest.messenger('POST', '/conversations', { body: { kind: kind.value, participant_ids: others, ...titled } });
    const made = await session.rest.call({ method: 'POST', path: `${AGENTS}/sessions`, body: { agent_id: agent.value, participant_ids: others, ...titled } });
    return made.ok ? session.rest.messenger('GET', `/conversations/${encodeURIComponent(made.body.session_id)}`) : made;
  }

  kind.addEventListener('change', draw);
  people.addEventListener('input', () => {
    if (splitList(people.value).length > 1 && kind.value === 'direct') { kind.value = 'group'; draw(); }
  });
  const element = h('dialog', { class: 'sheet', 'aria-label': t('newConversation') }, h('form', {
    onsubmit: async (event) => {
      event.preventDefault();
      const answer = await make();
      if (!answer.ok) {
        problem.textContent = t('failed', { status: answer.status, text: detailOf(answer.body) });
        return;
      }
      element.close();
      session.adopt(answer.body);
      onOpen();
    },
  },
    h('h2', {}, t('newConversation')),
    h('label', { class: 'field' }, h('span', {}, t('people')), people, peopleHint),
    h('label', { class: 'field' }, h('span', {}, t('kind')), kind), agentField, titleField, problem,
    h('div', { class: 'sheet-buttons' }, h('button', { type: 'button', class: 'button', onclick: () => element.close() }, t('cancel')), h('button', { type: 'submit', class: 'button primary' }, t('create')))));
  return {
    element,
    open() {
      problem.textContent = '';
      people.value = '';
      title.value = '';
      draw();
      element.showModal();
      people.focus();
      offerAgents();
    },
  };
}

/** The readable part of a problem document. @param {any} body */
function detailOf(body) {
  const detail = body?.detail ?? body?.title ?? body ?? '';
  return typeof detail === 'string' ? detail : JSON.stringify(detail);
}
