/**
 * Every action of the contract as a form: its fields and the frame or call it makes. Pure values;
 * `actions-view.js` draws them.
 *
 * @typedef {{conversation: string, message: string, text: string, me: string, cursor: string, seq: string, other: string, token: string}} Context
 *   what is selected now, for filling the forms
 * @typedef {{name: string, kind?: 'text' | 'long' | 'number' | 'json' | 'list' | 'choice' | 'bool', from?: keyof Context,
 *   value?: string, choices?: string[], optional?: boolean}} Field
 * @typedef {Record<string, any>} Values   by field name, already parsed; empty optional ones are absent
 * @typedef {object} Action
 * @property {string} id @property {string} group @property {string} label
 * @property {Field[]} fields
 * @property {'admin' | 'service'} [role]  what the caller's token must have
 * @property {(values: Values) => object} [frame]
 * @property {(values: Values) => import('./rest.js').Call} [call]
 */
import { EVENTS, MESSENGER } from './rest.js';

/** @type {Field} */ const conversation = { name: 'conversation_id', from: 'conversation' };
/** @type {Field} */ const message = { name: 'message_id', from: 'message' };
/** @type {Field} */ const content = { name: 'content', kind: 'long' };
/** @type {Field} */ const metadata = { name: 'metadata', kind: 'json', optional: true };
/** @type {Field} */ const limit = { name: 'limit', kind: 'number', value: '50', optional: true };
const seg = encodeURIComponent;

/** A frame whose fields are just the form's. @param {string} group @param {string} type @param {...Field} fields @returns {Action} */
function frame(group, type, ...fields) {
  return { id: type, group, label: type, fields, frame: (values) => ({ type, ...values }) };
}

/**
 * A REST call; `:name` in the path takes a field out of the form, the rest becomes the query of a
 * GET and the body of anything else.
 * @param {string} group @param {string} method @param {string} path @param {Field[]} fields
 * @param {{base?: string, idempotent?: boolean, role?: 'admin' | 'service'}} [more] @returns {Action}
 */
function call(group, method, path, fields, { base = MESSENGER, idempotent = false, role } = {}) {
  return {
    role, id: `${method} ${path}`, group, label: `${method} ${path.replace(/:conversation_id|:message_id|:user_id/g, (name) => (name === ':user_id' ? '{user}' : '{id}'))}`, fields,
    call: (values) => {
      const rest = { ...values };
      /** @type {Record<string, string>} */
      const headers = {};
      if (idempotent && rest.idempotency_key) headers['Idempotency-Key'] = rest.idempotency_key;
      if (idempotent) delete rest.idempotency_key;
      const filled = path.replace(/:(\w+)/g, (_, name) => {
        const value = rest[name] ?? '';
        delete rest[name];
        return seg(value);
      });
      const some = Object.keys(rest).length > 0;
      return {
        method, path: `${base}${filled}`, headers,
        ...(method === 'GET' ? { query: rest } : method === 'DELETE' && !some ? {} : { body: rest }),
      };
    },
  };
}


