// The selected decision: what the policy computed, every choice, why not another one, what the critic believed.

import { card, h } from "./dom.js";
import { chances } from "./chances.js";
import { flagged } from "./data.js";
import { number, percent, plural, tiny, whole } from "./format.js";
import { waterfall } from "./waterfall.js";

const CLOSE_TO_CHANCE = 0.95; // of the entropy of the uniform policy, as in the accounts in words
const RESIDUAL_LIMIT = 1e-3;
const LOGP_LIMIT = 1e-4;

const BASELINES = { empty: "having decided nothing", same_step: "what this controller usually has at this step" };
const EXPLAINERS = { exact_shapley: "exact Shapley values", permutation_sampling: "sampled Shapley values" };

// The parts of a decision's log-probability: from chance, by the prior preference, by the earlier decisions.
function parts(decision, names, phi, errors) {
  return phi
    .map((value, group) => ({ name: names.group(decision, group), value, kind: "slot", group, error: errors?.[group] || null }))
    .filter((part) => part.value !== 0 || decision.observation?.[part.group]);
}

// Why there are no attributions; null if there are some.
function unexplained(decision, header) {
  if (flagged(decision, "forced")) return "Forced: this was the only legal choice, so that nothing was decided.";
  if (decision.phi && decision.phi0 !== null) return null;
  if (decision.logp === null) return "This agent has no policy: no preference can be explained. What its decisions earned is shown below, where that is known.";
  if (flagged(decision, "outOfBudget")) return "Not explained: explaining had used its share of the search's time. nas-gym explain RUN makes up for it.";
  if (header?.note) return `${header.note[0].toUpperCase()}${header.note.slice(1)}.`;
  return "No attributions are on record for this decision.";
}

export function why({ decision, header, names, onhover }) {
  const chosen = names.choice(decision.slot, decision.action);
  const title = `Why ${chosen}?`;
  const reason = unexplained(decision, header);
  if (reason) return card("why", title, null, h("p", { class: "notice", "data-testid": "notice" }, reason));
  const n = decision.legal.filter(Boolean).length;
  const from = BASELINES[decision.baseline] ?? decision.baseline;
  const table = waterfall({
    caption: `What the policy computed for ${names.decided(decision)}: from chance to its probability`,
    axis: "probability",
    start: { name: `chance (1 of ${n})`, value: decision.log_uniform },
    parts: [
      { name: "prior preference", value: decision.phi0 - decision.log_uniform, kind: "prior" },
      ...parts(decision, names, decision.phi, decision.phi_std_err),
    ],
    end: { name: "probability", value: decision.logp },
    onhover,
  });
  return card(
    "why",
    title,
    `What the policy computed, compared with ${from}: each earlier decision multiplies the probability. Not why the network is good.`,
    table,
  );
}

export function choices({ decision, names, header, against, ask }) {
  const known = Boolean(decision.probabilities);
  const sentence = known
    ? `Probability of each choice; the line marks chance.${header?.masked === false ? " This policy knew no mask." : ""}`
    : "Its choices; this agent has no policy.";
  return card("choices", `All choices of ${names.slot(decision)}`, sentence, chances({ decision, names, against, ask }));
}

// Why the chosen action and not another one: the difference of their attributions.
export function whyNot({ decision, names, against, onhover }) {
  if (against === null || against < 0 || flagged(decision, "forced") || !decision.probabilities) return null;
  const [mine, other] = [decision.action, against].map((action) => names.choice(decision.slot, action));
  const share = decision.probabilities[against];
  const more = share > Math.exp(decision.logp);
  const title = `Why ${mine}, not ${other}?`;
  const said = `${against === decision.runner_up ? (more ? "More probable was" : "The runner-up was") : "Compared with"} ${other} (${percent(share)}).`;
  const { phi0_actions: base, phi_actions: phi } = decision;
  if (!decision.phi) return null; // the card beside it says why
  const known = base && phi && base[decision.action] !== null && base[against] !== null;
  if (!known) return card("why-not", title, said, h("p", { class: "notice" }, "Attributions of the other choices are not on record."));
  const differences = phi.map((row) => (row?.[decision.action] ?? 0) - (row?.[against] ?? 0));
  const prior = base[decision.action] - base[against];
  const sum = differences.reduce((total, value) => total + value, prior);
  const table = waterfall({
    caption: `What the policy computed for ${mine} rather than ${other}: log-odds`,
    axis: "odds",
    start: { name: "even odds", value: 0 },
    parts: [{ name: "prior preference", value: prior, kind: "prior" }, ...parts(decision, names, differences)],
    end: { name: "odds", value: sum },
    onhover,
  });
  return card("why-not", title, `${said} Each earlier decision multiplies the odds; attributions of other choices are kept to 3 digits.`, table);
}

