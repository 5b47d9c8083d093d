// The growing network: one box per decision, in the order they were taken. Boxes after the selected one are still pale.

import { h, s } from "./dom.js";
import { factor, percent } from "./format.js";
import { flagged } from "./data.js";

const KINDS = {
  activation: "activation",
  convolution: "convolution",
  pooling: "pooling",
  "normalisation, dropout": "normalisation",
  "fully connected": "connected",
  stop: "stop",
  "hyper-parameter": "parameter",
};

const CURVES = {
  relu: (x) => Math.max(x, 0),
  sigmoid: (x) => 3 / (1 + Math.exp(-2 * x)),
  tanh: (x) => 2 * Math.tanh(x),
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => x / (1 + Math.exp(-1.702 * x)),
};

export function network({ episode, names, kinds, selected, moved, select }) {
  const outlines = episode.decisions.map((_, i) => (episode.outline[i] ?? "").split(" · "));
  const sides = outlines.flatMap(([size]) => shape(size).slice(1));
  const largest = Math.max(1, ...sides);
  const boxes = episode.decisions.map((decision, i) => {
    const kind = KINDS[kinds?.[decision.slot]?.[decision.action]] ?? "other";
    const [size, note] = outlines[i];
    const state = i === selected ? "selected" : i < selected ? "before" : "after";
    const probability = decision.logp === null ? null : Math.exp(decision.logp);
    return h(
      "li",
      { class: `step ${state} kind-${kind}`, "data-group": decision.slot },
      h(
        "button",
        {
          type: "button",
          role: "option",
          class: "box",
          "aria-selected": String(i === selected),
          tabindex: i === selected ? 0 : -1,
          "data-focus": `decision-${i}`,
          "data-testid": "decision",
          "data-step": i,
          onclick: () => select(i),
        },
        h("span", { class: "slot" }, names.slot(decision), marks(decision)),
        h("strong", { class: "choice" }, names.choice(decision.slot, decision.action)),
        glyph(kind, names.choice(decision.slot, decision.action), size, decision, names, largest),
        h("span", { class: "size" }, size || " "),
        note ? h("span", { class: "note" }, note) : null,
        probability === null
          ? null
          : h("span", { class: "chance" }, h("span", { class: "meter", "aria-hidden": "true" }, h("i", { style: { width: `${100 * probability}%` } })), percent(probability)),
        moved?.has(decision.slot) && i < selected ? h("span", { class: `moved ${Math.abs(moved.get(decision.slot)) < 0.005 ? "none" : moved.get(decision.slot) < 0 ? "less" : "more"}` }, factor(moved.get(decision.slot))) : null,
      ),
    );
  });
  return h("ol", { class: "network", role: "listbox", "aria-orientation": "horizontal", "aria-label": "Decisions, in order. Left and right arrow select.", "data-testid": "network" }, boxes);
}

function marks(decision) {
  if (flagged(decision, "illegal")) return h("small", { class: "tag bad" }, "illegal");
  if (flagged(decision, "forced")) return h("small", { class: "tag" }, "forced");
  if (flagged(decision, "outOfBudget")) return h("small", { class: "tag" }, "unexplained");
  return null;
}

const shape = (size) => (/^\d+(×\d+)*$/.test(size ?? "") ? size.split("×").map(Number) : []);

// What the decision is about: a function, a place on a scale, a stop sign, or the size of the network's output.
function glyph(kind, choice, size, decision, names, largest) {
  const picture = (...children) => s("svg", { class: "glyph", viewBox: "0 0 96 44", "aria-hidden": "true" }, children);
  const known = shape(size);
  if (CURVES[choice]) {
    const points = Array.from({ length: 41 }, (_, i) => -3 + (6 * i) / 40).map((x) => `${48 + 12 * x},${34 - 9 * CURVES[choice](x)}`);
    return picture(s("line", { x1: 10, x2: 86, y1: 34, y2: 34, class: "pale" }), s("polyline", { points: points.join(" "), class: "curve" }));
  }
  if (kind === "stop") return picture(s("polygon", { points: "40,6 56,6 67,17 67,31 56,42 40,42 29,31 29,17", class: "fill" }));
  if (kind === "parameter") {
    const count = names.choices(decision.slot).length;
    return picture(s("line", { x1: 10, x2: 86, y1: 22, y2: 22, class: "pale scale" }), s("circle", { cx: 10 + (76 * decision.action) / Math.max(1, count - 1), cy: 22, r: 7, class: "fill" }));
  }
  if (known.length === 3) {
    const sheets = Math.min(1 + Math.floor(Math.log2(known[0])), 8);
    const [height, width] = known.slice(1).map((side) => Math.max((30 * side) / largest, 4));
    return picture(
      Array.from({ length: sheets }, (_, i) => i - (sheets - 1) / 2).map((i) =>
        s("rect", { x: 48 - width / 2 - 4 * i, y: 22 - height / 2 + 1.6 * i, width, height, rx: 1, class: "fill sheet" }),
      ),
    );
  }
  if (known.length === 1) {
    const length = Math.min(38, 5 * Math.log2(1 + known[0]));
    return picture(s("rect", { x: 43, y: 22 - length / 2, width: 10, height: length, rx: 5, class: "fill" }));
  }
  return picture(s("rect", { x: 30, y: 14, width: 36, height: 16, rx: 5, class: "fill" }));
}
