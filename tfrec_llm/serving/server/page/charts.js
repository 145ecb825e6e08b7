// Charts over rounds: SVG that says in words what it shows, and the same as a table.

import { draw, make, table } from "/page/elements.js";
import { number, percent, say } from "/page/words.js";

const HEIGHT = 220;
const EDGE = { top: 22, right: 12, bottom: 30, left: 46 };
const WINDOW = 10; // rounds of the moving mean
const LIKELY = 600; // width before anything is laid out

/** The mean of the last ten values at each place. */
export const moving = (values) => values.map((_, place) => mean(values.slice(Math.max(0, place + 1 - WINDOW), place + 1)));

/** The means of the first and the last ten values. */
export const ends = (values) => ({ first: number(mean(values.slice(0, WINDOW))), last: number(mean(values.slice(-WINDOW))) });

/** The rounds, counted from 1, whose version is another than that of the round before. */
export const changes = (rounds) =>
  rounds.map((_, place) => place).filter((place) => place && rounds[place].version !== rounds[place - 1].version).map((place) => place + 1);

/** Fills a figure: `name` is "reward" or "chance", a field of every round. */
export function chart(figure, rounds, name) {
  if (!figure.firstChild) {
    const details = make("details", {}, make("summary", { id: `${name}-table` }), make("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": `${name}-table` }));
    figure.append(make("figcaption", {}, make("h3"), make("p", { class: "note" })), make("div"), details);
  }
  const [caption, drawing, details] = figure.children; // they stay, so that whoever reads them does not lose the place
  caption.firstChild.textContent = say(`${name}_title`);
  caption.lastChild.textContent = say(`${name}_note`);
  const wait = () => make("p", { class: "note empty" }, say("chart_wait"));
  drawing.replaceChildren(rounds.length ? picture(rounds, name, figure.clientWidth || LIKELY) : wait());
  details.hidden = !rounds.length;
  details.firstChild.textContent = say("table");
  details.lastChild.replaceChildren(...(rounds.length ? [asTable(rounds, name)] : []));
}

function picture(rounds, name, width) {
  const values = rounds.map((round) => round[name]);
  const top = name === "chance" ? 1 : nice(Math.max(...values, 1));
  const across = width - EDGE.left - EDGE.right;
  const down = HEIGHT - EDGE.top - EDGE.bottom;
  const x = (place) => EDGE.left + (rounds.length === 1 ? across / 2 : (place / (rounds.length - 1)) * across);
  const y = (value) => EDGE.top + down * (1 - value / top);
  const words = name === "chance" ? percent : number;
  const changed = changes(rounds);
  const label = [say(`${name}_label`, { count: rounds.length, ...ends(values) })];
  if (changed.length) label.push(say("versions_label", { rounds: changed.join(", ") }));
  return draw(
    "svg",
    { role: "img", "aria-label": label.join(" "), viewBox: `0 0 ${width} ${HEIGHT}`, width: "100%", height: HEIGHT },
    ...[0, 0.5, 1].flatMap((share) => line(y(share * top), width, words(share * top))),
    ...changed.flatMap((round) => version(x(round - 1), rounds[round - 1].version)),
    ...values.map((value, place) => draw("circle", { class: "dot", cx: x(place), cy: y(value), r: 2.5 })),
    draw("polyline", { class: "mean", points: moving(values).map((value, place) => `${x(place)},${y(value)}`).join(" ") }),
    ...[...new Set([0, rounds.length - 1])].map((place) => tick(x(place), place + 1, rounds.length)),
  );
}

function line(height, width, text) {
  return [
    draw("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: height, y2: height }),
    draw("text", { x: EDGE.left - 8, y: height + 4, "text-anchor": "end" }, text),
  ];
}

function version(across, name) {
  return [
    draw("line", { class: "version", x1: across, x2: across, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
    draw("text", { x: across, y: EDGE.top - 8, "text-anchor": "middle" }, say("version_mark", { version: name })),
  ];
}

function tick(across, round, count) {
  const anchor = round === count && count > 1 ? "end" : "middle";
  return draw("text", { x: across, y: HEIGHT - 8, "text-anchor": anchor }, `${say("round")} ${round}`);
}

function asTable(rounds, name) {
  const values = rounds.map((round) => round[name]);
  const words = name === "chance" ? percent : number;
  const means = moving(values);
  const rows = rounds.map((round, place) => [String(place + 1), words(values[place]), words(means[place]), round.version]);
  return table(say(`${name}_title`), ["round", name, "mean", "version"].map((head) => say(head)), rows);
}

/** 1, 2 or 5 times a power of ten, at least `value`. */
function nice(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * unit).find((candidate) => candidate >= value);
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}
