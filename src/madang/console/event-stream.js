/**
 * Server-Sent Events over fetch, which unlike EventSource sends a token as a header. Pure; knows
 * neither the network nor what the events say. (WHATWG HTML, 9.2.6: lines end in CR, LF or both.)
 *
 * @typedef {{id: string, data: string}} ServerEvent
 */
export class EventLines {
  #rest = '';
  #id = '';
  #cut = false;
  /** @type {string[]} */ #data = [];

  /** The events that `text`, the next piece of the stream, has completed.
   * @param {string} text @returns {ServerEvent[]} */
  take(text) {
    if (!text) return [];
    // The CR that the last piece ended with has ended a line, also as the first half of a CRLF.
    const lines = (this.#rest + (this.#cut && text.startsWith('\n') ? text.slice(1) : text)).split(/\r\n|\n|\r/);
    this.#cut = text.endsWith('\r');
    this.#rest = lines.pop() ?? '';
    return lines.flatMap((line) => this.#line(line));
  }

  /** @param {string} line @returns {ServerEvent[]} */
  #line(line) {
    if (line === '') {
      const event = { id: this.#id, data: this.#data.join('\n') };
      const some = this.#data.length > 0;
      this.#data = [];
      return some ? [event] : [];
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') this.#data.push(value);
    else if (field === 'id') this.#id = value;
    return [];
  }
}
