/** `/r/CODE/screen`: what the hall sees: how to join, the question being answered, the open poll, who
 * is here. In the host's browser it reads as the host; anywhere else it takes a seat of its own. */
import { fill, h, icon, keyed, oncePerFrame, setAttr, setText, show } from './dom.js';
import { number, t } from './i18n.js';
import { deviceName, keepRoom, keptRoom } from './keep.js';
import { alone, explain, languageSwitch, lineView, resultsView, votersText } from './parts.js';
import { getSession, joinAddress, qrAddress, takeSeat } from './rest.js';
import { liveQuestion, onlineCount, openPoll, pending, sorted } from './room.js';
import { createSeat } from './seat.js';
import './words-host.js';

const RETRY_MS = 3000;
/** Questions that are listed while none is being answered. */
const LISTED = 4;
/** What does not fit is drawn smaller, but no smaller than this part of its size. */
const SMALLEST = 0.3;
const root = /** @type {HTMLElement} */ (document.getElementById('root'));
const code = (decodeURIComponent(location.pathname).replace(/\/+$/, '').split('/').slice(-2)[0] || '').toUpperCase();
let draw = () => {};

async function begin() {
  const kept = keptRoom(code) || { host_token: '', screen: null };
  try {
    if (kept.host_token) {
      const seat = await takeSeat(code, { nickname: t('host') }, kept.host_token);
      run({ participant_id: seat.participant_id, token: kept.host_token, nickname: seat.nickname }, true);
    } else if (kept.screen) run(kept.screen, false);
    else {
      const session = await getSession(code);
      draw = () => alone(root, draw, h('p', { class: 'meta' }, code), h('h1', { class: 'text' }, session.title), h('p', { class: 'lead' }, t('screenAsk')),
        h('div', { class: 'actions' }, h('button', { type: 'button', class: 'button primary wide', onclick: take }, t('screenStart'))));
      draw();
    }
  } catch (error) {
    failed(error);
  }
}

async function take() {
  try {
    const seat = await takeSeat(code, { nickname: t('screenSeat'), device: deviceName() });
    keepRoom(code, { screen: seat });
    run(seat, false);
  } catch (error) {
    failed(error);
  }
}

/** @param {any} error */
function failed(error) {
  if (error.status === undefined) throw error;
  const gone = error.status === 404 || error.status === 422;
  draw = () => alone(root, draw, h('h1', {}, t(gone ? 'notFound' : 'lost')), h('p', { class: 'lead', role: 'status' }, gone ? t('notFoundText') : explain(error)));
  draw();
  if (!gone) setTimeout(begin, error.retryAfter || RETRY_MS);
}

