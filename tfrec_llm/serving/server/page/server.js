// The server: what it is asked, and events that wait until it has kept them.

import { names, read, write } from "/page/store.js";

const PATIENCE = 30; // seconds that a request may take, and between two tries at most
const TOGETHER = 100; // events in one request
const FINAL = [400, 404, 413, 422]; // the same events would be refused again

let key = "";
let ahead = 0; // milliseconds that the server's clock is ahead of ours

/** What a request came to when it was not answered. */
export class ServerError extends Error {
  constructor(status, message, wait = 0) {
    super(message);
    this.status = status; // of HTTP; 0 = not reached
    this.wait = wait; // seconds after which to come again
  }
}

/** An id that nobody else draws; 32 hexadecimal digits. */
export const drawId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** The key for all requests from now on. */
export const useKey = (given) => (key = given);

/** Seconds since 1970 by the server's clock, rounded up: never before the decision that an event belongs to. */
export const now = () => Math.ceil((Date.now() + ahead) / 1000) + 1;

/** What the server answers to a GET, or to a POST where there is a body. */
export async function call(path, body) {
  const headers = { ...(key && { "X-API-Key": key }), ...(body && { "Content-Type": "application/json" }) };
  const method = body ? "POST" : "GET";
  let answer;
  try {
    const signal = AbortSignal.timeout(PATIENCE * 1000);
    answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch {
    throw new ServerError(0, "");
  }
  const clock = Date.parse(answer.headers.get("date"));
  if (clock) ahead = clock - Date.now();
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ServerError(answer.status, said.error ?? "", Number(answer.headers.get("retry-after")) || 0);
  return said;
}

/** Events on their way: each lies in the browser's store until the server has it, whatever happens in between. */
export class Outbox {
  /** `told(waiting, error)` hears of every change; `error` is the reason where something went wrong. */
  constructor(told) {
    this.told = told;
    this.busy = null;
    this.tries = 0;
    this.together = TOGETHER;
    this.count = 0;
  }

  /** Takes events and sends them. */
  add(events) {
    for (const event of events) write(`event.${event.event_id}`, { order: [Date.now(), this.count++], event });
    return this.send();
  }

  /** Sends what waits; resolves when nothing waits any more or the server has to be given time. */
  send() {
    clearTimeout(this.timer);
    this.busy ??= this.empty().finally(() => (this.busy = null));
    return this.busy;
  }

  /** Resolves when nothing waits, or `stopped()`. */
  async settled(stopped) {
    while (this.waiting().length && !stopped()) {
      await (this.busy ?? new Promise((later) => setTimeout(later, 100)));
    }
  }

  waiting() {
    const kept = names("event.").map((name) => [name, read(name, null)]).filter(([, row]) => row !== null);
    return kept.sort(([, a], [, b]) => a.order[0] - b.order[0] || a.order[1] - b.order[1]);
  }

  async empty() {
    for (let rows = this.waiting(); rows.length; rows = this.waiting()) {
      const batch = rows.slice(0, this.together);
      try {
        await call("/feedback", batch.map(([, row]) => row.event));
        this.settle(batch, null);
      } catch (error) {
        if (FINAL.includes(error.status) && batch.length > 1) this.together = 1; // one of them: the others are kept
        else if (FINAL.includes(error.status)) this.settle(batch, error);
        else return this.later(error);
      }
    }
    this.together = TOGETHER;
  }

  settle(batch, error) {
    for (const [name] of batch) write(name, undefined);
    this.tries = 0;
    this.told(this.waiting().length, error);
  }

  later(error) {
    this.tries += 1;
    this.timer = setTimeout(() => this.send(), 1000 * Math.min(PATIENCE, Math.max(error.wait, 2 ** (this.tries - 1))));
    this.told(this.waiting().length, error);
  }
}
