/**
 * What this browser keeps of rooms, so that a refresh is the same seat: tokens, and what was written
 * and not yet sent. Local storage, never an address; it goes when the room is left or gone.
 *
 * @typedef {{participant_id: string, token: string, nickname: string}} Seat
 * @typedef {{code: string, title: string, at: number, seat?: Seat, screen?: Seat, host_token?: string}} Kept
 */

const ROOMS = 'madang.rooms';
const DEVICE = 'madang.device';
const UNSENT = 'madang.unsent.';
/** Rooms remembered at most: the oldest go first. */
const MOST_ROOMS = 20;
/** What was written without a connection and is kept over a refresh, per room. */
const MOST_UNSENT = 50;

/** @param {string} key @param {any} otherwise */
function read(key, otherwise) {
  try {
    const value = JSON.parse(localStorage.getItem(key) || 'null');
    return value === null || typeof value !== 'object' ? otherwise : value;
  } catch (refused) {
    return otherwise;
  }
}

/** @param {string} key @param {any} value */
function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch (refused) {
    // Full or kept from pages: the room works, only a refresh forgets.
  }
}

/** The rooms of this browser, the latest first. @returns {Kept[]} */
export function keptRooms() {
  const rooms = read(ROOMS, []);
  return Array.isArray(rooms) ? rooms.filter((room) => room && typeof room.code === 'string') : [];
}

/** @param {string} code @returns {Kept | undefined} */
export const keptRoom = (code) => keptRooms().find((room) => room.code === code);

/** Remember more of a room. @param {string} code @param {Partial<Kept>} more */
export function keepRoom(code, more) {
  const room = { title: '', ...keptRoom(code), ...more, code, at: Date.now() };
  const others = keptRooms().filter((other) => other.code !== code);
  write(ROOMS, [room, ...others].slice(0, MOST_ROOMS));
}

/** Forget this browser's seat (a host keeps the host's token). @param {string} code */
export function forgetSeat(code) {
  const room = keptRoom(code);
  const others = keptRooms().filter((other) => other.code !== code);
  if (room && room.host_token) others.unshift({ ...room, seat: undefined });
  write(ROOMS, others);
  keepUnsent(code, []);
}

/** @param {string} code */
export function forgetRoom(code) {
  write(ROOMS, keptRooms().filter((other) => other.code !== code));
  keepUnsent(code, []);
}

/** A random name of this browser: a room may want one vote of each. */
export function deviceName() {
  const kept = read(DEVICE, {});
  if (typeof kept.name === 'string') return kept.name;
  const name = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
  write(DEVICE, { name });
  return name;
}

/** @param {string} code @returns {import('./outbox.js').Letter[]} */
export function unsent(code) {
  const letters = read(UNSENT + code, []);
  return Array.isArray(letters) ? letters : [];
}

/** @param {string} code @param {import('./outbox.js').Letter[]} letters */
export function keepUnsent(code, letters) {
  if (letters.length) write(UNSENT + code, letters.slice(-MOST_UNSENT));
  else {
    try {
      localStorage.removeItem(UNSENT + code);
    } catch (refused) {
      // Nothing was kept either.
    }
  }
}
