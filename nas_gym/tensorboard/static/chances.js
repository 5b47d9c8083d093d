// The probabilities of all choices of a slot, in the order of the catalogue; masked ones are named so.

import { h } from "./dom.js";
import { percent } from "./format.js";

// against: the choice that the chosen one is compared with; ask(action): called to compare with another one.
export function chances({ decision, names, against, ask }) {
  const named = names.choices(decision.slot);
  const count = Math.max(named.length, 1 + decision.legal.lastIndexOf(true), decision.action + 1);
  const chance = Math.exp(decision.log_uniform);
  const rows = [];
  for (let action = 0; action < count; action += 1) {
    rows.push(row({ decision, name: names.choice(decision.slot, action), action, against, ask }));
  }
  return h(
    "ol",
    { class: "chances", style: { "--chance": `${100 * chance}%` }, "data-testid": "chances" },
    rows,
  );
}

function row({ decision, name, action, against, ask }) {
  const legal = decision.legal[action] === true;
  const chosen = action === decision.action;
  const probability = chosen && decision.logp !== null ? Math.exp(decision.logp) : (decision.probabilities?.[action] ?? null);
  const kind = [legal ? "legal" : "masked", chosen ? "chosen" : "", action === decision.runner_up ? "runner-up" : "", action === against ? "against" : ""];
  const tag = chosen ? "chosen" : action === decision.runner_up ? "runner-up" : "";
  const inside = [
    h("span", { class: "name" }, name, tag ? h("small", { class: "tag" }, tag) : null),
    decision.probabilities === null ? null : h("span", { class: "meter", "aria-hidden": "true" }, h("i", { style: { width: `${100 * (probability ?? 0)}%` } })),
    h("span", { class: "share" }, !legal && probability === null ? "not legal" : decision.probabilities === null ? "legal" : percent(probability)),
  ];
  const told = { class: kind.filter(Boolean).join(" "), "data-testid": "choice", "data-action": action, "data-value": probability };
  if (!legal || chosen || probability === null) return h("li", { ...told, "aria-current": chosen ? "true" : null }, inside);
  return h(
    "li",
    told,
    h(
      "button",
      {
        type: "button",
        "data-focus": `choice-${action}`,
        "aria-pressed": String(action === against),
        title: `Why not ${name}?`,
        onclick: () => ask(action),
      },
      inside,
    ),
  );
}
