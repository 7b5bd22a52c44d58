/** The page: the bar on top, the panels side by side, and what is kept over a reload. */
import { connectView } from './connect-view.js';
import { fill, h, iconButton, icon } from './dom.js';
import { applyLanguage, currentLanguage, setLanguage, t } from './i18n.js';
import { applyTheme, loadPanels, loadTheme, savePanels, takeGuests } from './memory.js';
import { panelView } from './panel.js';
import { readToken } from './protocol.js';
import { ROOT } from './rest.js';
import { Session } from './session.js';

/** @typedef {{session: Session, look: {tools: boolean, tab: string}, view: {element: HTMLElement, dispose: () => void} | null}} Panel */

const bar = /** @type {HTMLElement} */ (document.getElementById('bar'));
const stage = /** @type {HTMLElement} */ (document.getElementById('panels'));
const toasts = /** @type {HTMLElement} */ (document.getElementById('toasts'));

/** Wide enough that tools beside or below a chat leave room for both. */
const ROOMY = '(min-width: 900px)';
/** Wide enough for a list beside a chat. */
const WIDE = '(min-width: 701px)';
const TOAST_MS = 5000;
const SAVE_EVERY_MS = 500;

let config = { dev: false, version: '' };
/** @type {Panel[]} */
const panels = [];
/** The panel a narrow screen shows. */
let front = 0;
let keys = 0;
let saveTimer = 0;

/** @param {string} text */
function say(text) {
  const toast = h('p', { class: 'toast' }, text);
  toasts.append(toast);
  setTimeout(() => toast.remove(), TOAST_MS);
}

function save() {
  clearTimeout(saveTimer);
  saveTimer = 0;
  savePanels(panels.map(({ session, look }) => ({ ...session.saved, look })));
}
const saveSoon = () => { saveTimer ||= setTimeout(save, SAVE_EVERY_MS); };

/** @param {import('./session.js').Credentials} credentials @param {Partial<import('./memory.js').SavedPanel>} [saved] */
function addPanel(credentials, saved = {}) {
  const session = new Session(String((keys += 1)), credentials, saved, config.dev);
  /** @type {Panel} */
  const panel = { session, look: saved.look ?? { tools: matchMedia(ROOMY).matches, tab: 'frames' }, view: null };
  panels.push(panel);
  front = panels.length - 1;
  session.watch(saveSoon);
  session.onNotice(({ kind, text }) => say(t(`notice_${kind}`, { text })));
  session.start();
}

/** @param {Panel} panel */
function closePanel(panel) {
  panel.view?.dispose();
  panel.session.dispose();
  panels.splice(panels.indexOf(panel), 1);
  front = Math.max(0, Math.min(front, panels.length - 1));
  save();
  draw();
}

function drawBar() {
  const theme = loadTheme();
  const nextTheme = { auto: 'light', light: 'dark', dark: 'auto' }[theme];
  const themeLabel = t('theme', { name: t({ auto: 'themeAuto', light: 'themeLight', dark: 'themeDark' }[theme]) });
  fill(bar,
    h('a', { class: 'brand', href: './', 'aria-label': 'Madang' }, h('img', { src: 'mark.svg', alt: '', width: '26', height: '26' }), h('span', {}, 'Madang')),
    h('span', { class: 'product' }, h('span', { class: 'wide' }, t('console')), config.version ? h('span', { class: 'version' }, config.version) : null, config.dev ? h('span', { class: 'tag dev' }, t('dev')) : null),
    panels.length > 1 ? h('div', { class: 'switcher', role: 'group', 'aria-label': t('users') }, panels.map((panel, n) =>
      h('button', { type: 'button', 'aria-pressed': String(n === front), onclick: () => { front = n; drawFront(); } }, panel.session.name || '…'))) : null,
    h('span', { class: 'spring' }),
    panels.length ? h('button', { type: 'button', class: 'button add', 'aria-label': t('addUser'), onclick: openAdd }, icon('plus'), h('span', {}, t('addUser'))) : null,
    h('button', { type: 'button', class: 'button quiet', 'aria-label': t('language'), title: t('language'), onclick: () => { setLanguage(currentLanguage() === 'ko' ? 'en' : 'ko'); redrawAll(); } },
      h('span', { class: 'wide', lang: currentLanguage() === 'ko' ? 'en' : 'ko' }, t('languageShort')), h('span', { class: 'tiny' }, t('languageTiny'))),
    iconButton({ auto: 'auto', light: 'sun', dark: 'moon' }[theme], themeLabel, () => { applyTheme(nextTheme); drawBar(); }));
}

function drawFront() {
  stage.dataset.count = String(Math.min(panels.length, 4));
  panels.forEach((panel, n) => panel.view?.element.classList.toggle('front', n === front));
  bar.querySelectorAll('.switcher button').forEach((button, n) => button.setAttribute('aria-pressed', String(n === front)));
}

function draw() {
  drawBar();
  if (!panels.length) {
    const form = connectView({ dev: config.dev, onConnect: (credentials) => { addPanel(credentials); draw(); } });
    fill(stage, h('section', { class: 'welcome' }, h('img', { src: 'mark.svg', alt: '', width: '64', height: '64' }), h('h1', {}, t('welcome')), h('p', {}, t('welcomeText')), form.element));
    stage.dataset.count = '0';
    form.focus();
    return;
  }
  stage.querySelector('.welcome')?.remove();
  for (const panel of panels) {
    if (panel.view) continue;
    panel.view = panelView(panel.session, { dev: config.dev, say, look: panel.look, onLook: saveSoon, onClose: () => closePanel(panel) });
    stage.append(panel.view.element);
  }
  drawFront();
}

/** The sessions live on; only what is drawn is drawn again, in another language. */
function redrawAll() {
  for (const panel of panels) {
    panel.view?.dispose();
    panel.view = null;
  }
  draw();
}

function openAdd() {
  const close = () => { dialog.close(); dialog.remove(); };
  const form = connectView({ dev: config.dev, onCancel: close, onConnect: (credentials) => { close(); addPanel(credentials); draw(); } });
  const dialog = h('dialog', { class: 'sheet', 'aria-label': t('addUser'), onclose: () => dialog.remove() }, h('h2', {}, t('addUser')), form.element);
  document.body.append(dialog);
  dialog.showModal();
  form.focus();
}

/** Whether two tokens name the same user of the same org: then the cursor holds for both.
 * @param {string} a @param {string} b */
function samePerson(a, b) {
  const [one, other] = [readToken(a), readToken(b)];
  return Boolean(one && other && one.sub === other.sub && one.org === other.org);
}

async function begin() {
  applyLanguage();
  applyTheme(loadTheme());
  const { tokens, users } = takeGuests();
  try {
    const response = await fetch(new URL('console/config.json', ROOT));
    if (response.ok) config = await response.json();
  } catch {
    // Without it the console is one that asks for a token.
  }
  // Somebody in the address is a fresh start; without it the tab goes on where it was.
  const kept = loadPanels();
  const named = config.dev ? users : [];
  for (const token of tokens) addPanel({ token }, kept.find((one) => samePerson(one.credentials.token ?? '', token)));
  for (const devUser of named) {
    addPanel({ devUser }, kept.find((one) => one.credentials.devUser === devUser));
    // A link that names somebody leads to where people talk.
    if (matchMedia(WIDE).matches) panels[panels.length - 1].session.openNewest = true;
  }
  if (!tokens.length && !named.length) for (const saved of kept) addPanel(saved.credentials, saved);
  front = 0;
  draw();
  addEventListener('pagehide', save);
}

begin();
