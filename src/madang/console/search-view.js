/** The search field above the conversations: what may be asked, what was found, and the way to each message. */
import { listed, nameOf, titleOf, uid } from './conversations.js';
import { fill, h, icon, iconButton, setText } from './dom.js';
import { shortWhen, t } from './i18n.js';
import { previewOf } from './preview.js';
import { OPERATORS, lastWord, partsOf, placesIn, unfinished, withLastWord } from './search.js';

/** Whoever has stopped typing for this long wants to see. */
const TYPED_MS = 350;
const MOST_HINTS = 6;
const DAY_MS = 86400000;
/** Days back that are offered behind `after:` and `before:`. */
const DAYS = [0, 7, 30];

/** @typedef {{word: string, says: string}} Hint  the word that it puts into the field */

/** @param {import('./session.js').Session} session
 * @param {{onFound: () => void, say: (text: string) => void}} on */
export function searchView(session, { onFound, say }) {
  const { search } = session;
  let timer = 0;
  /** @type {any[]} */
  let drawn = [];
  let opened = '';
  let hinted = '';

  const input = h('input', { type: 'search', placeholder: t('search'), 'aria-label': t('search'), autocomplete: 'off', spellcheck: 'false', maxlength: '500', enterkeyhint: 'search', value: search.text });
  const clear = iconButton('close', t('clearSearch'), () => { end(); input.focus(); }, { class: 'search-clear' });
  const hints = h('ul', { class: 'search-hints', hidden: true, 'aria-label': t('searchHints') });
  const form = h('form', { role: 'search', onsubmit: (event) => { event.preventDefault(); look(); } }, h('div', { class: 'search-field' }, icon('search'), input, clear), hints);
  const status = h('p', { class: 'search-status', role: 'status', 'aria-live': 'polite' });
  const hits = h('ol', { class: 'hits', 'aria-label': t('searchResults') });
  const more = h('button', { type: 'button', class: 'button more', onclick: () => goOn() }, t('moreResults'));
  const results = h('div', { class: 'search-results' }, status, hits, more);
  const element = h('div', { class: 'search' }, form, results);

  function look() {
    clearTimeout(timer);
    const query = input.value.trim();
    if (query) search.find(query);
  }

  function end() {
    clearTimeout(timer);
    input.value = '';
    opened = '';
    search.clear();
    drawHints();
  }

  input.addEventListener('input', () => {
    search.text = input.value;
    clearTimeout(timer);
    if (!input.value.trim()) search.clear();
    // What was wrong with the query before says nothing of this one.
    else if (search.problem) search.retract(input.value);
    if (input.value.trim() && !unfinished(input.value)) timer = setTimeout(look, TYPED_MS);
    drawHints();
  });
  // A press on a hint leaves the focus, and with it the hints, where they are.
  hints.addEventListener('pointerdown', (event) => event.preventDefault());
  form.addEventListener('focusin', () => drawHints());
  form.addEventListener('focusout', (event) => { if (!(event.relatedTarget instanceof Node && form.contains(event.relatedTarget))) drawHints(false); });
  element.addEventListener('keydown', (event) => {
    if (event.isComposing) return;
    if (event.key === 'Escape' && (input.value || document.activeElement !== input)) {
      event.preventDefault();
      if (document.activeElement === input) end();
      else input.focus();
    }
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const stops = /** @type {HTMLElement[]} */ ([input, ...element.querySelectorAll('.hint, .hit, .more')]).filter((one) => one.checkVisibility());
    const next = stops[stops.indexOf(/** @type {HTMLElement} */ (document.activeElement)) + (event.key === 'ArrowDown' ? 1 : -1)];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });

  /** What can stand in the place of the word being typed. @returns {Hint[]} */
  function offers() {
    const word = lastWord(input.value);
    const [, operator, start] = /^(from|in|has|after|before):(.*)$/i.exec(word) ?? [];
    const wanted = (start ?? '').toLowerCase();
    if (!operator) return OPERATORS.filter((one) => one.startsWith(word.toLowerCase()) && (word || !input.value)).map((one) => ({ word: one, says: t(`hint_${one.replace(/:.*/, '')}`) }));
    if (/^has$/i.test(operator)) return wanted === 'file' ? [] : [{ word: 'has:file', says: t('hint_has') }];
    if (/^(after|before)$/i.test(operator)) {
      return DAYS.map((days) => ({ word: `${operator}:${new Date(Date.now() - days * DAY_MS).toISOString().slice(0, 10)}`, says: t(`day_${days}`) })).filter((one) => one.word.startsWith(word) && one.word !== word);
    }
    const entries = listed(session.state);
    if (/^in$/i.test(operator)) {
      const open = entries.filter(({ about }) => about.id === session.selected);
      return [...open, ...entries.filter((one) => !open.includes(one))].map(({ about }) => ({ word: `${operator}:${about.id}`, says: titleOf(session.state, about) || t('group') }))
        .filter((one) => one.word !== word && (one.says.toLowerCase().includes(wanted) || one.word.startsWith(word)));
    }
    const { agents } = session.state;
    // An outline names its agent as it is on offer; one from outside goes by its user id.
    const agentOf = (about) => [...agents].find(([, name]) => name === about.agent_name)?.[0] ?? uid(about.agent_id);
    const users = new Map(entries.flatMap(({ about }) => (about.outline ? [[agentOf(about), String(about.agent_name)]] : about.participants.map((p) => [uid(p.user_id), nameOf(session.state, p.user_id, about)]))));
    return [...users].map(([id, name]) => ({ word: `${operator}:${/\s/.test(id) ? `"${id}"` : id}`, says: id === session.me ? t('you') : name }))
      .filter((one) => one.word !== word && (one.says.toLowerCase().includes(wanted) || one.word.toLowerCase().startsWith(word.toLowerCase())));
  }

  /** @param {Hint} hint */
  function take({ word }) {
    input.value = withLastWord(input.value, word) + (word.endsWith(':') ? '' : ' ');
    input.focus();
    input.dispatchEvent(new Event('input'));
  }

  /** @param {boolean} [wanted] */
  function drawHints(wanted = form.contains(document.activeElement)) {
    const offered = wanted ? offers().slice(0, MOST_HINTS) : [];
    clear.hidden = !input.value;
    const key = JSON.stringify(offered);
    if (key === hinted) return;
    hinted = key;
    hints.hidden = !offered.length;
    // The id of a conversation says nothing to people: its title does.
    fill(hints, offered.map((one) => h('li', {}, h('button', { type: 'button', class: 'hint', onclick: () => take(one) },
      h('code', {}, one.word.startsWith('in:') && one.word.length > 3 ? 'in:' : one.word), h('span', {}, one.says)))));
  }

  function said() {
    const { busy, problem, results: found, next } = search;
    if (problem) return problemText(problem);
    if (busy && !found.length) return t('searching');
    const places = placesIn(search.query).map((id) => session.state.conversations.get(id)?.about).filter(Boolean).map((about) => titleOf(session.state, about)).join(', ');
    const count = !found.length ? t(next ? 'noneYet' : 'noneFound') : t(next ? 'foundSoFar' : found.length === 1 ? 'foundOne' : 'foundN', { n: found.length });
    return places ? `${count} · ${t('foundIn', { title: places })}` : count;
  }

  /** What the conversation of a result is called, once it is known. @param {Record<string, any>} one */
  function placeOf(one) {
    const about = session.state.conversations.get(one.conversation_id)?.about;
    return about && (titleOf(session.state, about) || t(about.kind === 'inbox' ? 'inbox' : 'group'));
  }

  /** @param {Record<string, any>} one  a result */
  function hit(one) {
    const about = session.state.conversations.get(one.conversation_id)?.about;
    const title = placeOf(one) ?? t('anotherConversation');
    const by = uid(one.sender_id) === session.me ? t('you') : nameOf(session.state, one.sender_id, about);
    const marked = (highlight) => partsOf(highlight).map((part) => (part.found ? h('mark', {}, part.text) : part.text));
    const content = one.highlights.filter((part) => part.field === 'content');
    const files = one.highlights.filter((part) => part.field === 'attachment');
    const names = files.length ? files.map(marked) : (one.attachments ?? []).slice(0, 3).map((file) => file?.name ?? t('attachment'));
    return h('li', {}, h('button', { type: 'button', class: 'hit', 'aria-current': one.id === opened ? 'true' : null, dataset: { id: one.id }, onclick: () => open(one) },
      h('span', { class: 'top' }, h('strong', {}, title), h('time', { datetime: one.created_at }, shortWhen(one.created_at))),
      h('span', { class: 'hit-text' }, h('b', {}, `${by}: `), one.message_type === 'question' ? h('span', { class: 'tag' }, t('question')) : null,
        content.length ? content.slice(0, 2).map(marked) : names.length && !one.content ? null : previewOf(one).slice(0, 200)),
      names.map((name) => h('span', { class: 'hit-file' }, icon('file'), h('span', {}, name)))));
  }

  /** @param {Record<string, any>} one */
  async function open(one) {
    opened = one.id;
    for (const button of hits.querySelectorAll('.hit')) {
      if (/** @type {HTMLElement} */ (button).dataset.id === opened) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
    }
    if (await session.openAt(one.conversation_id, one.id)) onFound();
    else say(t('hitGone'));
  }

  /** The next page; the focus goes to what is new. */
  async function goOn() {
    const before = search.results.length;
    await search.more();
    draw();
    /** @type {HTMLElement | undefined} */ ([...hits.querySelectorAll('.hit')][before])?.focus();
  }

  function draw() {
    results.hidden = !search.query;
    const places = search.results.map((one) => placeOf(one) ?? '').join();
    const from = [search.results, search.next, search.busy, search.problem, search.query, session.state.agents, places];
    if (from.length === drawn.length && from.every((value, n) => value === drawn[n])) return;
    drawn = from;
    clear.hidden = !input.value;
    setText(status, search.query ? said() : '');
    status.classList.toggle('problem', Boolean(search.problem));
    const held = /** @type {HTMLElement | null} */ (hits.contains(document.activeElement) ? document.activeElement : null)?.dataset.id;
    fill(hits, search.results.map(hit));
    if (held) /** @type {HTMLElement | null} */ (hits.querySelector(`[data-id="${held}"]`))?.focus();
    more.hidden = !search.next;
    more.setAttribute('aria-busy', String(search.busy));
  }

  return {
    element,
    /** Whether it stands in the place of the list. */
    get open() { return Boolean(search.query); },
    draw,
    dispose() { clearTimeout(timer); },
  };
}

/** @param {import('./rest.js').Answer} problem */
function problemText({ status, body }) {
  if (status === 422 || status === 400) return t('searchUnread', { why: String(body?.detail ?? '').replace(/^q: /, '') });
  if (status === 429) return t('searchTooMany', { s: Math.ceil((body?.retry_after ?? 1000) / 1000) });
  return t(status === 404 ? 'searchOff' : 'searchFailed');
}
