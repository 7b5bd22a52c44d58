/** The language of the page: the browser's at first, then the one chosen with the switch. */
import { WORDS } from './words.js';

/** @typedef {'en' | 'ko'} Language */

const KEY = 'madang.language';
const saved = localStorage.getItem(KEY);
/** @type {Language} */
let language = saved === 'en' || saved === 'ko' ? saved : navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en';

/** @returns {Language} */
export const currentLanguage = () => language;

/** @param {Language} next */
export function setLanguage(next) {
  language = next;
  localStorage.setItem(KEY, next);
  applyLanguage();
}

/** Tell the document, for fonts, hyphenation and screen readers. */
export function applyLanguage() {
  document.documentElement.lang = language;
}

/** The text for `key` in the page's language. @param {string} key @param {Record<string, any>} [values] */
export function t(key, values = {}) {
  const pair = WORDS[key];
  if (!pair) return key;
  return pair[language === 'ko' ? 1 : 0].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

/** @param {string} iso */
export function clockTime(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? '' : new Intl.DateTimeFormat(language, { hour: 'numeric', minute: '2-digit' }).format(date);
}

/** A day as a line between messages says it. @param {string} iso */
export function dayName(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return '';
  const days = Math.round((startOfDay(new Date()) - startOfDay(date)) / 86400000);
  if (days === 0) return t('today');
  if (days === 1) return t('yesterday');
  return new Intl.DateTimeFormat(language, { year: 'numeric', month: 'long', day: 'numeric', weekday: 'long' }).format(date);
}

/** Short: a time today, a date before. @param {string} iso */
export function shortWhen(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return '';
  if (startOfDay(date) === startOfDay(new Date())) return clockTime(iso);
  return new Intl.DateTimeFormat(language, { month: 'short', day: 'numeric' }).format(date);
}

/** A number of bytes as people say it: 1024 make a kilobyte. @param {number} bytes */
export function fileSize(bytes) {
  if (bytes < 1024) return t('bytes', { n: bytes });
  const step = bytes < 1024 * 1024 ? 1 : 2;
  const maximumFractionDigits = bytes < 10 * 1024 ** step ? 1 : 0;
  return `${new Intl.NumberFormat(language, { maximumFractionDigits }).format(bytes / 1024 ** step)} ${['', 'KB', 'MB'][step]}`;
}

/** Names joined as the language does. @param {string[]} names */
export const nameList = (names) => new Intl.ListFormat(language, { type: 'conjunction' }).format(names);

/** @param {Date} date */
const startOfDay = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
