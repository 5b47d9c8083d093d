// The badge of the checks, and the list behind it.

import { h } from "./dom.js";

const SIGNS = { good: "✓", bad: "!", open: "–" };

function standing(checks) {
  const told = checks.filter((check) => typeof check.passed === "boolean");
  if (!told.length) return "open";
  return told.every((check) => check.passed) ? "good" : "bad";
}

const WORDS = {
  good: (n) => `${n === 1 ? "1 check" : `all ${n} checks`} passed`,
  bad: (n, failed) => `${failed} of ${n} checks failed`,
  open: () => "not checked",
};

export function badge(title, checks) {
  const state = standing(checks);
  const told = checks.filter((check) => typeof check.passed === "boolean");
  const words = WORDS[state](told.length, told.filter((check) => !check.passed).length);
  return h(
    "button",
    { type: "button", class: `badge ${state}`, "data-testid": "badge", "data-state": state, "data-focus": `badge-${title}`, "aria-haspopup": "dialog", onclick: () => open(title, checks) },
    h("i", { "aria-hidden": "true" }, SIGNS[state]),
    `${title}: ${words}`,
  );
}

export function dialog(title, ...content) {
  const box = h(
    "dialog",
    { "aria-label": title, "data-testid": "dialog" },
    h("header", null, h("h2", null, title), h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => box.close() }, "✕")),
    ...content,
  );
  box.addEventListener("click", (event) => event.target === box && box.close());
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

function open(title, checks) {
  dialog(
    title,
    checks.length
      ? h(
          "ul",
          { class: "checks" },
          checks.map((check) => {
            const state = standing([check]);
            return h("li", { class: state }, h("i", { "aria-hidden": "true" }, SIGNS[state]), h("div", null, h("strong", null, check.name ?? "check"), h("span", { class: "unseen" }, state === "good" ? " passed: " : state === "bad" ? " failed: " : " not told: "), h("p", null, check.sentence)));
          }),
        )
      : h("p", null, "Nothing was checked yet. nas-gym explain RUN checks the attributions of a run."),
    h("p", { class: "sentence" }, "The checks ask whether attributions say what the policy computed."),
  );
}
