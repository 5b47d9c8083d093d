// Keys, and the list of them.

import { dialog } from "./checks.js";
import { h } from "./dom.js";

const KEYS = [
  ["← →", "decision before, after"],
  ["Shift + ← →", "episode before, after, in the order shown"],
  ["Home, End", "first, last decision"],
  ["Shift + Home, End", "first, last episode"],
  ["b", "best episode"],
  ["o", "order by time or by reward"],
  ["f", "follow new episodes"],
  ["n", "compare with the next choice: why not that one?"],
  ["1 2 3", "decision, training, comparison"],
  ["?", "this list"],
];

export function help() {
  dialog("Keys", h("dl", { class: "keys" }, KEYS.map(([keys, what]) => [h("dt", null, keys.split(/, | (?=\d)/).map((key, i) => [i ? " " : "", h("kbd", null, key)])), h("dd", null, what)])));
}

// act: {decision(by), episode(by), best(), order(), follow(), against(), view(place)}
export function listen(act) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target;
    if (target.closest?.("select, dialog, input:not([type=range])")) return;
    const range = target.matches?.("input[type=range]");
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (by !== undefined) {
      if (range && !event.shiftKey) return; // the slider's own
      if (event.shiftKey) act.episode(by);
      else if (target.closest?.(".scroll")) return;
      else act.decision(by);
    } else if (event.key === "?") help();
    else if (event.key === "b") act.best();
    else if (event.key === "o") act.order();
    else if (event.key === "f") act.follow();
    else if (event.key === "n") act.against();
    else if (["1", "2", "3"].includes(event.key)) act.view(Number(event.key) - 1);
    else return;
    event.preventDefault();
  });
}
