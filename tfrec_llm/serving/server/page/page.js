// The page: what is on it now, and what happens when something is pressed.

import { chart, ends } from "/page/charts.js";
import { make } from "/page/elements.js";
import { call, drawId, now, Outbox, useKey } from "/page/server.js";
import * as slates from "/page/slate.js";
import * as store from "/page/store.js";
import { MOST, play } from "/page/visitor.js";
import { percent, say, sayHeard, sayTrouble, speak, speaks } from "/page/words.js";

const K = 10;
const $ = (id) => document.getElementById(id);
const page = { facts: null, answer: null, user: "", history: [], done: new Set(), rounds: [], playing: false };
const outbox = new Outbox(mailed);

/** The buttons' events: those of the domain that fit, else the least and the most that an event is worth. */
function eventsOf(facts) {
  const known = facts.events.filter((event) => event.reward !== null);
  const worth = known.filter((event) => event.reward > 0).sort((a, b) => a.reward - b.reward);
  const named = (...names) => names.map((name) => known.find((event) => event.name === name)).find(Boolean);
  const click = named("click", "view") ?? worth[0];
  const like = named("like", "purchase", "buy") ?? worth.at(-1);
  const skip = named("skip") ?? { name: "reward", reward: 0, value: 0 };
  return Object.fromEntries(Object.entries({ click, like, skip }).filter(([, event]) => event));
}

const mostly = () => page.facts?.titles_language ?? "en";
const events = () => (page.facts ? eventsOf(page.facts) : {});
const view = () => ({ answer: page.answer, history: page.history, events: events(), done: page.done, mostly: mostly() });

function show() {
  const focus = document.activeElement?.dataset?.act && place(document.activeElement);
  $("heard").replaceChildren(slates.heard(page.answer));
  $("items").replaceChildren(slates.slate(view(), press));
  if (focus) $("items").querySelectorAll("[data-act]")[focus.index]?.focus();
  $("history").replaceChildren(slates.history(page.user, page.history, mostly()));
  $("forget").hidden = !page.history.length;
  $("users").replaceChildren(...store.users().map((value) => make("option", { value })));
  showCandidates();
  showFacts();
}

const place = (button) => ({ index: [...$("items").querySelectorAll("[data-act]")].indexOf(button) });

function showCandidates() {
  const told = page.answer?.candidates ?? [];
  $("candidates").hidden = !told.length;
  if (!told.length) return;
  const holes = { count: told.length, all: page.facts?.candidates ?? told.length };
  $("candidates").querySelector("summary").textContent = say("candidates", holes);
  $("candidates").querySelector(".scroll").replaceChildren(slates.candidates(page.answer, mostly()));
  const tastes = [...new Set(told.flatMap((item) => item.attributes))].sort();
  $("tastes").replaceChildren(...tastes.map((value) => make("option", { value })));
}

function showFacts() {
  const { facts } = page;
  if (!facts) return;
  const version = page.answer?.model_version ?? facts.model_version;
  const bare = facts.exploration_floor === null;
  const holes = { version, candidates: facts.candidates, floor: bare ? "" : percent(facts.exploration_floor) };
  $("facts").textContent = say(bare ? "facts_bare" : "facts", holes);
}

function showCharts() {
  chart($("reward"), page.rounds, "reward");
  chart($("chance"), page.rounds, "chance");
}

/** Says an error as a sentence, with the server's own words where it has some. */
function trouble(error) {
  if (!error) return $("trouble").replaceChildren();
  console.debug(error);
  const own = error.message ? [" ", make("span", { lang: "en" }, error.message)] : [];
  $("trouble").replaceChildren(make("p", { class: "trouble" }, sayTrouble(error.status ?? 500), ...own));
  if (error.status === 401) {
    $("key-field").hidden = false;
    $("key").focus();
  }
}

function mailed(waiting, error) {
  trouble(error);
  if (waiting) $("status").textContent = say("waiting", { count: waiting });
  else if (page.waited && !error) $("status").textContent = say("all_kept");
  page.waited = waiting > 0;
}

async function learnFacts() {
  page.facts ??= await call("/page/facts");
  const asked = page.facts.user_attributes;
  $("utterance").maxLength = page.facts.max_utterance;
  $("attributes").hidden = !asked.length;
  if ($("attributes").querySelectorAll("input").length !== asked.length) {
    const fields = asked.map((name) => make("label", {}, name, make("input", { type: "text", maxlength: 255, name })));
    $("attributes").querySelector("div").replaceChildren(...fields);
  }
}

/** One request to the server, and a new round. */
async function recommend(user, history, utterance) {
  const body = {
    user_id: user,
    utterance,
    history: history.map((row) => [row.id, row.event, row.time]),
    attributes: [...$("attributes").querySelectorAll("input")].map((input) => input.value),
    k: Math.min(K, page.facts.max_k),
    explain: true,
  };
  const answer = await call("/recommend", body);
  const chances = answer.items.map((item) => 1 - item.propensity);
  const chance = chances.reduce((sum, value) => sum + value, 0) / (chances.length || 1);
  page.rounds.push({ reward: 0, best: {}, chance, version: answer.model_version });
  Object.assign(page, { answer, user, history, done: new Set() });
  return answer;
}

