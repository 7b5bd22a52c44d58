/** Files as people see them: attachments with a thumbnail and a way to save them, and uploads on their way. */
import { h, icon } from './dom.js';
import { fileSize, t } from './i18n.js';

/** Before a thumbnail comes into sight, so that it is there when it does. */
const NEAR = '400px 0px';
/** What is refused with these is refused again. */
const FOR_GOOD = new Set([403, 404, 413, 422]);
/** A browser has begun to save by then. */
const KEPT_MS = 60000;

/**
 * The attachments of the open conversation: one picture element for each thumbnail, however often its
 * message is drawn. Pictures are fetched with the token when they come into sight.
 * @param {import('./session.js').Session} session @param {HTMLElement} root  what they are scrolled in
 */
export function attachments(session, root) {
  /** @type {Map<string, HTMLImageElement>} */
  const pictures = new Map();
  let given = new AbortController();
  const inSight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      inSight.unobserve(target);
      load(/** @type {HTMLImageElement} */ (target), given.signal);
    }
  }, { root, rootMargin: NEAR });

  /** @param {HTMLImageElement} picture @param {AbortSignal} signal */
  async function load(picture, signal) {
    const blob = await session.files.fetch(picture.dataset.path ?? '', signal);
    if (signal.aborted) return;
    const address = blob && URL.createObjectURL(blob);
    const over = (state) => { if (address) URL.revokeObjectURL(address); picture.parentElement?.classList.add(state); picture.dataset.state = state; };
    picture.onload = () => over('there');
    picture.onerror = () => over('missing');
    if (address) picture.src = address;
    else over('missing');
  }

  /** @param {any} file */
  function pictureOf(file) {
    let picture = pictures.get(file.file_id);
    if (!picture) {
      picture = h('img', { alt: file.name, dataset: { path: file.thumbnail_url } });
      pictures.set(file.file_id, picture);
      inSight.observe(picture);
    }
    return picture;
  }

  return {
    /** @param {any} file  one of a message's attachments */
    line(file) {
      if (!file?.file_id || !file.file_url) return h('p', { class: 'file' }, `${t('attachment')}: ${file?.name ?? file?.id ?? JSON.stringify(file)}`);
      const label = t('saveFile', { name: file.name });
      const picture = file.thumbnail_url ? pictureOf(file) : null;
      const note = h('span', { class: 'file-size' }, fileSize(file.size));
      const row = h('button', { type: 'button', class: 'file-row', title: label, 'aria-label': `${label}, ${fileSize(file.size)}`, onclick: () => save(session, file, row, note) },
        icon('file'), h('span', { class: 'file-name' }, file.name), note, icon('save'));
      return h('div', { class: 'attached' }, picture ? h('div', { class: `thumb ${picture.dataset.state ?? ''}` }, picture) : null, row);
    },
    /** The conversation was left: nothing of it is fetched or kept any more. */
    forget() {
      given.abort();
      given = new AbortController();
      inSight.disconnect();
      pictures.clear();
    },
  };
}

/** @param {import('./session.js').Session} session @param {any} file @param {HTMLButtonElement} row @param {HTMLElement} note */
async function save(session, file, row, note) {
  row.disabled = true;
  const blob = await session.files.fetch(file.file_url);
  row.disabled = false;
  note.textContent = blob ? fileSize(file.size) : t('fileGone');
  if (!blob) return;
  const address = URL.createObjectURL(blob);
  h('a', { href: address, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}

/** A file on its way, below the timeline. @param {import('./session.js').Session} session
 * @param {import('./files.js').Upload} upload */
export function uploadLine(session, upload) {
  const { client_id: id, file, content, state } = upload;
  const failed = state === 'failed';
  const bar = h('progress', { max: '1', value: 0, 'aria-label': t('uploading', { name: file.name }) });
  const note = h('span', {});
  session.files.show(id, (sent) => {
    bar.value = sent;
    // All of it is there: now it is looked at.
    note.textContent = failed ? problemOf(upload) : state === 'waiting' ? t('uploadWaits') : sent < 1 ? `${Math.floor(sent * 100)}%` : t('processing');
  });
  return h('li', { class: `line own letter upload ${state}`, dataset: { client: id } },
    h('div', { class: 'stack' },
      h('div', { class: 'bubble-row' },
        h('div', { class: 'bubble' },
          content ? h('p', { class: 'text', dir: 'auto' }, content) : null,
          h('div', { class: 'file-row' }, icon('file'), h('span', { class: 'file-name' }, file.name), h('span', { class: 'file-size' }, fileSize(file.size))),
          failed ? null : bar)),
      h('div', { class: 'letter-tools' },
        h('span', { class: failed ? 'problem' : 'upload-note', role: failed ? 'alert' : null }, note),
        failed && !FOR_GOOD.has(upload.problem?.status ?? 0) ? h('button', { type: 'button', class: 'link', onclick: () => session.files.tryAgain(id) }, t('tryAgain')) : null,
        h('button', { type: 'button', class: 'link', onclick: () => session.files.discard(id) }, t(failed ? 'discard' : 'cancel')))));
}

/** Why a file was not sent, in words. @param {import('./files.js').Upload} upload */
export function problemOf({ problem }) {
  const said = String(problem?.body?.detail ?? '');
  const most = /(\d+) bytes/.exec(said);
  switch (problem?.status) {
    case 0: return t('upload_cut');
    case 413: return most ? t('upload_tooLarge', { most: fileSize(Number(most[1])) }) : t('upload_tooMuch');
    case 422: {
      const type = /^File type not allowed: (.*)$/.exec(said);
      if (type) return t('upload_type', { type: type[1] });
      return said === 'File is empty' ? t('upload_empty') : t('notSent', { why: said });
    }
    case 403: case 404: return t('upload_notHere');
    case 429: return t('upload_tooMany');
    case 503: return t('upload_later');
    default: return t('notSent', { why: said || String(problem?.status ?? '') });
  }
}
