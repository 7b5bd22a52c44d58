/** Where messages are written: Enter sends, Shift+Enter makes a line, a composition is never cut. */
import { attaching } from './attaching.js';
import { nameOf, uid } from './conversations.js';
import { fill, h, icon, iconButton, setText } from './dom.js';
import { t } from './i18n.js';
import { previewOf } from './preview.js';

const TALLEST_PX = 180;

/** @param {import('./session.js').Session} session @param {(button: HTMLButtonElement) => void} onRestore */
export function composer(session, onRestore) {
  /** @type {{kind: 'reply' | 'edit', message: any} | null} */
  let about = null;
  let composing = false;
  let drawnFor = '';

  const area = h('textarea', { rows: '1', placeholder: t('write'), 'aria-label': t('write'), autocomplete: 'off', enterkeyhint: 'send' });
  const button = h('button', { type: 'submit', class: 'send', 'aria-label': t('send'), title: t('send') }, icon('send'));
  const above = h('div', { class: 'composer-about', hidden: true });
  const shutWhy = h('p', {});
  const restore = h('button', { type: 'button', class: 'button small restore', onclick: () => onRestore(restore) }, icon('restore'), t('restore'));
  const closed = h('div', { class: 'composer-closed', hidden: true }, shutWhy, restore);
  const files = attaching(session, () => area.focus());
  const form = h('form', { class: 'composer-form', onsubmit: submit }, files.button, area, button);
  const element = h('div', { class: 'composer' }, above, files.chips, form, closed, files.input);

  area.addEventListener('compositionstart', () => { composing = true; });
  area.addEventListener('compositionend', () => { composing = false; });
  area.addEventListener('paste', files.paste);
  area.addEventListener('blur', () => session.typing(false));
  area.addEventListener('input', () => {
    grow();
    if (session.selected) session.drafts.set(session.selected, area.value);
    session.typing(area.value.trim() !== '');
  });
  area.addEventListener('keydown', (event) => {
    // While Hangul is composed, Enter belongs to the input method. Safari ends the composition
    // before this event and only the key code 229 tells.
    if (event.isComposing || composing || event.keyCode === 229) return;
    if (event.key === 'Enter' && !event.shiftKey) submit(event);
    else if (event.key === 'Escape' && about) set(null);
    else if (event.key === 'ArrowUp' && area.value === '') {
      const last = session.entry?.items.findLast((item) => item.message && String(item.message.sender_id) === session.me && !item.message.deleted_at);
      if (last) { event.preventDefault(); set({ kind: 'edit', message: last.message }); }
    }
  });

  function grow() {
    area.style.height = 'auto';
    area.style.height = `${Math.min(area.scrollHeight, TALLEST_PX)}px`;
  }

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    const text = area.value.trim();
    const editing = about?.kind === 'edit';
    if (!text && (editing || !files.any) || composing) return;
    if (editing) {
      if (!session.command({ type: 'message.edit', message_id: about.message.id, content: text })) return;
    } else if (files.any) {
      files.send(text, about?.message.id);
      session.toNewest();
    } else session.write(text, about?.message.id);
    area.value = '';
    if (session.selected) session.drafts.delete(session.selected);
    session.typing(false);
    set(null);
    grow();
  }

  /** @param {typeof about} next */
  function set(next) {
    const wasEditing = about?.kind === 'edit';
    about = next;
    if (next?.kind === 'edit') area.value = next.message.content;
    else if (wasEditing) area.value = '';
    above.hidden = !next;
    files.offer(session.entry?.about.kind, next?.kind === 'edit');
    if (next) {
      const conversation = session.entry?.about;
      fill(above, icon(next.kind === 'edit' ? 'edit' : 'reply'),
        h('strong', {}, next.kind === 'edit' ? t('editing') : t('replyingTo', { name: nameOf(session.state, next.message.sender_id, conversation) })),
        h('span', {}, previewOf(next.message).slice(0, 120)),
        iconButton('close', t('cancel'), () => { set(null); area.focus(); }));
    }
    grow();
    if (next) area.focus();
  }

  return {
    element, set,
    /** To where one writes, or to what lets one write again. */
    focus: () => (form.hidden && !restore.hidden ? restore : area).focus(),
    draw() {
      const conversation = session.entry?.about;
      const id = conversation?.id ?? '';
      if (id !== drawnFor) {
        drawnFor = id;
        set(null);
        area.value = session.drafts.get(id) ?? '';
        files.draw();
        queueMicrotask(grow);
      }
      const shut = conversation?.status === 'archived' ? t('readOnly') : conversation?.kind === 'inbox' ? t('inboxReadOnly') : '';
      form.hidden = Boolean(shut);
      files.chips.hidden ||= form.hidden;
      closed.hidden = !shut;
      restore.hidden = conversation?.kind !== 'agent' || conversation.status !== 'archived' || !conversation.participants.some((p) => uid(p.user_id) === session.me && p.role === 'admin');
      setText(shutWhy, shut);
    },
  };
}
