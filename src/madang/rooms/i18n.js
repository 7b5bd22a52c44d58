/** The language of the pages: the browser's at first, then the one chosen with the switch. */
import { WORDS } from './words.js';

/** @typedef {'en' | 'ko'} Language */

const KEY = 'madang.language';

/** Local storage may be kept from a page; then nothing is remembered. */
function saved() {
  try {
    return localStorage.getItem(KEY);
  } catch (refused) {
    return null;
  }
}

const chosen = saved();
/** @type {Language} */
let language = chosen === 'en' || chosen === 'ko' ? chosen : (navigator.language || '').toLowerCase().startsWith('ko') ? 'ko' : 'en';
document.documentElement.lang = language;

/** @returns {Language} */
export const currentLanguage = () => language;

/** @param {Language} next */
export function setLanguage(next) {
  language = next;
  document.documentElement.lang = next;
  try {
    localStorage.setItem(KEY, next);
  } catch (refused) {
    // It holds for this page.
  }
}

/** Further words, of pages that need more than those who take part.
 * @param {Record<string, [en: string, ko: string]>} words */
export function addWords(words) {
  Object.assign(WORDS, words);
}

/** The text for `key` in the page's language. @param {string} key @param {Record<string, any>} [values] */
export function t(key, values = {}) {
  const pair = WORDS[key];
  if (!pair) return key;
  return pair[language === 'ko' ? 1 : 0].replace(/\{(\w+)\}/g, (_, name) => String(values[name] === undefined ? '' : values[name]));
}

/** Whether there is a text for `key`. @param {string} key */
export const known = (key) => Object.prototype.hasOwnProperty.call(WORDS, key);

/** A number with the language's separators. @param {number} value */
export const number = (value) => value.toLocaleString(language);

/** A count with its noun: the words `keyOne` and `keyMany`, which take `{n}`.
 * @param {string} key @param {number} count */
export const counted = (key, count) => t(count === 1 ? `${key}One` : `${key}Many`, { n: number(count) });

/** @param {string} iso */
export function clockTime(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? '' : date.toLocaleTimeString(language, { hour: 'numeric', minute: '2-digit' });
}
