/** Polls for who takes part: choose and send, then see the results move. */
import { empty, resultsView, votersText } from './parts.js';
import { fill, h, keyed, setAttr, setText, show } from './dom.js';
import { t } from './i18n.js';
import { latestPolls } from './room.js';

/** @param {any} seat */
export function pollsView(seat) {
  const { room } = seat;
  const list = h('ol', { class: 'polls' });
  const nothing = h('div', {});
  const draw = keyed(list, (poll) => poll.id, (poll) => pollPart(seat, poll));
  const element = h('div', { class: 'polls-part' }, nothing, list);
  return {
    element,
    update() {
      const polls = latestPolls(room);
      draw(polls);
      if (!polls.length && seat.loaded) {
        if (!nothing.firstChild) fill(nothing, empty('poll', t('noPolls'), t('noPollsText')));
      } else if (nothing.firstChild) fill(nothing);
      show(list, polls.length > 0);
    },
  };
}

/** @param {any} seat @param {import('./room.js').Poll} first */
function pollPart(seat, first) {
  const { room } = seat;
  let poll = first;
  let changing = false;
  const title = h('h2', { class: 'text', id: `poll-${first.id}` });
  const tag = h('span', { class: 'tag' });
  const kind = h('span', { class: 'meta' });
  const voters = h('p', { class: 'meta voters' });
  const results = resultsView(first);
  const change = h('button', { type: 'button', class: 'button quiet change', onclick: () => { changing = true; update(poll); } }, t('changeVote'));
  const thanks = h('p', { class: 'thanks', role: 'status' });
  const send = h('button', { type: 'submit', class: 'button primary wide' }, t(first.kind === 'cloud' ? 'addWord' : 'vote'));
  const choose = first.kind === 'cloud' ? wordField(first.most) : choices(first, () => { send.disabled = !choose.read().length; });
  const form = h('form', { onsubmit: (event) => { event.preventDefault(); submit(); } }, choose.element, send);
  const element = h('li', { class: 'poll', 'aria-labelledby': `poll-${first.id}` },
    h('div', { class: 'poll-head' }, tag, kind), title, form, thanks, results.element, h('div', { class: 'poll-foot' }, voters, change));
  if (first.kind === 'cloud') choose.element.addEventListener('input', () => { send.disabled = !choose.read().length; });
  send.disabled = true;

  function submit() {
    const chosen = choose.read();
    if (!chosen.length) return;
    changing = false;
    seat.send({ type: 'poll_vote', message_id: poll.id, ...(poll.kind === 'cloud' ? { words: chosen } : { choices: chosen }) });
    setText(thanks, t('voteCounted'));
  }

  /** @param {import('./room.js').Poll} next */
  function update(next) {
    poll = next;
    const mine = seat.answer(next);
    const votes = next.open && room.status === 'active';
    const asking = votes && (!mine.length || changing);
    setText(title, next.question);
    setText(tag, t(next.open ? 'pollRunning' : 'pollClosed'));
    setAttr(tag, 'class', next.open ? 'tag act' : 'tag');
    setText(kind, t(`kind_${next.kind}`));
    show(form, asking);
    show(results.element, !asking);
    show(change, votes && !asking);
    show(thanks, !asking && Boolean(thanks.textContent));
    setText(voters, votersText(next));
    if (!asking) results.update(next, mine);
  }
  return { element, update };
}

/** Radio buttons or check boxes. @param {import('./room.js').Poll} poll @param {() => void} changed */
function choices(poll, changed) {
  const many = poll.kind === 'multiple';
  const inputs = poll.options.map((_, n) => h('input', { type: many ? 'checkbox' : 'radio', name: `choice-${poll.id}`, value: String(n), onchange: changed }));
  const element = h('fieldset', { class: 'choices' }, h('legend', { class: 'offscreen' }, poll.question),
    poll.options.map((text, n) => h('label', { class: 'choice' }, inputs[n], h('span', { class: 'text' }, text))));
  return { element, read: () => inputs.map((input, n) => (input.checked ? n : -1)).filter((n) => n >= 0) };
}

/** One word, or several with commas between. @param {number} most */
function wordField(most) {
  const input = h('input', { type: 'text', maxlength: 40, autocomplete: 'off', enterkeyhint: 'send' });
  const element = h('label', { class: 'field' }, h('span', {}, t('word')), input, most > 1 && h('small', {}, t('wordsHint', { n: most })));
  return { element, read: () => input.value.split(',').map((word) => word.trim()).filter(Boolean).slice(0, most) };
}
