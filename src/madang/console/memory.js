/**
 * What outlives a reload: who is connected and up to where, per browser tab. The tokens lie in
 * sessionStorage, which ends with the tab; the theme is kept for good.
 *
 * @typedef {import('./session.js').Saved & {look: {tools: boolean, tab: string}}} SavedPanel
 */

const PANELS = 'madang.panels';
const THEME = 'madang.theme';

/** @returns {SavedPanel[]} */
export function loadPanels() {
  try {
    const saved = JSON.parse(sessionStorage.getItem(PANELS) ?? '[]');
    return Array.isArray(saved) ? saved.filter((one) => one?.credentials) : [];
  } catch {
    return [];
  }
}

/** @param {SavedPanel[]} panels */
export function savePanels(panels) {
  try {
    sessionStorage.setItem(PANELS, JSON.stringify(panels));
  } catch {
    // A full storage costs the reload its memory, nothing else.
  }
}

/** @typedef {'auto' | 'light' | 'dark'} Theme */

/** @returns {Theme} */
export function loadTheme() {
  const saved = localStorage.getItem(THEME);
  return saved === 'light' || saved === 'dark' ? saved : 'auto';
}

/** @param {Theme} theme */
export function applyTheme(theme) {
  localStorage.setItem(THEME, theme);
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Who the address names: tokens, and users for a development server. They are taken out of it, so
 * that tokens stay out of history and screenshots. @returns {{tokens: string[], users: string[]}} */
export function takeGuests() {
  const url = new URL(location.href);
  const [tokens, users] = ['token', 'user'].map((name) => url.searchParams.getAll(name).filter(Boolean));
  if (tokens.length || users.length) {
    url.searchParams.delete('token');
    url.searchParams.delete('user');
    history.replaceState(history.state, '', url);
  }
  return { tokens, users };
}
