// The tab NAS decisions. TensorBoard imports this module into the frame of the tab and calls render().

import { comparison } from "./compare.js";
import { Data } from "./data.js";
import { h, put } from "./dom.js";
import { help, listen } from "./keys.js";
import { Pane } from "./pane.js";
import { fresh, Link, onReload, VIEWS } from "./state.js";
import { training } from "./training.js";

const EVERY = 5000; // milliseconds between looks for new episodes

export async function render() {
  document.head.append(h("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }), h("meta", { name: "color-scheme", content: "light dark" }), h("link", { rel: "icon", href: "data:," }));
  document.documentElement.lang = "en";
  document.title = "NAS decisions";
  await styled();
  await new App().start();
}

function styled() {
  return new Promise((resolve) => document.head.append(h("link", { rel: "stylesheet", href: "./style.css", onload: resolve, onerror: resolve })));
}

class App {
  constructor() {
    this.data = new Data();
    this.state = fresh();
    const changed = (pane, what) => this.changed(pane, what);
    this.panes = ["Run", "Second run"].map((label) => new Pane(this.data, { changed, label }));
    this.views = VIEWS.map((view) => h("button", { type: "button", role: "tab", id: `tab-${view}`, "data-testid": `view-${view}`, "aria-controls": "main", onclick: () => this.view(view) }, view));
    this.live = h("span", { class: "live", role: "status", "data-testid": "live" });
    this.copy = h("button", { type: "button", "data-testid": "copy-link", title: "Copy a link to what is shown", onclick: () => this.copied() }, "copy link");
    this.top = h("div", { class: "tops" });
    this.main = h("main", { id: "main", role: "tabpanel", tabindex: "-1" });
    document.body.append(
      h(
        "header",
        { class: "top" },
        h("h1", null, "NAS decisions"),
        h("div", { class: "segments", role: "tablist", "aria-label": "Views" }, this.views),
        this.live,
        h("div", { class: "group" }, this.copy, h("button", { type: "button", title: "Keys (?)", "aria-label": "Keys", "data-testid": "help", onclick: help }, "?")),
      ),
      this.main,
    );
    this.link = new Link((state) => {
      this.state = state;
      this.update();
    });
  }

  async start() {
    this.state = this.link.read() ?? this.state;
    this.keys();
    await this.poll();
    onReload(() => this.poll());
    setInterval(() => this.poll(), EVERY);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.update());
    document.body.dataset.ready = "true";
  }

  // Looks for new episodes; what is selected stays selected.
  async poll() {
    if (this.polling) return;
    this.polling = true;
    try {
      const changed = await this.data.poll(this.state.panes.map((pane) => pane.run));
      put(this.live);
      if (changed || !this.shown) await this.update();
    } catch (error) {
      put(this.live, `no answer: ${error.message}`);
    } finally {
      this.polling = false;
    }
  }

  changed(pane, what) {
    if (this.state.view === "compare" && "step" in what) this.together(pane);
    this.update();
  }

  // In a comparison the same slot is selected on both sides.
  together(pane) {
    const at = this.panes.indexOf(pane);
    const other = this.panes[1 - at];
    const slot = pane.episode?.decisions[this.state.panes[at].step]?.slot;
    const name = this.data.get(this.state.panes[at].run)?.info.header?.header.slots[slot];
    const theirs = this.data.get(this.state.panes[1 - at].run)?.info.header?.header.slots ?? [];
    const place = other.episode?.decisions.findIndex((decision) => theirs[decision.slot] === name) ?? -1;
    if (name !== undefined && place >= 0) Object.assign(this.state.panes[1 - at], { step: place, against: null });
  }

  async update() {
    const state = this.state;
    this.shown = true;
    const [first, second] = state.panes;
    const runs = this.data.runs.map((one) => one.run);
    if (!first.run) first.run = runs[0] ?? "";
    if (!second.run && state.view === "compare") second.run = runs.find((run) => run !== first.run) ?? first.run;
    this.views.forEach((button) => {
      const chosen = button.id === `tab-${state.view}`;
      button.setAttribute("aria-selected", String(chosen));
      button.setAttribute("tabindex", chosen ? "0" : "-1");
      if (chosen) this.main.setAttribute("aria-labelledby", button.id);
    });
    document.body.dataset.view = state.view;
    this.place(state.view);
    const apart = state.view === "compare" && second.step === null;
    if (apart) second.step = 0;
    await Promise.all(this.panes.slice(0, state.view === "compare" ? 2 : 1).map((pane, i) => pane.show(state, state.panes[i])));
    if (apart) {
      this.together(this.panes[0]);
      await this.panes[1].show(state, second);
    }
    if (state !== this.state) return;
    if (state.view === "training") await this.training();
    if (state.view === "compare") this.compare();
    this.link.write(state);
  }

  // Puts the parts of a view into place, once.
  place(view) {
    if (this.placed === view) return;
    this.placed = view;
    put(this.top);
    if (view === "decision") put(this.main, this.panes[0].element);
    else if (view === "training") put(this.main, this.panes[0].element, this.top);
    else put(this.main, this.top, h("div", { class: "sides" }, this.panes.map((pane) => pane.element)));
  }

  async training() {
    const state = this.state;
    const run = state.panes[0].run;
    const known = this.data.get(run);
    if (!known) return put(this.top);
    try {
      const heat = await this.data.heat(run);
      if (state !== this.state || state.view !== "training") return;
      const act = {
        moment: (moment) => this.set({ moment }),
        rows: (rows) => this.set({ rows }),
      };
      put(this.top, training({ heat, header: known.info.header?.header, state, act }));
    } catch (error) {
      put(this.top, h("p", { class: "notice bad", role: "alert" }, error.message));
    }
  }

  compare() {
    const sides = this.panes.map((pane, i) => ({ run: this.state.panes[i].run, info: this.data.get(this.state.panes[i].run)?.info, episode: pane.episode, pane: this.state.panes[i] }));
    if (!sides.every((side) => side.info && side.episode)) return put(this.top);
    put(
      this.top,
      comparison(sides, (places) => {
        places.forEach((place, i) => place !== null && Object.assign(this.state.panes[i], { step: place, against: null }));
        this.update();
      }),
    );
  }

  set(what) {
    Object.assign(this.state, what);
    this.update();
  }

  view(view) {
    this.set({ view });
  }

  async copied() {
    this.link.write(this.state);
    const address = this.link.address();
    try {
      await navigator.clipboard.writeText(address);
      this.copy.textContent = "copied";
    } catch {
      prompt("The link to what is shown:", address); // without the right to write to the clipboard
    }
    setTimeout(() => (this.copy.textContent = "copy link"), 1500);
  }

  keys() {
    const first = () => this.panes[0];
    listen({
      decision: (by) => this.state.view !== "training" && first().step(by),
      episode: (by) => first().timeline.move(by),
      best: () => first().best(),
      order: () => first().set({ order: this.state.panes[0].order === "time" ? "reward" : "time" }),
      follow: () => first().follow(),
      against: () => first().next(),
      view: (place) => this.view(VIEWS[place]),
    });
  }
}