/** @param {import('./keep.js').Seat} place @param {boolean} host */
function run(place, host) {
  let view = { update() {} };
  const update = oncePerFrame(() => view.update());
  const seat = createSeat(code, place, { host, keeps: false }, {
    onChange: update,
    onEnd: () => { seat.end(); view = { update() {} }; keepRoom(code, { screen: undefined }); failed({ status: 404 }); },
    onProblem: () => {},
  });
  const { room } = seat;

  function build() {
    fitted = '';
    const line = lineView(() => seat.connect());
    const title = h('h1', { class: 'name' });
    const people = h('strong', {});
    const asked = h('strong', {});
    const liveText = h('p', { class: 'text' });
    const liveBy = h('p', { class: 'by name' });
    const live = h('section', { class: 'screen-live', 'aria-labelledby': 'live-title' }, h('h2', { id: 'live-title' }, icon('live'), t('nowLive')), liveText, liveBy);
    const pollTitle = h('h2', { class: 'text' });
    const pollPlace = h('div', {});
    const pollVoters = h('p', { class: 'by' });
    const poll = h('section', { class: 'screen-poll', 'aria-label': t('results') }, pollTitle, pollPlace, pollVoters);
    /** @type {{id: string, view: ReturnType<typeof resultsView>} | null} */
    let results = null;
    const list = h('ol', {});
    const drawList = keyed(list, (question) => question.id, questionPart);
    const top = h('section', { class: 'screen-top', 'aria-labelledby': 'top-title' }, h('h2', { id: 'top-title' }, t('screenTop')), list);
    const invite = h('section', { class: 'screen-invite' }, h('h2', {}));
    const address = joinAddress().replace(/^https?:\/\//, '').replace(/\/$/, '');
    const ways = h('aside', { class: 'ways', 'aria-label': t('screenJoin') },
      h('p', { class: 'ways-title' }, t('screenJoin')),
      h('div', { class: 'qr' }, h('img', { src: qrAddress(code), alt: t('screenQr') })),
      h('p', { class: 'address' }, address),
      h('p', { class: 'big-code', 'aria-label': `${t('screenCode')} ${[...code].join(' ')}` }, code));
    const full = h('button', { type: 'button', class: 'icon-button', 'aria-label': t('fullScreen'), onclick: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()) }, icon('screen'));
    show(full, Boolean(document.documentElement.requestFullscreen));
    const stage = h('main', {}, live, poll, top, invite);
    const frame = h('div', { class: 'screen' },
      h('header', {}, title, h('p', { class: 'sums' }, icon('people'), people, ' ', t('screenPeople'), h('span', { class: 'dot' }, '·'), icon('question'), asked, ' ', t('screenQuestions')), full, languageSwitch(() => { build(); view.update(); })),
      line.element, h('div', { class: 'screen-body' }, stage, ways));
    fill(root, frame);

    view = {
      update() {
        document.title = `${room.title || code} · Madang`;
        setText(title, room.title || code);
        setText(people, number(onlineCount(room)));
        const visible = sorted(room, 'top').filter((question) => question.state !== 'dismissed' && !pending(room, question));
        setText(asked, number(visible.length));
        line.update(seat.line, seat.loaded, false);
        const question = liveQuestion(room);
        show(live, Boolean(question));
        if (question) {
          setText(liveText, question.text);
          setText(liveBy, `${question.name || t('anonymous')} · ${t('votesMany', { n: number(question.votes) })}`);
        }
        const now = openPoll(room);
        show(poll, Boolean(now));
        if (now) {
          if (!results || results.id !== now.id) {
            results = { id: now.id, view: resultsView(now) };
            fill(pollPlace, results.view.element);
          }
          setText(pollTitle, now.question);
          setText(pollVoters, votersText(now));
          results.view.update(now, []);
        }
        const waiting = room.settings.questions_visible === 'host' ? [] : visible.filter((one) => one.state === 'open' || one.state === 'approved').slice(0, LISTED);
        show(top, !question && !now && waiting.length > 0 && room.status === 'active');
        drawList(waiting);
        const idle = !question && !now && top.hidden;
        show(invite, idle);
        if (idle) setText(invite.firstElementChild, room.status === 'ended' ? t('screenEnded') : room.status === 'paused' ? t('screenPaused') : room.title);
        setAttr(frame, 'data-idle', idle ? 'true' : 'false');
        show(ways, room.status !== 'ended');
        fit(stage, [question && question.text, now && now.question, now && now.options.join(), now && now.words.length, waiting.map((one) => one.id).join(), innerWidth, innerHeight].join('\n'));
        setAttr(root, 'data-ready', seat.ready ? 'true' : 'false');
      },
    };
  }

  addEventListener('resize', update);
  build();
  view.update();
  seat.connect();
}

let fitted = '';

/** Make all of it as large as fits. @param {HTMLElement} stage @param {string} about what it depends on */
function fit(stage, about) {
  if (about === fitted) return;
  fitted = about;
  for (let size = 1; size > SMALLEST; size -= 0.06) {
    stage.style.setProperty('--fit', size.toFixed(2));
    if (stage.scrollHeight <= stage.clientHeight + 1) return;
  }
}

function questionPart() {
  const text = h('p', { class: 'text' });
  const votes = h('span', { class: 'votes' });
  return {
    element: h('li', {}, h('span', { class: 'sum' }, icon('up'), votes), text),
    /** @param {import('./room.js').Question} question */
    update(question) {
      setText(text, question.text);
      setText(votes, number(question.votes));
    },
  };
}

begin();
