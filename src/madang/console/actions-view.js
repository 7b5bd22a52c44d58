/** Every action of the contract as a button with a small form, and a box for any frame at all. */
import { ACTIONS, prefill, readForm } from './actions.js';
import { uid } from './conversations.js';
import { fill, h, oncePerFrame, setText } from './dom.js';
import { t } from './i18n.js';

const RAW = 'raw';

/** @param {import('./session.js').Session} session */
export function actionsView(session) {
  let open = 'message.send';
  let rawText = '{\n  "type": "ping"\n}';
  /** @type {Map<string, HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement>} */
  const inputs = new Map();
  /** Fields the user wrote in: the selection no longer fills them. @type {Set<string>} */
  const touched = new Set();

  const form = h('form', { class: 'action-form', onsubmit: submit });
  const preview = h('pre', { class: 'preview-json', tabindex: '0', 'aria-label': t('preview') });
  const answer = h('div', { class: 'action-answer', role: 'status', 'aria-live': 'polite' });
  const menu = h('div', { class: 'action-menu', role: 'group', 'aria-label': t('actions') });
  // On a narrow screen the long list is one control.
  const choice = h('select', { class: 'action-choice', 'aria-label': t('action'), onchange: () => show(choice.value) });
  const element = h('div', { class: 'actions' }, menu, choice, h('div', { class: 'action-pane' }, form, answer));

  const button = (id, label) => h('button', { type: 'button', class: 'action', 'aria-pressed': String(id === open), dataset: { action: id }, onclick: () => show(id) }, label);
  const groups = [...new Set(ACTIONS.map((action) => action.group))];
  fill(menu, groups.map((group) => [h('h3', {}, t(`group_${group}`)),
    h('div', { class: 'action-group' }, ACTIONS.filter((action) => action.group === group).map((action) => button(action.id, actionLabel(action))))]),
    h('h3', {}, t('rawFrame')), h('div', { class: 'action-group' }, button(RAW, t('rawFrame'))));

  fill(choice, groups.map((group) => h('optgroup', { label: t(`group_${group}`) },
    ACTIONS.filter((action) => action.group === group).map((action) => h('option', { value: action.id }, action.label)))), h('option', { value: RAW }, t('rawFrame')));

  /** @returns {import('./actions.js').Context} */
  function context() {
    const entry = session.entry;
    const message = session.message ?? entry?.items.findLast((item) => item.message)?.message ?? entry?.about.last_message;
    const other = entry?.about.participants.find((p) => uid(p.user_id) !== session.me);
    return {
      conversation: entry?.about.id ?? '', message: message?.id ?? '', text: message?.content ?? '', me: session.me,
      cursor: String(session.state.cursor || ''), seq: String(entry?.seq ?? ''), other: other ? uid(other.user_id) : '', token: session.token ?? '',
    };
  }

  /** @param {string} id */
  function show(id) {
    open = id;
    touched.clear();
    inputs.clear();
    fill(answer);
    choice.value = id;
    for (const one of menu.querySelectorAll('button')) {
      one.setAttribute('aria-pressed', String(one.dataset.action === id));
      if (one.dataset.action === id && one.offsetParent) one.scrollIntoView({ block: 'nearest' });
    }
    const action = ACTIONS.find((one) => one.id === id);
    const run = h('button', { type: 'submit', class: 'button primary' }, t('run'));
    if (!action) {
      const box = h('textarea', { rows: '9', class: 'mono', spellcheck: 'false', value: rawText, 'aria-label': t('rawFrame'), oninput: () => { rawText = box.value; } });
      inputs.set(RAW, box);
      fill(form, h('h3', {}, t('rawFrame')), box, h('div', { class: 'form-end' }, run));
      return;
    }
    fill(form, h('h3', {}, actionLabel(action)), action.fields.map(fieldElement),
      action.call ? fieldElement({ name: 'token', optional: true, label: t('asToken'), hint: t('asTokenHint') }) : null,
      h('div', { class: 'form-preview' }, h('h4', {}, t('preview')), preview), h('div', { class: 'form-end' }, run));
    refill();
  }

  /** @param {import('./actions.js').Field & {label?: string, hint?: string}} field */
  function fieldElement(field) {
    const props = { name: field.name, spellcheck: 'false', autocomplete: 'off', class: 'mono', placeholder: field.optional ? field.hint ?? '–' : null };
    const input = field.kind === 'choice'
      ? h('select', { name: field.name }, field.optional ? h('option', { value: '' }, '–') : null, field.choices?.map((choice) => h('option', { value: choice }, choice)))
      : field.kind === 'long' || field.kind === 'json' ? h('textarea', { ...props, rows: '2' }) : h('input', props);
    input.addEventListener('input', () => { touched.add(field.name); drawPreview(); });
    inputs.set(field.name, input);
    return h('label', { class: 'field' }, h('span', {}, field.label ?? field.name), input);
  }

  function refill() {
    const action = ACTIONS.find((one) => one.id === open);
    if (!action) return;
    const now = context();
    for (const field of action.fields) {
      const input = inputs.get(field.name);
      if (!input || touched.has(field.name) || input === document.activeElement) continue;
      const value = field.kind === 'choice' && field.optional ? '' : prefill(field, now);
      if (input.value !== value) input.value = value;
    }
    drawPreview();
  }

  function texts() {
    return Object.fromEntries([...inputs].map(([name, input]) => [name, input.value]));
  }

  function drawPreview() {
    const action = ACTIONS.find((one) => one.id === open);
    if (!action) return;
    const read = readForm(action, texts());
    if ('bad' in read) { setText(preview, t('formBad', { field: read.bad })); return; }
    if (action.frame) setText(preview, JSON.stringify(action.frame(read.values), null, 2));
    else if (action.call) {
      const call = action.call(read.values);
      const query = new URLSearchParams(Object.entries(call.query ?? {}).map(([name, value]) => [name, String(value)])).toString();
      setText(preview, `${call.method} /${call.path}${query ? `?${query}` : ''}${Object.entries(call.headers ?? {}).map(([name, value]) => `\n${name}: ${value}`).join('')}${call.body === undefined ? '' : `\n\n${JSON.stringify(call.body, null, 2)}`}`);
    }
  }

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    if (open === RAW) {
      if (session.raw(rawText)) fill(answer, h('p', {}, t('sentNote')));
      return;
    }
    const action = ACTIONS.find((one) => one.id === open);
    if (!action) return;
    const read = readForm(action, texts());
    if ('bad' in read) { fill(answer, h('p', { class: 'problem' }, t('formBad', { field: read.bad }))); return; }
    if (action.frame) {
      if (session.command(action.frame(read.values))) fill(answer, h('p', {}, t('sentNote')));
      return;
    }
    const token = inputs.get('token')?.value.trim() || (action.role ? await session.tokenWith(action.role) : undefined);
    const result = await session.rest.call({ ...action.call(read.values), token });
    fill(answer, h('p', { class: result.ok ? 'ok' : 'problem' }, h('strong', {}, result.status || '–'), ` · ${Math.round(result.ms)} ms`),
      h('pre', { tabindex: '0', 'aria-label': t('answer') }, typeof result.body === 'string' ? result.body : JSON.stringify(result.body, null, 2)));
  }

  const unwatch = session.watch(oncePerFrame(refill));
  show(open);
  return {
    element, dispose: unwatch, show,
    /** @param {string} text */
    editRaw(text) { rawText = text; show(RAW); inputs.get(RAW)?.focus(); },
  };
}

/** @param {import('./actions.js').Action} action */
function actionLabel(action) {
  const [method, path] = action.label.split(' ');
  // A long path breaks at its slashes.
  return path ? [h('b', { class: 'verb' }, method), ' ', path.split('/').slice(1).map((part) => [h('wbr'), `/${part}`])] : action.label;
}
