// One run: which, its episodes, and one decision of one of them with all that is known of it.

import { badge } from "./checks.js";
import { credit } from "./credit.js";
import { indexOf, Timeline } from "./timeline.js";
import { choices, critic, facts, ownChecks, why, whyNot } from "./decision.js";
import { flagged } from "./data.js";
import { h, put, card } from "./dom.js";
import { names as named, number, percent, plural, runName, whole } from "./format.js";
import { network } from "./network.js";

export class Pane {
  // changed(): what is selected was changed; moved(slot): a decision was chosen by hand.
  constructor(data, { changed, label }) {
    this.data = data;
    this.changed = changed;
    this.picker = h("select", { "aria-label": label, "data-testid": "run", onchange: () => this.choose(this.picker.value) });
    this.about = h("p", { class: "about" });
    this.badges = h("div", { class: "badges" });
    this.timeline = new Timeline({
      go: (place) => this.go(place),
      order: (by) => this.set({ order: by }),
      best: () => this.best(),
      follow: () => this.follow(),
    });
    this.body = h("div", { class: "details" });
    this.element = h("div", { class: "pane" }, h("header", { class: "run" }, h("label", null, h("span", { class: "label" }, "run"), this.picker), this.badges, this.about), this.timeline.element, this.body);
    this.asked = 0;
  }

  // Shows a selection. `pane` is kept and changed in place, so that it is what links are made of.
  async show(state, pane) {
    this.state = state;
    this.pane = pane;
    const asked = (this.asked += 1);
    this.pick();
    if (!this.data.has(pane.run)) return this.empty();
    try {
      const known = await this.data.load(pane.run);
      if (asked !== this.asked) return;
      this.settle(known);
      this.header(known);
      this.list(known);
      if (pane.episode === null) return put(this.body, h("p", { class: "notice" }, "No episode has ended yet."));
      const episode = await this.data.episode(pane.run, pane.episode);
      if (asked !== this.asked) return;
      this.episode = episode;
      const policy = episode.decisions.some((decision) => decision.logp !== null);
      this.badges.classList.toggle("none", this.unchecked && !policy && !known.unreadable); // nothing to check
      pane.step = Math.min(pane.step, Math.max(0, episode.decisions.length - 1));
      this.details(known, episode);
    } catch (error) {
      if (asked === this.asked) put(this.body, h("p", { class: "notice bad", role: "alert", "data-testid": "error" }, error.message));
    }
  }

  // Chooses what the selection leaves open: the last episode, or the nearest that is there.
  settle(known) {
    const numbers = known.columns.episode;
    const pane = this.pane;
    if (!numbers.length) return void (pane.episode = null);
    if (this.state.follow) pane.episode = numbers.at(-1);
    if (pane.episode === null) pane.episode = numbers[Math.max(0, this.data.best(pane.run))];
  }

  pick() {
    const runs = this.data.runs.map((one) => one.run);
    if (this.pane.run && !runs.includes(this.pane.run)) runs.unshift(this.pane.run);
    const options = JSON.stringify([runs, this.pane.run]);
    if (options === this.options) return;
    this.options = options;
    put(this.picker, runs.map((run) => h("option", { value: run, selected: run === this.pane.run }, runName(run))));
    this.picker.value = this.pane.run;
  }

  empty() {
    put(this.badges);
    put(this.about);
    const named = this.pane.run && this.data.runs.length;
    const none = "No run here has decisions of nas-gym yet. nas-gym search writes them while it runs; this page looks every 5 seconds.";
    put(this.body, h("p", { class: "notice" }, named ? `There is no run ${this.pane.run} here (any more); choose another one.` : none));
  }

  header(known) {
    const { facts: told } = known.info.header ?? {};
    const checks = known.info.checks?.checks ?? [];
    const unreadable = known.unreadable ? h("span", { class: "badge bad", "data-testid": "unreadable" }, `${plural(known.unreadable, "record")} could not be read`) : null;
    this.unchecked = !checks.length;
    put(this.badges, badge("attributions of the run", checks), unreadable);
    put(this.about, [told?.env, told?.agent, told?.seed === undefined ? null : `seed ${told.seed}`].filter(Boolean).join(" · "));
  }

  list(known) {
    const pane = this.pane;
    const place = indexOf(known.columns.episode, pane.episode);
    const row = (name) => known.columns[name][place];
    const parts = place < 0 ? [] : [
      ["reward", number(row("reward"), 4)],
      [null, row("status") && row("status") !== "ok" ? row("status").replaceAll("_", " ") : null],
      [null, plural(row("length"), "decision")],
      ["policy version", whole(row("policy_version"))],
      ["times found", row("key") ? whole(known.columns.key.filter((key) => key === row("key")).length) : null],
    ];
    this.timeline.show(known, this.data.order(pane.run, pane.order), pane, this.state.follow,
      parts.filter(([, value]) => value !== null).map(([name, value]) => h("span", null, name ? `${name} ` : "", h("strong", null, value))));
  }

