/** Files beside what is being written: chosen with the paper clip or pasted, shown as chips, sent with the text. */
import { fill, h, icon, iconButton } from './dom.js';
import { fileSize, t } from './i18n.js';

/** Where people send files to each other; live rooms and inboxes take none. */
const KINDS = new Set(['direct', 'group', 'agent']);

/** @param {import('./session.js').Session} session @param {() => void} onChosen */
export function attaching(session, onChosen) {
  const input = h('input', { type: 'file', multiple: true, hidden: true, tabindex: '-1', 'aria-label': t('attach') });
  const button = iconButton('clip', t('attach'), () => input.click(), { class: 'clip' });
  const chips = h('ul', { class: 'chips', 'aria-label': t('attached'), hidden: true });
  const chosen = () => session.files.chosen.get(session.selected ?? '') ?? [];
  input.addEventListener('change', () => {
    put([...chosen(), ...(input.files ?? [])]);
    // The same file may be chosen again.
    input.value = '';
    onChosen();
  });

  /** @param {File[]} files */
  function put(files) {
    if (session.selected) session.files.chosen.set(session.selected, files);
    draw();
  }

  function draw() {
    const files = chosen();
    chips.hidden = !files.length;
    fill(chips, files.map((file) => h('li', { class: 'chip' }, icon('file'),
      h('span', { class: 'file-name' }, file.name), h('span', { class: 'file-size' }, fileSize(file.size)),
      iconButton('close', t('takeOff', { name: file.name }), () => { put(chosen().filter((one) => one !== file)); onChosen(); }))));
  }

  return {
    button, chips, input, draw,
    /** Whether there is something to send. */
    get any() { return chosen().length > 0; },
    /** Send what was chosen: the first with the text, as the answer to a message.
     * @param {string} text @param {string} [replyTo] */
    send(text, replyTo) {
      const files = chosen();
      put([]);
      files.forEach((file, n) => session.files.send(session.selected ?? '', file, n ? '' : text, n ? undefined : replyTo));
    },
    /** @param {ClipboardEvent} event */
    paste(event) {
      const pasted = [...(event.clipboardData?.files ?? [])];
      if (!pasted.length || button.hidden) return;
      event.preventDefault();
      put([...chosen(), ...pasted]);
    },
    /** @param {string | undefined} kind  of the conversation @param {boolean} editing */
    offer(kind, editing) {
      button.hidden = !KINDS.has(kind ?? '') || editing;
    },
  };
}
