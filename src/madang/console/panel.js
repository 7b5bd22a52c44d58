/** One user's panel: the line on top, conversations, chat, and the tools. */
import { actionsView } from './actions-view.js';
import { chatView } from './chat-view.js';
import { connectView } from './connect-view.js';
import { avatar, fill, h, icon, iconButton, oncePerFrame, setText } from './dom.js';
import { framesView } from './frames-view.js';
import { t } from './i18n.js';
import { listView } from './list-view.js';

/**
 * @param {import('./session.js').Session} session
 * @param {{dev: boolean, onClose: () => void, say: (text: string) => void, look: {tools: boolean, tab: string}, onLook: () => void}} options
 *   `look` is what of the panel is open; it is written to
 */
export function panelView(session, { dev, onClose, say, look, onLook }) {
  const face = h('span', { class: 'face' });
  const name = h('h1', { class: 'panel-name' });
  const state = h('span', { class: 'state', role: 'status', 'aria-live': 'polite' });
  const cursor = h('span', { class: 'fact cursor' });
  const latency = h('span', { class: 'fact latency' });
  const toggleLine = h('button', { type: 'button', class: 'icon-button' }, icon('plug'));
  const toggleTools = iconButton('tools', '', () => setTools(!look.tools), { class: 'toggle-tools' });
  const trouble = h('div', { class: 'trouble', hidden: true });
  const chat = chatView(session, { onBack: () => { element.classList.remove('in-chat'); session.select(null); }, onAct: () => { setTools(true); setTab('actions'); }, onNew: () => list.openNew(), say });
  const list = listView(session, { say, onFound: () => element.classList.add('in-chat'), onOpen: () => { element.classList.add('in-chat'); if (matchMedia('(hover: hover)').matches) chat.focus(); } });
  const actions = actionsView(session);
  const frames = framesView(session, { say, onEdit: (text) => { setTab('actions'); actions.editRaw(text); } });

  const tab = (id) => h('button', { type: 'button', role: 'tab', id: `tab-${session.key}-${id}`, 'aria-controls': `pane-${session.key}-${id}`, dataset: { tab: id }, onclick: () => setTab(id) }, t(id));
  const tabs = h('div', { class: 'tabs', role: 'tablist', 'aria-label': t('tools') }, tab('frames'), tab('actions'));
  tabs.addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    setTab(look.tab === 'frames' ? 'actions' : 'frames');
    /** @type {HTMLElement} */ (tabs.querySelector('[aria-selected="true"]')).focus();
  });
  const pane = (id, view) => h('div', { class: 'pane', role: 'tabpanel', id: `pane-${session.key}-${id}`, 'aria-labelledby': `tab-${session.key}-${id}` }, view.element);
  const panes = { frames: pane('frames', frames), actions: pane('actions', actions) };
  const tools = h('aside', { class: 'tools', 'aria-label': t('tools') },
    h('header', { class: 'tools-head' }, tabs, iconButton('close', t('hideTools'), () => setTools(false))), panes.frames, panes.actions);

  const element = h('section', { class: 'panel', 'aria-label': session.me, dataset: { key: session.key } },
    h('header', { class: 'panel-head' }, face,
      h('div', { class: 'who' }, name, state),
      h('div', { class: 'facts' }, cursor, latency), toggleLine, toggleTools,
      iconButton('close', t('closePanel', { name: session.me }), onClose)),
    trouble, h('div', { class: 'panel-body' }, list.element, chat.element, tools));
  if (session.selected) element.classList.add('in-chat');

  toggleLine.addEventListener('click', () => {
    const { phase } = session.line;
    if (phase === 'live' || phase === 'connecting' || phase === 'waiting') session.connection.disconnect();
    else session.connection.connect();
  });

  /** @param {boolean} on */
  function setTools(on) {
    look.tools = on;
    element.classList.toggle('with-tools', on);
    toggleTools.setAttribute('aria-pressed', String(on));
    toggleTools.setAttribute('aria-label', t(on ? 'hideTools' : 'showTools'));
    toggleTools.title = t(on ? 'hideTools' : 'showTools');
    onLook();
  }

  /** @param {string} id */
  function setTab(id) {
    look.tab = id;
    for (const one of tabs.querySelectorAll('button')) {
      one.setAttribute('aria-selected', String(one.dataset.tab === id));
      one.tabIndex = one.dataset.tab === id ? 0 : -1;
    }
    panes.frames.hidden = id !== 'frames';
    panes.actions.hidden = id !== 'actions';
    onLook();
  }

  let troubleFor = '';
  function drawTrouble() {
    const { phase, why, reason, code } = session.line;
    const key = phase === 'live' || phase === 'idle' || phase === 'connecting' ? '' : `${phase} ${why} ${code}`;
    if (key === troubleFor) return;
    troubleFor = key;
    trouble.hidden = !key;
    if (!key) return;
    const stopped = phase === 'refused' && (why === 'refused' || why === 'expired');
    const kept = phase === 'refused' ? null : h('span', {}, t('kept'));
    const text = h('p', {}, h('strong', {}, t(`why_${why ?? 'lost'}`)), kept, code && code !== 1006 ? h('span', { class: 'close-code' }, `${code}${reason ? ` ${reason}` : ''}`) : null);
    const again = h('button', { type: 'button', class: 'button small', onclick: () => session.connection.connect() }, t(phase === 'refused' || why === 'paused' ? 'reconnect' : 'tryNow'));
    if (!stopped) { fill(trouble, text, again); return; }
    const form = connectView({ dev: false, onConnect: ({ token }) => session.replaceToken(token ?? '') });
    fill(trouble, text, dev && session.credentials.devUser ? again : null, h('details', {}, h('summary', {}, t('useToken')), form.element));
  }

  function drawState() {
    const { phase, retryAt, why } = session.line;
    element.dataset.phase = phase;
    const seconds = retryAt ? Math.ceil((retryAt - Date.now()) / 1000) : 0;
    const text = phase === 'waiting' ? (seconds > 0 ? t('waiting', { s: seconds }) : t('waitingNow'))
      : phase === 'refused' && why === 'expired' ? t('expired') : phase === 'refused' && why === 'removed' ? t('removedLine') : t(phase);
    setText(state, text);
    const on = phase === 'live' || phase === 'connecting' || phase === 'waiting';
    toggleLine.setAttribute('aria-label', t(on ? 'disconnect' : 'reconnect'));
    toggleLine.title = t(on ? 'disconnect' : 'reconnect');
    toggleLine.setAttribute('aria-pressed', String(on));
    setText(cursor, session.state.cursor ? `${t('cursor')} ${session.state.cursor}` : '');
    setText(latency, session.latency === null ? '' : `${t('latency')} ${session.latency < 10 ? session.latency.toFixed(1) : Math.round(session.latency)} ms`);
  }

  let shownName = '';
  function draw() {
    if (`${session.me} ${session.name}` !== shownName) {
      shownName = `${session.me} ${session.name}`;
      fill(face, avatar(session.name));
      fill(name, session.name, session.name === session.me ? null : h('span', { class: 'panel-id' }, session.me));
      element.setAttribute('aria-label', session.me);
    }
    drawState();
    drawTrouble();
  }

  const unwatch = session.watch(oncePerFrame(() => {
    // A conversation may come up without a click: on a narrow screen it is what is shown.
    if (session.selected) element.classList.add('in-chat');
    draw();
  }));
  // The countdown moves without anything happening on the wire.
  const ticking = setInterval(() => { if (session.line.phase === 'waiting') drawState(); }, 250);
  setTools(look.tools);
  setTab(look.tab);
  draw();
  return {
    element,
    dispose() {
      unwatch();
      clearInterval(ticking);
      for (const view of [list, chat, frames, actions]) view.dispose();
      element.remove();
    },
  };
}
