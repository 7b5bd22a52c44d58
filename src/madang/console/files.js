/**
 * Files on their way into a conversation: one after the other, each with a client_id, so that sending
 * it again can do no harm. And files fetched with the token. Knows no page.
 *
 * @typedef {{client_id: string, conversation_id: string, file: File, content: string, reply_to_id?: string,
 *   state: 'waiting' | 'uploading' | 'sent' | 'failed', problem?: import('./rest.js').Answer}} Upload
 */
import { newClientId } from './protocol.js';
import { MESSENGER, addressOf } from './rest.js';

export class Files {
  /** @type {Upload[]} */ uploads = [];
  /** Chosen in a composer and not sent yet, by conversation. @type {Map<string, File[]>} */
  chosen = new Map();
  /** @type {Map<string, number>} */ #sent = new Map();
  /** @type {Map<string, (sent: number) => void>} */ #views = new Map();
  /** @type {{id: string, request: XMLHttpRequest} | null} */ #current = null;

  /** @param {import('./rest.js').Rest} rest @param {() => void} onChange */
  constructor(rest, onChange) {
    this.rest = rest;
    this.onChange = onChange;
  }

  /** Send a file with a text. @param {string} conversation @param {File} file @param {string} content
   * @param {string} [replyTo] */
  send(conversation, file, content, replyTo) {
    this.uploads = [...this.uploads, { client_id: newClientId(), conversation_id: conversation, file, content, reply_to_id: replyTo, state: 'waiting' }];
    this.#next();
  }

  /** @param {string} id  its client_id */
  tryAgain(id) {
    this.#mark(id, { state: 'waiting', problem: undefined });
    this.#next();
  }

  /** Give it up, or away with what failed. @param {string} id */
  discard(id) {
    if (this.#current?.id === id) this.#current.request.abort();
    this.#drop(id);
    this.#next();
  }

  /** The message of this client_id is here. @param {string | undefined | null} id */
  arrived(id) {
    if (id && this.uploads.some((one) => one.client_id === id)) this.#drop(id);
  }

  /** Everything was read anew: what was sent is in it. */
  settle() {
    this.uploads = this.uploads.filter((one) => one.state !== 'sent');
  }

  /** Call `draw` with how much of this one is sent, from 0 to 1: now, and as it grows.
   * @param {string} id @param {(sent: number) => void} draw */
  show(id, draw) {
    this.#views.set(id, draw);
    draw(this.#sent.get(id) ?? 0);
  }

  dispose() {
    const { request } = this.#current ?? {};
    this.#current = null;
    request?.abort();
  }

  /** @param {string} id @param {Partial<Upload>} change */
  #mark(id, change) {
    this.uploads = this.uploads.map((one) => (one.client_id === id ? { ...one, ...change } : one));
    this.onChange();
  }

  /** @param {string} id */
  #drop(id) {
    this.uploads = this.uploads.filter((one) => one.client_id !== id);
    this.#sent.delete(id);
    this.#views.delete(id);
    this.onChange();
  }

  #next() {
    const upload = this.uploads.find((one) => one.state === 'waiting');
    if (this.#current || !upload) { this.onChange(); return; }
    // XMLHttpRequest, because fetch does not tell how much was sent.
    const request = new XMLHttpRequest();
    const id = upload.client_id;
    const call = { method: 'POST', path: `${MESSENGER}/conversations/${encodeURIComponent(upload.conversation_id)}/files` };
    const started = performance.now();
    this.#current = { id, request };
    request.open(call.method, addressOf(call));
    for (const [name, value] of Object.entries(this.rest.authorization)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      if (!event.lengthComputable || !event.total) return;
      this.#sent.set(id, event.loaded / event.total);
      this.#views.get(id)?.(event.loaded / event.total);
    };
    request.onloadend = () => {
      if (this.#current?.request !== request) return;
      this.#current = null;
      const answer = { ok: request.status === 200 || request.status === 201, status: request.status, body: parsed(request.responseText), ms: performance.now() - started };
      this.rest.onAnswer(call, answer);
      if (this.uploads.some((one) => one.client_id === id)) this.#mark(id, answer.ok ? { state: 'sent' } : { state: 'failed', problem: answer });
      this.#next();
    };
    this.#mark(id, { state: 'uploading' });
    request.send(formOf(upload));
  }

  /** A file's bytes; null where it is gone or not to be had. @param {string} path @param {AbortSignal} [signal]
   * @returns {Promise<Blob | null>} */
  async fetch(path, signal) {
    try {
      const response = await this.rest.open(path, { signal });
      if (response.ok) return await response.blob();
      await response.body?.cancel();
    } catch {
      // Cut, or nobody looks at it any more.
    }
    return null;
  }
}

/** @param {Upload} upload */
function formOf(upload) {
  const form = new FormData();
  // Before the file: what comes after it is read only when all of it is there.
  form.set('client_id', upload.client_id);
  if (upload.content) form.set('message', upload.content);
  if (upload.reply_to_id) form.set('reply_to_id', upload.reply_to_id);
  form.set('file', upload.file);
  return form;
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
