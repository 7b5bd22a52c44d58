/**
 * One WebSocket that comes back: connects, notices when the line is dead, waits with jitter and
 * tries again as the close codes ask. Knows frames only as JSON, and neither the page nor the room.
 *
 * @typedef {'connecting' | 'live' | 'waiting' | 'closed'} Phase
 * @typedef {{phase: Phase, code?: number, reason?: string, retryAt?: number}} Line
 * @typedef {{
 *   onLine: (line: Line) => void,
 *   onFrame: (frame: any) => void,
 * }} Listeners
 */

const PING_EVERY_MS = 15000;
const PONG_WITHIN_MS = 8000;
/** A page that comes back from sleep believes its line only after an answer within this. */
const PROBE_WITHIN_MS = 3000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_LONGEST_MS = 15000;
/** A connection that lived this long starts the next backoff from its beginning. */
const STABLE_AFTER_MS = 5000;
/** Close codes after which the same seat must not come again. */
const FINAL = new Set([1008, 4001, 4009]);

/** Milliseconds before attempt `attempt` (0, 1, 2 …): exponential, all but a quarter of it jitter, so
 * that a hall full of phones does not come back in one instant.
 * @param {number} attempt @param {() => number} [random] */
export function backoffDelay(attempt, random = Math.random) {
  const ceiling = Math.min(BACKOFF_LONGEST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(ceiling / 4 + ceiling * 0.75 * random());
}

/** @param {() => WebSocket} open makes a fresh socket @param {Listeners} listeners */
export function createLine(open, listeners) {
  /** @type {WebSocket | null} */
  let socket = null;
  /** @type {Line} */
  let line = { phase: 'connecting' };
  let attempt = 0;
  let liveSince = 0;
  let retryTimer = 0;
  let pingTimer = 0;
  let pongTimer = 0;
  let pings = 0;

  /** @param {Line} next */
  const set = (next) => { line = next; listeners.onLine(next); };

  const drop = () => {
    clearInterval(pingTimer);
    clearTimeout(pongTimer);
    const old = socket;
    socket = null;
    if (old && old.readyState <= WebSocket.OPEN) old.close(1000);
  };

  /** @param {number} code @param {string} reason */
  const lost = (code, reason) => {
    drop();
    if (FINAL.has(code)) {
      set({ phase: 'closed', code, reason });
      return;
    }
    if (liveSince && Date.now() - liveSince > STABLE_AFTER_MS) attempt = 0;
    liveSince = 0;
    const delay = backoffDelay(attempt);
    attempt += 1;
    set({ phase: 'waiting', code, reason, retryAt: Date.now() + delay });
    retryTimer = setTimeout(connect, delay);
  };

  const ping = (withinMs = PONG_WITHIN_MS) => {
    if (!send({ type: 'ping', id: (pings += 1) })) return;
    clearTimeout(pongTimer);
    pongTimer = setTimeout(() => lost(1006, ''), withinMs);
  };

  /** @param {object} frame @returns {boolean} whether it went into an open socket */
  function send(frame) {
    if (!socket || socket.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(frame));
    return true;
  }

  function connect() {
    clearTimeout(retryTimer);
    drop();
    set({ ...line, phase: 'connecting' });
    const mine = open();
    socket = mine;
    // A network that swallows packets never refuses: give up on it like on a silent line.
    pongTimer = setTimeout(() => { if (socket === mine) lost(1006, ''); }, PONG_WITHIN_MS);
    mine.onopen = () => { pingTimer = setInterval(ping, PING_EVERY_MS); };
    mine.onclose = (event) => { if (socket === mine) lost(event.code, event.reason); };
    mine.onmessage = (event) => {
      if (socket !== mine || typeof event.data !== 'string') return;
      clearTimeout(pongTimer);
      let frame;
      try {
        frame = JSON.parse(event.data);
      } catch (broken) {
        return;
      }
      if (frame && typeof frame.type === 'string' && frame.type !== 'pong') listeners.onFrame(frame);
    };
  }

  const wake = () => {
    if (line.phase === 'waiting') connect();
    else if (line.phase === 'live') ping(PROBE_WITHIN_MS);
  };
  addEventListener('online', wake);
  addEventListener('offline', wake);
  document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') wake(); });
  // Back from the browser's page cache: the socket of then is gone.
  addEventListener('pageshow', (event) => { if (event.persisted && line.phase !== 'closed') connect(); });

  return {
    connect,
    send,
    /** The room has what it missed: from here on the line counts as live. */
    live() {
      if (!socket) return;
      liveSince = Date.now();
      set({ phase: 'live' });
    },
    /** Close for good, and say no more. */
    end() {
      clearTimeout(retryTimer);
      drop();
      line = { phase: 'closed' };
    },
  };
}
