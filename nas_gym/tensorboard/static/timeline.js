// All episodes of a run: their rewards as a picture, and a slider over them, by time or by reward.

import { h, put } from "./dom.js";
import { number, whole } from "./format.js";

const HEIGHT = 56;

export class Timeline {
  // act: {go(place), order(by), best(), follow()}
  constructor(act) {
    this.act = act;
    this.canvas = h("canvas", { class: "rewards", height: HEIGHT, "aria-hidden": "true", onclick: (event) => this.click(event) });
    this.cursor = h("i", { class: "cursor", "aria-hidden": "true" });
    this.slider = h("input", { type: "range", min: 0, step: 1, "data-testid": "slider", "data-focus": "slider", "aria-label": "Episode", oninput: () => act.go(this.order[this.slider.valueAsNumber]) });
    this.number = h("input", { type: "number", min: 0, "aria-label": "Episode number", "data-testid": "episode-number", onchange: () => this.jump() });
    this.of = h("span", { class: "of", "data-testid": "episode-count" });
    this.said = h("p", { class: "episode", "data-testid": "episode-facts" });
    const button = (label, title, testid, onclick) => h("button", { type: "button", title, "aria-label": title, "data-testid": testid, onclick }, label);
    this.orders = ["time", "reward"].map((by) => h("button", { type: "button", "data-testid": `order-${by}`, onclick: () => act.order(by) }, by));
    this.following = h("button", { type: "button", "data-testid": "follow", title: "Go to new episodes as they come", onclick: () => act.follow() }, "follow");
    this.element = h(
      "section",
      { class: "card timeline", "aria-label": "Episodes" },
      h(
        "div",
        { class: "bar" },
        h("div", { class: "group" }, button("|◀", "First episode", "first", () => this.move(-Infinity)), button("◀", "Episode before", "previous", () => this.move(-1)), h("label", { class: "number" }, "episode ", this.number, this.of), button("▶", "Episode after", "next", () => this.move(1)), button("▶|", "Last episode", "last", () => this.move(Infinity))),
        h("div", { class: "group" }, h("span", { class: "label", id: "order" }, "order"), h("div", { class: "segments", role: "group", "aria-label": "Order of the episodes" }, this.orders)),
        h("div", { class: "group" }, button("★ best", "Episode with the highest reward", "best", () => act.best()), this.following),
      ),
      h("div", { class: "plot" }, this.canvas, this.cursor),
      this.slider,
      this.said,
    );
    this.drawn = "";
    new ResizeObserver(() => this.known && this.draw()).observe(this.canvas);
  }

  show(known, order, pane, follow, parts) {
    this.known = known;
    this.order = order;
    this.by = pane.order;
    this.placed = order === this.placedOrder ? this.placed : new Map(order.map((place, at) => [place, at]));
    this.placedOrder = order;
    const place = indexOf(known.columns.episode, pane.episode);
    this.at = place < 0 ? -1 : this.placed.get(place);
    const row = (name) => known.columns[name][place];
    this.slider.max = Math.max(0, order.length - 1);
    if (this.at >= 0) this.slider.valueAsNumber = this.at;
    this.slider.setAttribute("aria-valuetext", place < 0 ? "none" : `episode ${row("episode")}, reward ${number(row("reward"))}`);
    if (document.activeElement !== this.number) this.number.value = pane.episode ?? "";
    this.number.max = known.columns.episode.at(-1) ?? 0;
    this.of.textContent = ` of ${whole(order.length)}`;
    for (const button of this.orders) button.setAttribute("aria-pressed", String(button.textContent === pane.order));
    this.following.setAttribute("aria-pressed", String(follow));
    put(this.said, parts);
    this.draw();
  }

  jump() {
    const place = indexOf(this.known.columns.episode, this.number.valueAsNumber);
    if (place >= 0) this.act.go(place);
  }

  // Moves along the order shown.
  move(by) {
    const to = Math.min(Math.max((this.at < 0 ? 0 : this.at) + by, 0), this.order.length - 1);
    if (this.order.length) this.act.go(this.order[to]);
  }

  click(event) {
    const box = this.canvas.getBoundingClientRect();
    const at = Math.round(((event.clientX - box.left) / box.width) * (this.order.length - 1));
    if (this.order.length) this.act.go(this.order[Math.min(Math.max(at, 0), this.order.length - 1)]);
  }

  draw() {
    const count = this.order.length;
    this.cursor.style.left = `${count > 1 && this.at >= 0 ? (100 * this.at) / (count - 1) : 0}%`;
    const width = this.canvas.clientWidth;
    const style = getComputedStyle(this.canvas);
    const drawn = `${width}/${count}/${this.by}/${style.color}/${this.known.stamp}`;
    if (drawn === this.drawn || !width) return;
    this.drawn = drawn;
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = HEIGHT * scale;
    const paint = this.canvas.getContext("2d");
    paint.scale(scale, scale);
    const { reward, status } = this.known.columns;
    const good = this.order.filter((place) => reward[place] !== null && ["ok", ""].includes(status[place])).map((place) => reward[place]);
    if (!good.length) return;
    // The lowest twentieth lies at the bottom, so that a few failures do not press the rest together.
    const sorted = Float64Array.from(good).sort();
    let [low, high] = [sorted[Math.floor(0.05 * sorted.length)], sorted.at(-1)];
    if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
    const x = (at) => 1 + ((width - 2) * at) / Math.max(1, count - 1);
    const y = (value) => 4 + (HEIGHT - 8) * (1 - (Math.min(Math.max(value, low), high) - low) / (high - low));
    const dots = { ok: style.getPropertyValue("--dot"), failed: style.getPropertyValue("--bad") };
    const radius = Math.max(0.8, Math.min(2, width / count));
    let best = -Infinity;
    const line = [];
    this.order.forEach((place, at) => {
      const failed = !["ok", ""].includes(status[place]);
      if (reward[place] === null) return;
      paint.fillStyle = failed ? dots.failed : dots.ok;
      paint.fillRect(x(at) - radius, (failed ? HEIGHT - 3 : y(reward[place])) - radius, 2 * radius, 2 * radius);
      if (reward[place] > best) line.push([x(at), y(best === -Infinity ? reward[place] : best)], [x(at), y(reward[place])]);
      best = Math.max(best, reward[place]);
    });
    if (this.by !== "time") return;
    line.push([x(count - 1), y(best)]);
    paint.strokeStyle = style.getPropertyValue("--accent");
    paint.lineWidth = 1.5;
    paint.beginPath();
    line.forEach(([left, top], i) => (i ? paint.lineTo(left, top) : paint.moveTo(left, top)));
    paint.stroke();
  }
}

// The place of a number in a rising list; -1: it is not there.
export function indexOf(rising, number) {
  let [low, high] = [0, rising.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (rising[middle] === number) return middle;
    if (rising[middle] < number) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