async function ask() {
  const user = $("user").value.trim();
  if (!user) {
    $("status").textContent = say("no_user");
    $("user").focus();
    return;
  }
  useKey($("key").value);
  $("status").textContent = say("asking");
  try {
    await learnFacts();
    const answer = await recommend(user, store.history(user), $("utterance").value.trim());
    trouble(null);
    const holes = { count: answer.items.length, user, version: answer.model_version };
    const spoken = answer.intent && { intent: sayHeard(answer.intent.label), probability: percent(answer.intent.probability) };
    $("status").textContent = say(spoken ? "answered_heard" : "answered", { ...holes, ...spoken });
    outbox.send();
  } catch (error) {
    $("status").textContent = "";
    trouble(error);
  }
  show();
  showCharts();
}

/** Events of the list that is shown: to the server, into the round's reward. */
function happened(answer, items, name) {
  const event = events()[name];
  const round = page.rounds.at(-1);
  for (const item of items) {
    page.done.add(`${item.id} ${event.name}`);
    round.best[item.id] = Math.max(round.best[item.id] ?? 0, event.reward);
  }
  round.reward = Object.values(round.best).reduce((sum, value) => sum + value, 0);
  const time = now();
  const rows = items.map((item) => ({
    event_id: drawId(),
    decision_id: answer.decision_id,
    item_id: item.id,
    event: event.name,
    value: event.value ?? 1,
    time,
  }));
  return { rows, past: items.map((item) => ({ id: item.id, title: slates.titleOf(item), event: event.name, time })) };
}

function press(item, name) {
  const { rows, past } = happened(page.answer, [item], name);
  if (name !== "skip") {
    page.history = [...page.history, ...past].slice(-page.facts.max_history);
    if (!page.playing && !page.user.startsWith("visitor-")) store.keepHistory(page.user, page.history, page.facts.max_history);
  }
  outbox.add(rows).then(() => {
    if (!outbox.waiting().length) $("status").textContent = say("kept", { event: say(name), title: slates.titleOf(item) });
  });
  show();
  showCharts();
}

async function startPlaying() {
  const count = Number($("count").value);
  const taste = $("taste").value.trim();
  if (!Number.isInteger(count) || count < 1 || count > MOST) return ($("progress").textContent = say("count_wrong")), $("count").focus();
  if (!taste) return ($("progress").textContent = say("taste_missing")), $("taste").focus();
  useKey($("key").value);
  page.playing = true;
  $("status").textContent = "";
  $("start").textContent = say("stop");
  const stopped = () => !page.playing;
  const begin = page.rounds.length;
  try {
    await learnFacts();
    const played = await play(count, taste, { ask: askQuietly, like, stopped, heard: (round) => progress(round, count) });
    const rewards = page.rounds.slice(begin).map((round) => round.reward);
    const done = played === count;
    $("progress").textContent = say(done ? "played" : "stopped", { count: played, ...ends(rewards) });
    trouble(null);
  } catch (error) {
    $("progress").textContent = say("stopped", { count: page.rounds.length - begin });
    trouble(error);
  }
  page.playing = false;
  $("start").textContent = say("play");
  show();
  showCharts();
}

const askQuietly = (user, history) => recommend(user, history, "");

async function like(answer, items) {
  if (!items.length || !answer.decision_id) return [];
  const { rows, past } = happened(answer, items, "like");
  outbox.add(rows);
  await outbox.settled(() => !page.playing);
  return past;
}

function progress(round, count) {
  if (round === 1 || round % 10 === 0) $("progress").textContent = say("playing", { round, count });
  show();
  showCharts();
}

function someoneNew() {
  $("user").value = `guest-${drawId().slice(0, 6)}`;
  chooseUser();
}

function chooseUser() {
  const user = $("user").value.trim();
  Object.assign(page, { answer: null, user, history: store.history(user), done: new Set() });
  show();
}

function choose(language) {
  speak(language);
  store.write("language", language);
  $("status").textContent = "";
  $("progress").textContent = "";
  trouble(null);
  if (page.playing) $("start").textContent = say("stop");
  show();
  showCharts();
}

function forget() {
  store.keepHistory(page.user, [], 1);
  page.history = [];
  $("status").textContent = say("forgotten", { user: page.user });
  show();
  $("user").focus();
}

function submit(event, then) {
  event.preventDefault();
  then();
}

function begin() {
  const first = navigator.language.startsWith("zh") ? "zh" : "en";
  const kept = store.read("language", first);
  $("ask").addEventListener("submit", (event) => submit(event, () => page.playing || ask()));
  $("play").addEventListener("submit", (event) => submit(event, () => (page.playing ? (page.playing = false) : startPlaying())));
  $("someone-new").addEventListener("click", someoneNew);
  $("user").addEventListener("change", () => page.playing || chooseUser());
  $("forget").addEventListener("click", forget);
  $("clear").addEventListener("click", () => ((page.rounds = page.answer ? page.rounds.slice(-1) : []), showCharts()));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => choose(button.dataset.language));
  }
  for (const button of document.querySelectorAll(".example")) {
    button.addEventListener("click", () => (($("utterance").value = button.textContent), page.playing || ask()));
  }
  addEventListener("resize", showCharts);
  if (store.users().length) $("user").value = store.users()[0];
  else someoneNew();
  speak(speaks(kept) ? kept : "en");
  chooseUser();
  showCharts();
  outbox.send();
  learnFacts().then(show, trouble);
}

begin();
