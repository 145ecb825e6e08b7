// What this browser remembers: each user's own history, and events that are not yet kept. Lost with a private window.

const PREFIX = "tfrec_llm.";
const USERS = 50; // remembered at most; the longest unseen goes first
const memory = new Map(); // where the browser keeps nothing for pages

/** A value by name, `otherwise` where there is none or it is damaged. */
export function read(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? memory.get(name) ?? "null") ?? otherwise;
  } catch {
    return JSON.parse(memory.get(name) ?? "null") ?? otherwise;
  }
}

/** Keeps a value; undefined removes it. */
export function write(name, value) {
  const text = value === undefined ? undefined : JSON.stringify(value);
  try {
    if (text === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, text);
    memory.delete(name);
  } catch {
    if (text === undefined) memory.delete(name);
    else memory.set(name, text);
  }
}

/** The names of all values that begin so. */
export function names(beginning) {
  const kept = [...memory.keys()];
  try {
    kept.push(...Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)).map((key) => key.slice(PREFIX.length)));
  } catch {
    // then memory has all there is
  }
  return [...new Set(kept)].filter((name) => name.startsWith(beginning));
}

/** The users that are remembered, the last one seen first. */
export const users = () => read("users", []).map(([user]) => user).reverse();

/** A user's history: [{id, title, event, time}], oldest first. */
export const history = (user) => read("users", []).find(([other]) => other === user)?.[1] ?? [];

/** Keeps a user's history, the newest `longest` of it; an empty one is forgotten. */
export function keepHistory(user, rows, longest) {
  const others = read("users", []).filter(([other]) => other !== user);
  write("users", rows.length ? [...others.slice(1 - USERS), [user, rows.slice(-longest)]] : others);
}
