// Two episodes, slot by slot.

import { card, h } from "./dom.js";
import { names as named, number, percent, runName, whole } from "./format.js";

// sides: two of {run, info, episode, pane}; select(side, place): a decision was chosen.
export function comparison(sides, select) {
  const all = sides.map((side) => ({ ...side, names: named(side.info.header?.header) }));
  const rows = [];
  for (const [at, side] of all.entries()) {
    side.episode.decisions.forEach((decision, place) => {
      const slot = side.names.slot(decision);
      let row = rows.find((one) => one.slot === slot);
      if (!row) rows.push((row = { slot, own: [null, null] }));
      row.own[at] = { decision, place };
    });
  }
  const [left, right] = sides.map((side) => side.info.header?.facts?.space_hash);
  const facts = [
    ["reward", (episode) => number(episode.reward, 4)],
    ["validation accuracy", (episode) => number(episode.accuracy, 4)],
    ["parameters", (episode) => whole(episode.parameters)],
    ["multiply-accumulates", (episode) => whole(episode.macs)],
    ["decisions", (episode) => whole(episode.decisions.length)],
  ];
  return card(
    "compare",
    "Side by side",
    left === right ? "The two runs search the same space." : "The two runs search different spaces; decisions are put together by the names of their slots.",
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Comparison" },
      h(
        "table",
        { class: "comparison", "data-testid": "comparison" },
        h("caption", { class: "unseen" }, "Facts and decisions of both episodes"),
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "decision"), all.map((side) => h("th", { scope: "col" }, `${runName(side.run)}, episode ${side.episode.episode}`)))),
        h(
          "tbody",
          null,
          facts.map(([name, of]) => h("tr", { class: "fact" }, h("th", { scope: "row" }, name), all.map((side) => h("td", null, of(side.episode))))),
          rows.map((row) => {
            const chosen = row.own.map((own, at) => (own ? all[at].names.choice(own.decision.slot, own.decision.action) : null));
            const now = row.own.some((own, at) => own && own.place === all[at].pane.step);
            const differs = chosen[0] !== chosen[1];
            return h(
              "tr",
              { class: `${differs ? "differs" : ""} ${now ? "selected" : ""}`, "data-testid": "compared", "data-slot": row.slot, "data-differs": String(differs) },
              h("th", { scope: "row" }, h("button", { type: "button", class: "plain", "data-focus": `compare-${row.slot}`, onclick: () => select(row.own.map((own) => own?.place ?? null)) }, row.slot), differs ? h("small", { class: "tag" }, "differs") : null),
              row.own.map((own, at) => h("td", null, own ? [h("strong", null, chosen[at]), own.decision.logp === null ? null : h("small", null, ` ${percent(Math.exp(own.decision.logp))}${strongest(own.decision, all[at].names)}`)] : h("small", null, "not decided"))),
            );
          }),
        ),
      ),
    ),
  );
}

// The earlier decision that moved it most.
function strongest(decision, names) {
  if (!decision.phi?.some((value) => Math.abs(value) >= 0.05)) return "";
  const most = decision.phi.reduce((best, value, group) => (Math.abs(value) > Math.abs(decision.phi[best]) ? group : best), 0);
  return `, most by ${names.group(decision, most)}`;
}
