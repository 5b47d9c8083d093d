// Numbers as people read them. Exact values stand in data-value attributes and titles.

const MINUS = "−";

export const signed = (value, digits = 2) => {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return digits ? `0.${"0".repeat(digits)}` : "0";
  return (value < 0 ? MINUS : "+") + text;
};

export function percent(share) {
  if (share === null || share === undefined) return "–";
  const value = 100 * share;
  if (value === 0) return "0\u00a0%";
  if (value < 0.01) return "< 0.01\u00a0%";
  return `${value >= 99.95 || value >= 10 ? value.toFixed(value > 99 && value < 99.95 ? 1 : 0) : value.toFixed(value < 1 ? 2 : 1)}\u00a0%`;
}

// A factor, such as ×1.79: adding nats multiplies probabilities.
export function factor(nats) {
  const value = Math.exp(nats);
  if (value >= 1000) return `×${value.toExponential(1).replace("+", "")}`;
  if (value < 0.01) return `×${value.toExponential(1).replace("-", MINUS)}`;
  return `×${value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)}`;
}

export const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", MINUS));
export const whole = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
export const tiny = (value) => (value === 0 ? "0" : value.toExponential(0).replace("-", MINUS));
export const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;

// The names of a run's slots, choices and groups, whatever its header says.
export function names(header) {
  const slots = header?.slots ?? [];
  const choices = header?.choices ?? [];
  const groups = header?.groups ?? [];
  const slot = (decision) => slots[decision.slot] ?? `decision ${decision.step + 1}`;
  const choice = (index, action) => choices[index]?.[action] ?? `action ${action}`;
  return {
    slot,
    choice,
    choices: (index) => choices[index] ?? [],
    decided: (decision) => `${slot(decision)} = ${choice(decision.slot, decision.action)}`,
    group: (decision, group) => {
      const name = groups[group] ?? `group ${group + 1}`;
      const chosen = decision.observation?.[group] ?? 0;
      return chosen ? `${name} = ${choice(group, chosen - 1)}` : `${name} undecided`;
    },
    groupName: (group) => groups[group] ?? `group ${group + 1}`,
  };
}

// Shown names of runs: our writer's folder adds nothing.
export const runName = (run) => run.replace(/\/?tensorboard$/, "").replace(/^\.?$/, "this run") || "this run";
