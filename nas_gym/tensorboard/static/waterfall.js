// A sum, drawn: a start, one bar per part from where the last one ended, and the end. A table for those who listen.

import { h } from "./dom.js";
import { factor, number, percent, signed } from "./format.js";

const LEAST_SPAN = 0.25; // of an axis in nats: what moves less looks as little as it is

// How three kinds of sum are read.
const AXES = {
  // log-probabilities, labelled as probabilities
  probability: {
    span: LEAST_SPAN,
    most: 0,
    ticks: [1e-6, 1e-5, 1e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1].map((p) => [Math.log(p), percent(p).replace(".0\u00a0", "\u00a0")]),
    place: (value) => percent(Math.exp(value)),
    part: (value) => [`${signed(value)} nats`, factor(value)],
  },
  // log-odds of one choice against another
  odds: {
    span: LEAST_SPAN,
    most: Infinity,
    ticks: [-1000, -100, -20, -10, -5, -3, -2, -1.5, -1.2, 1, 1.2, 1.5, 2, 3, 5, 10, 20, 100, 1000].map((o) => [Math.sign(o) * Math.log(Math.abs(o)), o < 0 ? `1 : ${-o}` : `${o} : 1`]),
    place: (value) => (value >= 0 ? `${odd(Math.exp(value))} : 1` : `1 : ${odd(Math.exp(-value))}`),
    part: (value) => [`${signed(value)} nats`, factor(value)],
  },
  // the critic's value, in units of the reward
  value: {
    span: 0.02,
    most: Infinity,
    ticks: null,
    place: (value) => number(value),
    part: (value) => [signed(value, 4), ""],
  },
};

const odd = (value) => (value === 1 ? "1" : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

function linearTicks(low, high) {
  const raw = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= raw);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  const ticks = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) ticks.push([at, at.toFixed(digits).replace("-", "−")]);
  return ticks;
}

// Keeps labels apart: leaves out ticks that are closer than a share of the axis to the last one kept.
function apart(ticks, place, least) {
  const kept = [];
  for (const tick of ticks) if (!kept.length || place(tick[0]) - place(kept.at(-1)[0]) >= least) kept.push(tick);
  return kept;
}

/* start: {name, value}; parts: [{name, value, kind, group, error}], kind "prior" or "slot"; end: {name, value}.
   The end is told, not summed up: a sum that does not reach it would be seen. */
export function waterfall({ caption, axis, start, parts, end, onhover }) {
  const kind = AXES[axis];
  const ends = [start.value];
  for (const part of parts) ends.push(ends.at(-1) + part.value);
  let low = Math.min(...ends, end.value);
  let high = Math.max(...ends, end.value);
  if (high - low < kind.span) {
    const middle = (low + high) / 2;
    [low, high] = [middle - kind.span / 2, middle + kind.span / 2];
    if (high > kind.most) [low, high] = [kind.most - kind.span, kind.most];
  }
  const room = 0.05 * (high - low);
  [low, high] = [low - room, high + room];
  const place = (value) => (100 * (value - low)) / (high - low);
  const ticks = apart((kind.ticks ?? linearTicks(low, high)).filter(([at]) => at >= low && at <= high), place, 13);
  const grid = () => ticks.map(([at]) => h("i", { class: "grid", style: { left: `${place(at)}%` } }));
  const mark = (row, type) =>
    h(
      "tr",
      { class: type, "data-testid": type, "data-value": row.value },
      h("th", { scope: "row" }, row.name),
      h("td", { class: "track", "aria-hidden": "true" }, grid(), h("b", { class: "mark", style: { left: `${place(row.value)}%` } })),
      h("td", { class: "amount", colspan: 2 }, h("strong", null, kind.place(row.value))),
    );
  const rows = parts.map((part, i) => {
    const [from, to] = [ends[i], ends[i + 1]];
    const sign = part.value < 0 ? "less" : "more";
    const [amount, times] = kind.part(part.value);
    return h(
      "tr",
      {
        class: `part ${part.kind} ${sign}`,
        "data-testid": "bar",
        "data-kind": part.kind,
        "data-group": part.group ?? null,
        "data-value": part.value,
        title: `${part.name}: ${part.value}${part.error ? ` ± ${part.error} (standard error)` : ""}`,
        onmouseenter: onhover && part.group !== undefined ? () => onhover(part.group) : null,
        onmouseleave: onhover ? () => onhover(null) : null,
      },
      h("th", { scope: "row" }, part.name),
      h(
        "td",
        { class: "track", "aria-hidden": "true" },
        grid(),
        h("i", { class: "join", style: { left: `${place(from)}%` } }),
        h("b", { class: "bar", style: { left: `${place(Math.min(from, to))}%`, width: `${place(Math.max(from, to)) - place(Math.min(from, to))}%` } }),
      ),
      h("td", { class: "amount" }, amount, part.error ? h("small", null, ` ±${number(part.error, 2)}`) : null),
      h("td", { class: "times" }, times),
    );
  });
  const foot = h(
    "tr",
    { class: "axis", "aria-hidden": "true" },
    h("td"),
    h("td", { class: "track" }, ticks.map(([at, label], i) => h("span", { class: i % 2 ? "second" : null, style: { left: `${place(at)}%` } }, label))),
    h("td", { colspan: 2 }),
  );
  return h(
    "table",
    { class: "waterfall", tabindex: "0", "data-scale": 100 / (high - low) },
    h("caption", { class: "unseen" }, caption),
    h("colgroup", null, ["name", "track", "amount", "times"].map((part) => h("col", { class: part }))),
    h("tbody", null, mark(start, "start"), rows, mark(end, "end"), foot),
  );
}