export function critic({ decision, names, onhover }) {
  if (!decision.value_phi || decision.value0 === null) return null;
  const table = waterfall({
    caption: "What the critic computed for the reward to come",
    axis: "value",
    start: { name: "nothing decided", value: decision.value0 },
    parts: parts(decision, names, decision.value_phi),
    end: { name: "expected reward", value: decision.value },
    onhover,
  });
  return card("critic", "What the critic believed", "The reward it expected before this decision; a belief, not what was earned.", table);
}

export function facts({ decision, names, badge }) {
  const most = -decision.log_uniform;
  const n = decision.legal.filter(Boolean).length;
  const near = decision.entropy !== null && most > 0 && decision.entropy >= CLOSE_TO_CHANCE * most;
  const chance = decision.probabilities?.[decision.runner_up];
  const rows = [
    ["probability", decision.logp === null ? null : percent(Math.exp(decision.logp)), `log-probability ${number(decision.logp, 4)}`, decision.logp],
    ["legal choices", plural(n, "choice"), `chance ${percent(Math.exp(decision.log_uniform))}`, n],
    ["entropy", decision.entropy === null ? null : `${number(decision.entropy)} nats`, most > 0 ? `${percent(decision.entropy / most)} of uniform${near ? ": close to chance" : ""}` : "", decision.entropy],
    ["value (critic)", decision.value === null ? null : number(decision.value, 4), "reward expected before it", decision.value],
    ["advantage", decision.advantage === null ? null : number(decision.advantage, 4), "what the next update used", decision.advantage],
    ["runner-up", decision.runner_up >= 0 && decision.probabilities ? names.choice(decision.slot, decision.runner_up) : null, chance === undefined ? "" : percent(chance), decision.runner_up],
    ["explained by", decision.phi ? (EXPLAINERS[decision.explainer] ?? decision.explainer) : null, decision.n_players ? `${whole(2 ** decision.n_players)} passes` : "", null],
    ["compared with", decision.phi ? (BASELINES[decision.baseline] ?? decision.baseline) : null, "", null],
    ["chance of being explained", !decision.sampling_probability ? null : percent(decision.sampling_probability), "", decision.sampling_probability],
  ];
  return card(
    "facts",
    "Facts",
    null,
    h(
      "dl",
      { class: "facts" },
      rows.filter(([, value]) => value !== null).map(([name, value, more, exact]) => [
        h("dt", null, name),
        h("dd", { "data-fact": name, "data-value": exact }, h("strong", null, value), more ? h("small", null, ` ${more}`) : null),
      ]),
    ),
    decision.logp === null ? null : badge,
  );
}

// Checks of one decision that need nothing else: the sum, and the network that was explained.
export function ownChecks(decision) {
  const found = [];
  if (decision.residual !== null) {
    found.push({
      name: "the sum",
      passed: decision.residual < RESIDUAL_LIMIT,
      sentence: `Prior preference and attributions add up to the log-probability within ${tiny(decision.residual)} (limit ${tiny(RESIDUAL_LIMIT)}).`,
    });
  }
  if (decision.logp_error !== null) {
    found.push({
      name: "the network",
      passed: decision.logp_error < LOGP_LIMIT,
      sentence: `The network that was explained gives the log-probability that was acted with within ${tiny(decision.logp_error)} (limit ${tiny(LOGP_LIMIT)}).`,
    });
  }
  return found;
}