  details(known, episode) {
    const header = known.info.header?.header;
    const names = named(header);
    const pane = this.pane;
    const decision = episode.decisions[pane.step];
    if (!decision) return put(this.body, h("p", { class: "notice" }, "This episode has no decision."));
    const against = pane.against !== null && decision.legal[pane.against] && pane.against !== decision.action ? pane.against : decision.runner_up;
    const shown = JSON.stringify([pane.run, pane.step, against, known.info]);
    if (shown === this.shown && episode === this.shownEpisode && this.body.querySelector(".network")) return;
    [this.shown, this.shownEpisode] = [shown, episode];
    const onhover = (group) => this.highlight(group);
    const select = (place) => this.set({ step: place, against: null });
    const moved = new Map((decision.phi && !flagged(decision, "forced") ? decision.phi : []).map((value, group) => [group, value]).filter(([, value]) => value !== 0));
    const status = `Decision ${pane.step + 1} of ${episode.decisions.length}: ${names.decided(decision)}`;
    const share = decision.logp === null ? "" : `, probability ${percent(Math.exp(decision.logp))}`;
    const inside = this.body.querySelector(".network")?.contains(document.activeElement);
    const told = facts({ decision, names, badge: badge("this decision", ownChecks(decision)) });
    const long = names.choices(decision.slot).length > 10; // so that the two columns are about as long
    put(
      this.body,
      h(
        "section",
        { class: "card growing", "aria-label": "The growing network" },
        h("h2", { "aria-live": "polite", "data-testid": "selected" }, status, h("small", null, share)),
        network({ episode, names, kinds: known.info.header?.kinds, selected: pane.step, moved, select }),
        h("p", { class: "sentence" }, outcome(episode)),
      ),
      h(
        "div",
        { class: "cards" },
        h("div", { class: "column" }, why({ decision, header, names, onhover }), whyNot({ decision, names, against, onhover }), critic({ decision, names, onhover }), long ? told : null),
        h("div", { class: "column" }, choices({ decision, names, header, against, ask: (action) => this.set({ against: action }) }), long ? null : told),
      ),
      credit({ episode, names, header, selected: pane.step, told: known.info.credit_views?.views, select }),
      words(known, episode),
    );
    const box = this.body.querySelector(".step.selected");
    if (inside) box?.querySelector("button").focus({ preventScroll: true }); // the focus goes with the selection
    const row = box?.parentElement;
    if (row && row.scrollWidth > row.clientWidth) row.scrollLeft = box.offsetLeft - row.clientWidth / 2 + box.clientWidth / 2;
  }

  highlight(group) {
    for (const box of this.body.querySelectorAll(".step")) box.classList.toggle("lit", group !== null && box.dataset.group === String(group));
  }

  // What the user does

  set(what) {
    Object.assign(this.pane, what);
    this.changed(this, what);
  }

  choose(run) {
    this.set({ run, episode: null, step: 0, against: null });
  }

  go(place) {
    const number_ = this.data.get(this.pane.run)?.columns.episode[place];
    if (number_ === undefined) return;
    const last = place === this.data.get(this.pane.run).columns.episode.length - 1;
    if (!last) this.state.follow = false;
    this.set({ episode: number_, against: null });
  }

  best() {
    this.state.follow = false;
    this.go(this.data.best(this.pane.run));
  }

  follow() {
    this.state.follow = !this.state.follow;
    this.set({});
  }

  step(by) {
    const most = (this.episode?.decisions.length ?? 1) - 1;
    this.set({ step: Math.min(Math.max(this.pane.step + by, 0), most), against: null });
  }

  // Compares with the next legal choice.
  next() {
    const decision = this.episode?.decisions[this.pane.step];
    if (!decision) return;
    const others = decision.legal.map((legal, action) => (legal && action !== decision.action ? action : -1)).filter((action) => action >= 0);
    if (!others.length) return;
    const now = this.pane.against ?? decision.runner_up;
    this.set({ against: others[(others.indexOf(now) + 1) % others.length] });
  }
}

function outcome(episode) {
  const parts = [
    `Episode ${episode.episode}`,
    episode.reward === null ? "did not end" : `reward ${number(episode.reward, 4)}`,
    episode.accuracy === null ? null : `validation accuracy ${percent(episode.accuracy)}`,
    episode.parameters === null ? null : `${whole(episode.parameters)} parameters`,
    episode.macs === null ? null : `${whole(episode.macs)} multiply-accumulates`,
    episode.key ? `key ${episode.key}` : null,
  ];
  return parts.filter(Boolean).join(" · ");
}

function words(known, episode) {
  const told = known.info.words;
  if (told?.episode !== episode.episode) return null;
  return card("words", "In words", "The account of the best network's decisions.", h("div", { class: "words", "data-testid": "words" }, told.paragraphs.map((text) => h("p", null, String(text)))));
}
