/** A message in one line: what the list of conversations, a quote and a screen reader say of it. */
import { underWay, waitsForPeople } from './answers.js';
import { t } from './i18n.js';

/** @param {import('./conversations.js').Message} message @returns {string} */
export function previewOf(message) {
  if (message.deleted_at) return t('deleted');
  if (underWay(message)) return t(waitsForPeople(message) ? 'waitsForApproval' : 'answering');
  if (message.content) return String(message.content);
  const files = (message.attachments ?? []).map((file) => file?.name ?? t('attachment'));
  if (files.length) return files.join(', ');
  const status = message.metadata?.status;
  return status && status !== 'complete' ? t(`run_${status}`, { why: message.metadata.error ?? '' }) : '';
}
