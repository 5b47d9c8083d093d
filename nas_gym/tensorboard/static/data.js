// What the server knows, asked once. Episodes never change; lists only grow.

const KEPT = 300; // episodes
const FLAGS = { forced: 1, unexplained: 2, unfinished: 4, illegal: 8, outOfBudget: 16 };

export const flagged = (decision, name) => Boolean(decision.flags & FLAGS[name]);

async function ask(route, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const answer = await fetch(`./${route}${query ? `?${query}` : ""}`);
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error ?? `the server answered ${answer.status}`);
  return content;
}

export class Data {
  constructor() {
    this.runs = []; // [{run, episodes, stamp}]
    this.known = new Map(); // by run: {stamp, info, columns, unreadable, orders, heat}
    this.episodes = new Map(); // by run and number
  }

  // Asks which runs there are, and reads again what has changed of those in use. Returns whether anything has.
  async poll(used) {
    const { runs } = await ask("runs");
    const before = JSON.stringify(this.runs);
    this.runs = runs;
    await Promise.all(used.filter((run) => this.has(run)).map((run) => this.load(run)));
    return before !== JSON.stringify(runs);
  }

  has(run) {
    return this.runs.some((one) => one.run === run);
  }

  get(run) {
    return this.known.get(run);
  }

  // Brings what is known of a run up to date.
  async load(run) {
    const stamp = this.runs.find((one) => one.run === run)?.stamp;
    const known = this.known.get(run);
    if (known?.stamp === stamp && known) return known;
    const count = known?.columns.episode.length ?? 0;
    const after = count > 1 ? known.columns.episode[count - 2] : -1; // the last known one too, to see whether it is the same
    const [info, list] = await Promise.all([ask("run", { run }), ask("episodes", { run, after })]);
    if (count > 1 && !Object.keys(list.columns).every((name) => list.columns[name][0] === known.columns[name][count - 1])) {
      this.forget(run); // it was written again
      return this.load(run);
    }
    if (JSON.stringify(known?.info.credit_views) !== JSON.stringify(info.credit_views)) this.forgetEpisodes(run);
    const columns = {};
    for (const [name, values] of Object.entries(list.columns)) columns[name] = count > 1 ? known.columns[name].concat(values.slice(1)) : values;
    const now = { stamp, info, columns, unreadable: info.unreadable + list.unreadable, orders: {}, heat: null };
    this.known.set(run, now);
    return now;
  }

  forget(run) {
    this.known.delete(run);
    this.forgetEpisodes(run);
  }

  forgetEpisodes(run) {
    for (const key of [...this.episodes.keys()]) if (key.startsWith(`${run}\n`)) this.episodes.delete(key);
  }

  // The places of a run's episodes in the list, in the order asked for.
  order(run, by) {
    const known = this.known.get(run);
    if (!known) return [];
    if (!known.orders[by]) {
      const places = known.columns.episode.map((_, place) => place);
      const reward = known.columns.reward;
      if (by === "reward") places.sort((a, b) => (reward[a] ?? -Infinity) - (reward[b] ?? -Infinity) || a - b);
      known.orders[by] = places;
    }
    return known.orders[by];
  }

  // The place of the best episode in the list: the first one with the highest reward.
  best(run) {
    const reward = this.known.get(run)?.columns.reward ?? [];
    let best = -1;
    for (let place = 0; place < reward.length; place += 1) {
      if (reward[place] !== null && (best < 0 || reward[place] > reward[best])) best = place;
    }
    return best;
  }

  episode(run, number) {
    const key = `${run}\n${number}`;
    let found = this.episodes.get(key);
    if (found) {
      this.episodes.delete(key);
    } else {
      found = ask("episode", { run, episode: number });
      found.catch(() => this.episodes.delete(key));
    }
    this.episodes.set(key, found);
    if (this.episodes.size > KEPT) this.episodes.delete(this.episodes.keys().next().value);
    return found;
  }

  heat(run) {
    const known = this.known.get(run);
    if (!known.heat) {
      known.heat = ask("heat", { run });
      known.heat.catch(() => (known.heat = null));
    }
    return known.heat;
  }
}
