// How explanations change over the training: mean absolute attributions by the decision that is taken and the one that
// moved it, at a moment of the training or over all of it.

import { card, h } from "./dom.js";
import { names as named, number, plural, whole } from "./format.js";

export function training({ heat, header, state, act }) {
  const names = named(header);
  const { moments } = heat;
  if (!moments.length) {
    const reason = header?.note ? `${header.note}.` : "no rollout of a policy has been explained; an agent without a policy has none.";
    return card("heat", "What moved the policy, over the training", null, h("p", { class: "notice" }, `Nothing to show: ${reason}`));
  }
  const at = state.moment === null ? null : Math.min(state.moment, moments.length - 1);
  const shown = at === null ? merged(moments) : moments[at];
  const rows = byRow(shown.rows, state.rows, names);
  const most = Math.max(1e-9, ...moments.flatMap((moment) => byRow(moment.rows, state.rows, names).flatMap((row) => [row.prior, ...row.phi])));
  const groups = moments[0].rows[0].phi.length;
  return [
    card(
      "heat",
      "What moved the policy, over the training",
      "Mean absolute attribution, in nats, of each earlier decision (columns) at each decision (rows); free decisions only. It says what the policy computed.",
      slider({ moments, at, state, act }),
      grid({ rows, groups, names, most }),
    ),
    card("strip", "By policy version", "The same, over all decisions, for each moment of the training. Choose a column to see it above.", strip({ moments, groups, names, at, act })),
  ];
}

function slider({ moments, at, state, act }) {
  const moment = at === null ? null : moments[at];
  const said = moment
    ? `policy versions ${moment.policy_versions[0]} to ${moment.policy_versions[1]} of ${moments.at(-1).policy_versions[1]}, until step ${whole(moment.global_step + 1)}`
    : `the whole training: policy versions ${moments[0].policy_versions[0]} to ${moments.at(-1).policy_versions[1]}`;
  return h(
    "div",
    { class: "moment" },
    h("div", { class: "bar" },
      h("div", { class: "segments", role: "group", "aria-label": "Time" },
        h("button", { type: "button", "aria-pressed": String(at === null), "data-focus": "whole", "data-testid": "moment-all", onclick: () => act.moment(null) }, "all"),
        h("button", { type: "button", "aria-pressed": String(at !== null), "data-focus": "one", "data-testid": "moment-one", onclick: () => act.moment(at ?? moments.length - 1) }, "a moment")),
      h("div", { class: "group" }, h("span", { class: "label" }, "rows"), h("div", { class: "segments", role: "group", "aria-label": "Rows" },
        ["slot", "step"].map((by) => h("button", { type: "button", "aria-pressed": String(state.rows === by), "data-focus": `rows-${by}`, "data-testid": `rows-${by}`, onclick: () => act.rows(by) }, by)))),
      h("output", { class: "said", "data-testid": "moment" }, said),
    ),
    h("input", {
      type: "range", min: 0, max: moments.length - 1, step: 1, value: at ?? moments.length - 1, "data-focus": "moment", "data-testid": "moment-slider",
      "aria-label": "Moment of the training", "aria-valuetext": said, oninput: (event) => act.moment(event.target.valueAsNumber),
    }),
  );
}

const shade = (value, most) => Math.round(100 * Math.min(1, value / most));

function cell(value, most, told) {
  const share = shade(value, most);
  return h("td", { class: `cell${share > 83 ? " deep half" : share > 59 ? " half" : value ? "" : " none"}`, style: { "--share": `${share}%` }, "data-testid": "cell", "data-value": value, title: told }, value < 0.005 ? (value ? "0.00" : "0") : number(value, 2));
}

function grid({ rows, groups, names, most }) {
  const heads = Array.from({ length: groups }, (_, group) => names.groupName(group));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Heat map" },
    h(
      "table",
      { class: "heat", "data-testid": "heat" },
      h("caption", { class: "unseen" }, "Mean absolute attributions in nats: rows are the decisions taken, columns the earlier decisions that moved them"),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "decision"), h("th", { scope: "col", class: "prior" }, "prior preference"), heads.map((name) => h("th", { scope: "col" }, name)), h("th", { scope: "col", class: "count" }, "explained"))),
      h(
        "tbody",
        null,
        rows.map((row) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, row.name),
            cell(row.prior, most, `${row.name}: mean |prior preference| ${row.prior} nats`),
            row.phi.map((value, group) => cell(value, most, `${row.name}, moved by ${heads[group]}: ${value} nats`)),
            h("td", { class: "count" }, whole(row.n)),
          ),
        ),
      ),
    ),
  );
}

function strip({ moments, groups, names, at, act }) {
  const means = moments.map((moment) => mean(moment.rows));
  const lines = [["prior preference", means.map((one) => one.prior)], ...Array.from({ length: groups }, (_, group) => [names.groupName(group), means.map((one) => one.phi[group])])];
  const most = Math.max(1e-9, ...lines.flatMap(([, values]) => values));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Attributions by policy version" },
    h(
      "table",
      { class: "heat strip" },
      h("caption", { class: "unseen" }, "Mean absolute attributions in nats by moment of the training"),
      h("tbody", null, lines.map(([name, values]) =>
        h("tr", null, h("th", { scope: "row" }, name), values.map((value, i) =>
          h("td", { class: i === at ? "cell now" : "cell", style: { "--share": `${shade(value, most)}%` }, "data-value": value, title: `${name}, policy versions ${moments[i].policy_versions.join(" to ")}: ${number(value, 3)} nats`, onclick: () => act.moment(i) }, h("span", { class: "unseen" }, number(value, 2))),
        ), h("td", { class: "count" }, number(values.at(-1), 2))),
      )),
    ),
    h("p", { class: "sentence ends" }, h("span", null, `policy version ${moments[0].policy_versions[0]}`), h("span", null, `${plural(moments.length, "moment")}; last value in nats at the right`), h("span", null, `${moments.at(-1).policy_versions[1]}`)),
  );
}

// Rows of the same slot (or step) as one, weighted by the decisions that they stand for.
function byRow(rows, by, names) {
  const found = new Map();
  for (const row of rows) {
    if (!found.has(row[by])) found.set(row[by], []);
    found.get(row[by]).push(row);
  }
  return [...found].sort(([a], [b]) => a - b).map(([key, own]) => ({ ...mean(own), name: by === "slot" ? names.slot({ slot: key, step: key }) : `step ${key}` }));
}

function mean(rows) {
  const weight = rows.reduce((sum, row) => sum + row.weight, 0);
  const over = (value) => rows.reduce((sum, row) => sum + row.weight * value(row), 0) / weight;
  return { n: rows.reduce((sum, row) => sum + row.n, 0), prior: over((row) => row.prior), phi: rows[0].phi.map((_, group) => over((row) => row.phi[group])) };
}

const merged = (moments) => ({ rows: moments.flatMap((moment) => moment.rows) });
