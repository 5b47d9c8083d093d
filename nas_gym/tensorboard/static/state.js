// What is selected, and its two ways into a link.
//
// Inside TensorBoard the address is the page's own: …/#nas_decisions&p.nas_decisions.run=…, the form that TensorBoard
// keeps for plugins. The page by itself (data/plugin_entry.html?name=nas_decisions) has …#run=….

const PLUGIN = "nas_decisions";
const PREFIX = `p.${PLUGIN}.`;
// The second run's step is null until it is known which decision goes with the first run's.
const PANE = { run: "", order: "time", episode: null, step: 0, against: null };

export const VIEWS = ["decision", "training", "compare"];

export function fresh() {
  return { view: "decision", panes: [{ ...PANE }, { ...PANE, step: null }], follow: false, rows: "slot", moment: null };
}

const wholeOr = (text, otherwise) => (/^\d{1,9}$/.test(text ?? "") ? Number(text) : otherwise);

// Anything may stand in a link: what has no meaning is left out.
function fromParameters(given) {
  const state = fresh();
  if (VIEWS.includes(given.view)) state.view = given.view;
  state.follow = given.follow === "true";
  if (["slot", "step"].includes(given.rows)) state.rows = given.rows;
  state.moment = wholeOr(given.moment, null);
  ["", "2"].forEach((suffix, index) => {
    const pane = state.panes[index];
    pane.run = given[`run${suffix}`] ?? "";
    if (["time", "reward"].includes(given[`order${suffix}`])) pane.order = given[`order${suffix}`];
    pane.episode = wholeOr(given[`episode${suffix}`], null);
    const decision = wholeOr(given[`decision${suffix}`], null);
    if (decision) pane.step = decision - 1;
    pane.against = wholeOr(given[`against${suffix}`], null);
  });
  return state;
}

function toParameters(state) {
  const told = {};
  if (state.view !== "decision") told.view = state.view;
  if (state.follow) told.follow = "true";
  if (state.view === "training" && state.rows !== "slot") told.rows = state.rows;
  if (state.view === "training" && state.moment !== null) told.moment = state.moment;
  state.panes.slice(0, state.view === "compare" ? 2 : 1).forEach((pane, index) => {
    const suffix = index ? "2" : "";
    if (pane.run) told[`run${suffix}`] = pane.run;
    if (pane.order !== "time") told[`order${suffix}`] = pane.order;
    if (pane.episode !== null) told[`episode${suffix}`] = pane.episode;
    if (pane.step || (index && pane.step !== null)) told[`decision${suffix}`] = pane.step + 1;
    if (pane.against !== null) told[`against${suffix}`] = pane.against;
  });
  return told;
}

function parse(hash, prefix) {
  const given = {};
  for (const part of hash.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    if (at < 0) continue;
    try {
      const name = decodeURIComponent(part.slice(0, at));
      if (name.startsWith(prefix)) given[name.slice(prefix.length)] = decodeURIComponent(part.slice(at + 1));
    } catch {
      // a broken escape: not ours
    }
  }
  return given;
}

const encode = (told, prefix) =>
  Object.entries(told).map(([name, value]) => `${prefix}${name}=${encodeURIComponent(value).replaceAll("%2F", "/")}`);

// The window whose address carries the selection: TensorBoard's, or the page's own where it can't be reached.
function host() {
  try {
    if (window.parent !== window && window.parent.location.hash !== undefined) return window.parent;
  } catch {
    // another origin shows the tab in a frame
  }
  return window;
}

export class Link {
  // changed(state): called when the address was changed by somebody else.
  constructor(changed) {
    this.window = host();
    this.inside = this.window !== window;
    this.window.addEventListener("hashchange", () => {
      if (this.hash() === this.written) return;
      const told = this.read();
      if (told) changed(told);
      else if (this.last) this.write(this.last); // TensorBoard came back to the tab
    });
  }

  hash() {
    return this.window.location.hash;
  }

  // Whether the tab is the one shown: the address is another dashboard's otherwise.
  shown() {
    return !this.inside || new RegExp(`^#${PLUGIN}(&|$)`).test(this.hash());
  }

  // The selection in the address; null if there is none.
  read() {
    if (!this.shown()) return null;
    const given = parse(this.hash(), this.inside ? PREFIX : "");
    return Object.keys(given).length ? fromParameters(given) : null;
  }

  write(state) {
    this.last = state;
    if (!this.shown()) return;
    const told = toParameters(state);
    const parts = this.inside ? [PLUGIN, ...encode(told, PREFIX)] : encode(told, "");
    this.written = `#${parts.join("&")}`;
    const place = this.window.location;
    this.window.history.replaceState(this.window.history.state, "", place.pathname + place.search + this.written);
  }

  address() {
    return this.window.location.href;
  }
}

// TensorBoard tells frames that it has read its data again, when its reload button is pressed too.
export function onReload(told) {
  if (window.parent === window) return;
  const channel = new MessageChannel();
  channel.port1.onmessage = (event) => {
    try {
      const message = JSON.parse(event.data);
      if (message.isReply) return;
      if (message.type === "experimental.DataReloaded") told();
      channel.port1.postMessage(JSON.stringify({ type: message.type, id: message.id, payload: null, error: null, isReply: true }));
    } catch {
      // not a message of TensorBoard's
    }
  };
  window.parent.postMessage("experimental.bootstrap", "*", [channel.port2]);
}