/** @type {Action[]} */
export const ACTIONS = [
  frame('connection', 'subscribe', conversation, { name: 'after', kind: 'number', optional: true }),
  frame('connection', 'unsubscribe', conversation),
  frame('connection', 'resume', { name: 'cursor', kind: 'number', from: 'cursor' }),
  frame('connection', 'token.refresh', { name: 'token', from: 'token', kind: 'long' }),
  frame('connection', 'ping'),

  frame('messages', 'message.send', conversation, content, { name: 'message_type', value: 'text', optional: true },
    { name: 'client_id', optional: true }, { name: 'reply_to_id', optional: true }, { name: 'attachments', kind: 'json', optional: true }, metadata),
  frame('messages', 'message.edit', message, { ...content, from: 'text' }),
  frame('messages', 'message.delete', message),
  frame('messages', 'message.read', message),
  frame('messages', 'reaction.add', message, { name: 'emoji', value: '👍' }),
  frame('messages', 'reaction.remove', message, { name: 'emoji', value: '👍' }),

  frame('people', 'typing.start', conversation),
  frame('people', 'typing.stop', conversation),
  frame('people', 'typing', conversation),
  frame('people', 'presence.set', { name: 'status', kind: 'choice', choices: ['online', 'away', 'dnd'] }),

  call('restConversations', 'POST', '/conversations', [
    { name: 'kind', kind: 'choice', choices: ['direct', 'group'] }, { name: 'participant_ids', kind: 'list', from: 'other' },
    { name: 'title', optional: true }, metadata,
  ]),
  call('restConversations', 'GET', '/conversations', [{ name: 'page', optional: true }]),
  call('restConversations', 'GET', '/conversations/:conversation_id', [conversation]),
  call('restConversations', 'PATCH', '/conversations/:conversation_id', [conversation, { name: 'title', optional: true }, metadata]),
  call('restConversations', 'DELETE', '/conversations/:conversation_id', [conversation]),
  call('restConversations', 'POST', '/conversations/:conversation_id/read', [conversation, message]),
  call('restConversations', 'GET', '/conversations/:conversation_id/notification-settings', [conversation]),
  call('restConversations', 'PUT', '/conversations/:conversation_id/notification-settings', [
    conversation, { name: 'level', kind: 'choice', choices: ['all', 'mentions', 'none'] }, { name: 'muted_until', optional: true },
  ]),

  call('restMessages', 'GET', '/conversations/:conversation_id/messages', [
    conversation, { name: 'before', optional: true }, { name: 'after', optional: true }, { name: 'around', optional: true }, limit,
  ]),
  call('restMessages', 'POST', '/conversations/:conversation_id/messages', [
    conversation, content, { name: 'message_type', value: 'text', optional: true }, { name: 'idempotency_key', optional: true },
    { name: 'reply_to_id', optional: true }, metadata,
  ], { idempotent: true }),
  call('restMessages', 'GET', '/messages/:message_id', [message]),
  call('restMessages', 'PATCH', '/messages/:message_id', [message, { ...content, from: 'text' }]),
  call('restMessages', 'DELETE', '/messages/:message_id', [message]),
  call('restMessages', 'GET', '/messages/:message_id/receipts', [message]),

  call('restPeople', 'POST', '/conversations/:conversation_id/participants', [
    conversation, { name: 'user_ids', kind: 'list' }, { name: 'role', kind: 'choice', choices: ['member', 'admin'], optional: true },
  ]),
  call('restPeople', 'DELETE', '/conversations/:conversation_id/participants/:user_id', [conversation, { name: 'user_id', from: 'other' }]),
  call('restPeople', 'GET', '/presence', [{ name: 'user_ids', from: 'other' }]),
  call('restPeople', 'GET', '/presence/online', [{ name: 'zone', optional: true }]),
  call('restPeople', 'GET', '/stats', [], { role: 'admin' }),

  call('log', 'POST', '/events', [
    { name: 'type', value: 'task_interaction' }, { name: 'payload', kind: 'json', value: '{"task": 1, "state": "done"}' },
    { name: 'conversation_id', from: 'conversation', optional: true }, { name: 'user_id', optional: true }, { name: 'idempotency_key', optional: true },
  ], { base: 'api/v1', role: 'service' }),
  call('log', 'GET', '/events', [{ name: 'cursor', from: 'cursor', optional: true }, limit], { base: 'api/v1' }),
  call('log', 'GET', '/devices', [], { base: EVENTS }),
];

/**
 * The form's texts as values. @param {Action} action @param {Record<string, string>} texts
 * @returns {{values: Values} | {bad: string}} `bad` names the field that is not what it should be
 */
export function readForm(action, texts) {
  /** @type {Values} */
  const values = {};
  for (const field of action.fields) {
    const text = texts[field.name] ?? '';
    if (field.optional && text.trim() === '') continue;
    if (field.kind === 'json') {
      try {
        values[field.name] = JSON.parse(text);
      } catch {
        return { bad: field.name };
      }
    } else if (field.kind === 'list') values[field.name] = splitList(text);
    // What is not a number goes as it is: trying wrong types is what a console is for.
    else if (field.kind === 'number') values[field.name] = text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
    else values[field.name] = text;
  }
  return { values };
}

/** @param {string} text */
export function splitList(text) {
  return text.split(/[,\s]+/).map((part) => part.trim()).filter(Boolean);
}

/** What a field starts with. @param {Field} field @param {Context} context */
export function prefill(field, context) {
  return (field.from && context[field.from]) || (field.value ?? field.choices?.[0] ?? '');
}
