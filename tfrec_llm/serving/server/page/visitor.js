// Simulated visitors: they like whatever carries a word, in its title or its attributes, most of the times they see it.

import { drawId } from "/page/server.js";

export const MOST = 200; // rounds
const VISIT = 5; // rounds of one visitor
const SURE = 0.85; // probability that what fits is liked
const PAUSE = 120; // milliseconds between two rounds, so that it can be watched

/** Whether an item carries the word. */
export function fits(item, taste) {
  const said = [item.title ?? "", ...(item.attributes ?? [])].join(" ").toLowerCase();
  return said.includes(taste.toLowerCase());
}

/**
 * Plays rounds, one request at a time.
 *
 * `ask(user, history)` gives an answer, `like(answer, items)` the history rows that come of it when all is kept;
 * `stopped()` ends it; `heard(round)` is told after each round. Returns the number of rounds played.
 */
export async function play(count, taste, { ask, like, stopped, heard }) {
  let user = "";
  let history = [];
  for (let round = 0; round < Math.min(count, MOST); round++) {
    if (stopped()) return round;
    if (round % VISIT === 0) [user, history] = [`visitor-${drawId().slice(0, 8)}`, []];
    const answer = await ask(user, history);
    const liked = answer.items.filter((item) => fits(item, taste) && Math.random() < SURE);
    history.push(...(await like(answer, liked)));
    heard(round + 1);
    await new Promise((later) => setTimeout(later, PAUSE));
  }
  return Math.min(count, MOST);
}
