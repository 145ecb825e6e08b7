// What an answer looks like: what was heard, the list with its reasons and buttons, the candidates, the history.

import { bar, make, table } from "/page/elements.js";
import { languageOf, number, percent, say, sayHeard } from "/page/words.js";

/** An item's title, or its id where it has none. */
export const titleOf = (item) => item.title ?? say("untitled", { id: item.id });

/** Intent, emotion and sentiment as a list; a sentence where nothing was said. */
export function heard(answer) {
  if (!answer) return make("p", { class: "note" }, say("heard_wait"));
  if (!answer.intent) return make("p", { class: "note" }, say("heard_silence"));
  const rows = [
    ["intent", answer.intent.label, answer.intent.probability],
    ["emotion", answer.emotion.label, answer.emotion.probability],
    ["sentiment", answer.sentiment, null],
  ];
  return make(
    "dl",
    { class: "heard" },
    ...rows.map(([name, label, probability]) =>
      make("div", {}, make("dt", {}, say(name)), make("dd", {}, make("strong", {}, sayHeard(label)), ...measured(probability))),
    ),
  );
}

/** The list. `view`: answer, history, events (the button's name -> event), done (Set of "item event"), mostly (language). */
export function slate(view, press) {
  if (!view.answer) return make("p", { class: "note" }, say("slate_wait"));
  if (!view.answer.items.length) return make("p", { class: "note" }, say("slate_none"));
  const unlogged = view.answer.decision_id ? [] : [make("p", { class: "trouble" }, say("unlogged"))];
  const rows = view.answer.items.map((item, place) => row(item, place, view, press));
  return make("div", {}, ...unlogged, make("ol", { class: "slate" }, ...rows));
}

/** The first candidates, and which of them are in the list. */
export function candidates(answer, mostly) {
  const places = new Map(answer.items.map((item, place) => [item.id, place + 1]));
  const rows = answer.candidates.map((item, place) => [
    String(place + 1),
    title(item, mostly),
    item.attributes.join(", "),
    places.has(item.id) ? say("shown_at", { place: places.get(item.id) }) : say("not_shown"),
  ]);
  const heads = ["place", "title", "about", "shown"].map((name) => say(name));
  const made = table(say("candidates", { count: rows.length, all: rows.length }), heads, rows);
  answer.candidates.forEach((item, place) => made.tBodies[0].rows[place].classList.toggle("shown", item.shown));
  return made;
}

/** What a user did, the newest first. */
export function history(user, rows, mostly) {
  if (!rows.length) return make("p", { class: "note" }, say("history_none"));
  const items = rows.slice(-8).reverse().map((row) => {
    const [before, after] = say("history_row", { event: eventName(row.event), title: "\0" }).split("\0");
    return make("li", {}, before, make("span", { lang: languageOf(row.title, mostly) }, row.title), after);
  });
  return make("div", {}, make("p", { class: "note" }, say("history_of", { user })), make("ul", { class: "past" }, ...items));
}

function row(item, place, view, press) {
  const reasons = because(item, view);
  const about = item.attributes ?? [];
  return make(
    "li",
    {},
    make("span", { class: "rank", "aria-hidden": "true" }, String(place + 1)),
    make(
      "div",
      { class: "item" },
      make("h3", {}, title(item, view.mostly)),
      ...(about.length ? [make("p", { class: "about", lang: "en" }, about.join(" · "))] : []),
      ...(reasons ? [make("p", { class: "because" }, reasons)] : []),
    ),
    make("p", { class: "propensity" }, bar(item.propensity), say("propensity", { value: percent(item.propensity) })),
    make("div", { class: "acts" }, ...Object.keys(view.events).map((name) => button(name, item, view, press))),
  );
}

function button(name, item, view, press) {
  const event = view.events[name];
  const done = view.done.has(`${item.id} ${event.name}`);
  const label = make("span", { class: "unseen" }, say("button_for", { title: titleOf(item) }));
  const worth = say("worth", { event: event.name, reward: number(event.reward) });
  const made = make("button", { type: "button", "aria-pressed": String(done), title: worth }, say(name), label);
  made.dataset.act = name;
  made.disabled = !view.answer.decision_id;
  made.addEventListener("click", () => done || press(item, name));
  return made;
}

function because(item, view) {
  const known = new Map(view.history.map((row) => [row.id, row]));
  const fond = new Set(view.history.filter((row) => row.event === view.events.like?.name).map((row) => row.id));
  const rows = [...new Set(item.because)].filter((id) => known.has(id)).map((id) => known.get(id));
  const reasons = [["liked", rows.filter((row) => fond.has(row.id))], ["clicked", rows.filter((row) => !fond.has(row.id))]]
    .filter(([, own]) => own.length)
    .map(([name, own]) => say(name, { titles: own.map((row) => say("quoted", { title: row.title })).join(say("comma")) }));
  return reasons.length ? say("because", { reasons: reasons.join(say("and")) }) : "";
}

const title = (item, mostly) => make("span", { lang: languageOf(titleOf(item), mostly) }, titleOf(item));

const measured = (probability) =>
  probability === null ? [] : [bar(probability), make("span", { class: "figure" }, percent(probability))];

const eventName = (event) => (["click", "like", "skip"].includes(event) ? say(event) : event);
