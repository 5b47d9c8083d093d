// What the decisions of an episode earned: every view by its own name, never mixed with another one.

import { card, h } from "./dom.js";
import { number, signed } from "./format.js";

const NAMES = {
  critic_waterfall: "critic waterfall",
  expected_waterfall: "waterfall of exact expectations",
  counterfactual: "against other choices, on average",
  counterfactual_best: "against the best other choice",
  shapley_table: "Shapley value, from the table",
  shapley_surrogate: "Shapley value, from a surrogate",
  regret: "regret",
};
const nameOf = (view) => NAMES[view] ?? view.replaceAll("_", " ");
const LOSSES = ["regret"]; // more of it is worse
const LIVE = {
  critic_waterfall: "How the reward that the critic expected changed with each decision, in this order; the last one has what the reward added.",
};

// Views of an episode: those of the records of credit, and the one that its decisions carry.
function views(episode, told) {
  const found = new Map();
  for (const [view, columns] of Object.entries(episode.credit ?? {})) {
    const rows = columns.step.map((step, i) => ({ step, slot: columns.slot?.[i], credit: columns.credit[i], low: columns.low[i], high: columns.high[i] }));
    found.set(view, { rows, facts: { ...told?.[view], ...(columns.trusted === undefined ? {} : { trusted: columns.trusted }) } });
  }
  for (const decision of episode.decisions) {
    const view = decision.credit_kind;
    if (view === "none" || decision.reward_credit === null || (episode.credit ?? {})[view]) continue;
    if (!found.has(view)) found.set(view, { rows: [], facts: told?.[view] ?? {} });
    found.get(view).rows.push({ step: decision.step, credit: decision.reward_credit, low: null, high: null });
  }
  const order = Object.keys(told ?? {});
  const place = ([view]) => (order.includes(view) ? order.indexOf(view) : order.length);
  return [...found].sort((a, b) => place(a) - place(b));
}

// What is credited: the reward, but for views of a table's score.
function units(found) {
  const scored = found.filter(([, { facts }]) => (facts.of ?? "reward") !== "reward");
  const others = scored.map(([view, { facts }]) => `${nameOf(view)}: of ${facts.of}`).join("; ");
  return others ? `the reward (${others})` : "the reward";
}

// A decision by its choice; what was left open by the name of its slot.
function rowName(row, decision, names, header) {
  if (decision) return names.decided(decision);
  if (row.step < 0) return `${header?.slots?.[row.slot] ?? "a slot"} (left open)`;
  return `decision ${row.step + 1}`;
}

export function credit({ episode, names, header, selected, told, select }) {
  const found = views(episode, told);
  if (!found.length) return null;
  return card(
    "credit",
    "What the decisions earned",
    `In units of ${units(found)}. Each view answers another question and none is a sum of others. This is not what moved the policy.`,
    h("div", { class: "views" }, found.map(([view, { rows, facts }]) => chart({ view, rows, facts, episode, names, header, selected, select }))),
  );
}

function chart({ view, rows, facts, episode, names, header, selected, select }) {
  const trusted = facts.trusted !== false;
  const ends = rows.flatMap((row) => [row.credit, row.low, row.high]).filter((value) => value !== null);
  const most = Math.max(1e-9, ...ends.map(Math.abs));
  const place = (value) => 50 + (48 * value) / most;
  const known = new Map(episode.decisions.map((decision, i) => [decision.step, [decision, i]]));
  const sentence = facts.sentence ?? facts.meaning ?? LIVE[view] ?? "";
  return h(
    "figure",
    { class: `view${trusted ? "" : " untrusted"}`, "data-testid": "view", "data-view": view, "data-trusted": String(trusted) },
    h("figcaption", null, h("strong", null, nameOf(view)), trusted ? null : h("small", { class: "tag bad" }, "not to be trusted"), h("p", null, sentence, facts.trust ? h("small", null, ` ${facts.trust[0].toUpperCase()}${facts.trust.slice(1)}.`) : null)),
    h(
      "table",
      { class: "credits" },
      h("caption", { class: "unseen" }, `${nameOf(view)}: what each decision earned`),
      h("colgroup", null, ["name", "track", "amount"].map((part) => h("col", { class: part }))),
      h(
        "tbody",
        null,
        rows.map((row) => {
          const [decision, i] = known.get(row.step) ?? [null, -1];
          const whisker = row.low === null || row.high === null ? null : h("i", { class: "whisker", style: { left: `${place(row.low)}%`, width: `${place(row.high) - place(row.low)}%` } });
          const bar = row.credit === null ? null : h("b", { class: row.credit < 0 !== LOSSES.includes(view) ? "bar less" : "bar more", style: { left: `${Math.min(50, place(row.credit))}%`, width: `${Math.abs(place(row.credit) - 50)}%` } });
          return h(
            "tr",
            { class: i === selected ? "selected" : "", "data-testid": "credit", "data-value": row.credit, onclick: i < 0 ? null : () => select(i) },
            h("th", { scope: "row" }, rowName(row, decision, names, header)),
            h("td", { class: "track", "aria-hidden": "true" }, h("i", { class: "zero" }), bar, whisker),
            h("td", { class: "amount" }, row.credit === null ? "–" : signed(row.credit, 4), row.low === null || row.high === null ? null : h("small", null, ` ${number(row.low, 4)} … ${number(row.high, 4)}`)),
          );
        }),
      ),
    ),
  );
}
