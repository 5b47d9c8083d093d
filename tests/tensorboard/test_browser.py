"""The tab in a real browser, inside TensorBoard, against what was written.

With ``NAS_GYM_SCREENSHOTS=docs/images`` the pictures of docs/tensorboard.md are made.
"""

import math

import numpy as np
import pytest
from browser import chromium
from made_up import CHECKS, SPACE, VIEWS, Search, credit
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from serving import serving
from tab import Tab

from nas_gym.explain.record import FORCED, OUT_OF_BUDGET
from nas_gym.tensorboard import TAB

N, N_OTHER = 300, 40
RUN, OTHER = "ppo/tensorboard", "evolution/tensorboard"


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    ppo = Search(folder / "ppo")
    evolution = Search(folder / "evolution", agent="regularized-evolution", policy=False, seed=3)
    for search, count in ((ppo, N), (evolution, N_OTHER)):
        search.play(count)
        search.explain()
    yield folder, ppo, evolution
    ppo.writer.close()
    evolution.writer.close()


@pytest.fixture(scope="module")
def server(searches):
    folder, *_ = searches
    with serving(folder) as server:
        server.wait(RUN, N)
        server.wait(OTHER, N_OTHER)
        yield server


@pytest.fixture(scope="module")
def window():
    with chromium() as window:
        yield window


@pytest.fixture
def tab(window, server):
    """The tab as it opens, on the first run by name."""
    tab = Tab(window)
    tab.size(1280)
    tab.complaints()
    yield tab.open(f"{server.base}/#nas_decisions&p.nas_decisions.run={RUN}")
    assert tab.complaints() == []


@pytest.fixture(scope="module")
def ppo(searches):
    return searches[1].written


def earlier(decision):
    """The groups that get a bar: those that were decided, and any that moved something."""
    return [g for g in range(len(decision.observation)) if decision.observation[g] or decision.phi[g]]


def test_tensorboard_shows_the_tab(window, server):
    page = Tab(window, frame=False)
    page.size(1280)
    window.get(server.base)
    names = "return [...document.querySelectorAll('[role=tab]')].map((tab) => tab.textContent.trim().toLowerCase())"
    page.until(lambda: TAB.lower() in page.script(names))
    entry = next(tab for tab in page.all("[role=tab]") if tab.text.strip().lower() == TAB.lower())
    entry.click()
    frame = page.until(lambda: window.find_element(By.CSS_SELECTOR, "iframe[src*=nas_decisions]"))
    window.switch_to.frame(frame)
    page.waits_for("episode-count", f"of {N_OTHER}")  # the first run by name
    assert page.complaints() == []


def test_every_episode_is_listed(tab, ppo):
    assert tab.text("episode-count") == f"of {N}"
    assert tab.one("slider").get_attribute("max") == str(N - 1)
    for at in (0, 1, 157, N - 1):
        tab.slide("slider", at)
        tab.until(lambda at=at: f"Episode {at} ·" in tab.one_text(".growing .sentence"))
        assert f"reward {ppo[at][0].reward:.4f}" in tab.text("episode-facts")
        assert len(tab.all("[data-testid=decision]")) == len(ppo[at])


def test_episodes_can_be_ordered_by_reward(tab, ppo):
    tab.one("order-reward").click()
    rewards = np.array([own[0].reward for own in ppo], dtype=np.float32)
    order = sorted(range(N), key=lambda i: (rewards[i], i))
    for at in (0, 100, N - 1):
        tab.slide("slider", at)
        tab.until(lambda at=at: f"Episode {order[at]} ·" in tab.one_text(".growing .sentence"))
    tab.one("previous").click()
    tab.until(lambda: f"Episode {order[-2]} ·" in tab.one_text(".growing .sentence"))
    tab.one("best").click()
    tab.until(lambda: f"Episode {int(rewards.argmax())} ·" in tab.one_text(".growing .sentence"))


@pytest.mark.parametrize(("episode", "step"), [(0, 0), (123, 1), (256, 3), (298, 4)])
def test_bars_equal_the_stored_values(tab, ppo, episode, step):
    decision = ppo[episode][step]
    assert decision.phi is not None and not decision.flags & FORCED
    tab.go(episode, step + 1)
    card = "[data-card=why] "
    groups = earlier(decision)
    found = tab.values(card + "[data-testid=bar][data-kind=slot]")
    assert np.array_equal(np.float32(found), decision.phi[groups].astype(np.float32))
    prior = np.float32(decision.phi0) - np.float32(decision.log_uniform)
    assert np.isclose(tab.values(card + "[data-testid=bar][data-kind=prior]"), prior, atol=1e-6)
    assert np.float32(tab.values(card + "[data-testid=start]")) == np.float32(decision.log_uniform)
    assert np.float32(tab.values(card + "[data-testid=end]")) == np.float32(decision.logp)
    names = [
        tab.script("return arguments[0].querySelector('th').textContent", row) for row in tab.all(card + "tr.slot")
    ]
    slots = SPACE.slots
    assert names == [f"{slots[g].name} = {slots[g].choices[decision.observation[g] - 1]}" for g in groups]


def test_bars_are_as_long_as_their_values(tab, ppo):
    tab.go(256, 4)
    drawn = tab.script("""return [...document.querySelectorAll("[data-card=why] [data-testid=bar]")].map((row) => {
        const bar = row.querySelector(".bar").getBoundingClientRect(), track = row.querySelector(".track").getBoundingClientRect();
        return [bar.left - track.left, bar.right - track.left, track.width, Number(row.closest("table").dataset.scale)];
    })""")
    at = ppo[256][3].log_uniform
    values = tab.values("[data-card=why] [data-testid=bar]")
    (start,) = tab.script("""return [...document.querySelectorAll("[data-card=why] .start .mark")].map((mark) => {
        const box = mark.getBoundingClientRect(), track = mark.closest(".track").getBoundingClientRect();
        return (box.left + box.right) / 2 - track.left;
    })""")
    reached = 0.0
    for value, (left, right, width, scale) in zip(values, drawn, strict=True):
        ends = sorted((reached, reached + value))
        expected = [start + end * scale / 100 * width for end in ends]
        assert np.allclose([left, right], expected, atol=1.5), (value, at)
        reached += value


def test_masked_choices_are_labelled(tab, ppo):
    episode, step = next(
        (own[0].episode, d.step)
        for own in ppo
        for d in own
        if d.legal[: len(SPACE.slots[d.slot].choices)].sum() < len(SPACE.slots[d.slot].choices) and d.legal.sum() > 2
    )
    decision = ppo[episode][step]
    tab.go(episode, step + 1)
    rows = tab.all("[data-testid=choice]")
    choices = SPACE.slots[decision.slot].choices
    assert len(rows) == len(choices)
    for action, (row, choice) in enumerate(zip(rows, choices, strict=True)):
        assert choice in row.text
        assert ("not legal" in row.text) == (not decision.legal[action]), choice
        assert ("chosen" in row.text) == (action == decision.action)
        assert ("runner-up" in row.text) == (action == decision.runner_up)
        if decision.legal[action] and action != decision.action:
            shown = np.float16(float(row.get_attribute("data-value")))
            assert shown == np.float16(decision.probabilities[action])


def test_why_not_the_runner_up_and_why_not_another(tab, ppo):
    decision = ppo[256][3]
    tab.go(256, 4)
    half = decision.phi_actions.astype(np.float16).astype(float)
    legal = [a for a in np.flatnonzero(decision.legal) if a not in (decision.action, decision.runner_up)]
    for against in (decision.runner_up, int(legal[0])):
        if against != decision.runner_up:
            tab.all(f"[data-testid=choice][data-action='{against}'] button")[0].click()
        name = SPACE.slots[decision.slot].choices[against]
        tab.until(lambda name=name: name in tab.one_text("[data-card=why-not] h2"))
        found = tab.values("[data-card=why-not] [data-testid=bar][data-kind=slot]")
        expected = (half[:, decision.action] - half[:, against])[[g for g in earlier(decision)]]
        assert np.allclose(found, expected, atol=1e-6)
        (odds,) = tab.values("[data-card=why-not] [data-testid=end]")
        log_odds = math.log(decision.probabilities[decision.action] / decision.probabilities[against])
        assert math.isclose(odds, log_odds, abs_tol=5e-3)


def test_what_has_no_attributions_says_why(tab, ppo):
    episode, step = next(
        (own[0].episode, d.step) for own in ppo for d in own if d.flags & OUT_OF_BUDGET and not d.flags & FORCED
    )
    tab.go(episode, step + 1)
    assert "nas-gym explain RUN" in tab.text("notice")
    forced = [(own[0].episode, d.step) for own in ppo for d in own if d.flags & FORCED]
    if forced:  # of a space with so many choices they are rare
        episode, step = forced[0]
        tab.go(episode, step + 1)
        assert "the only legal choice" in tab.text("notice")


def test_facts_and_checks(tab, ppo):
    decision = ppo[256][3]
    tab.go(256, 4)
    facts = tab.script(
        "return Object.fromEntries([...document.querySelectorAll('[data-fact]')].map((one) => [one.dataset.fact, Number(one.dataset.value)]))"
    )
    for name, value in {
        "value (critic)": decision.value,
        "entropy": decision.entropy,
        "advantage": decision.advantage,
    }.items():
        assert np.float32(facts[name]) == np.float32(value), name
    of_run, of_decision = tab.all("[data-testid=badge]")
    assert (of_run.get_attribute("data-state"), of_decision.get_attribute("data-state")) == ("bad", "good")
    assert "1 of 2 checks failed" in of_run.text
    of_run.click()
    said = tab.text("dialog")
    assert all(check["sentence"] in said for check in CHECKS)
    tab.keys(Keys.ESCAPE)
    tab.until(lambda: not tab.all("dialog"))


def test_credit_by_every_view_and_never_mixed(tab, ppo):
    tab.go(256, 4)
    views = {view.get_attribute("data-view"): view for view in tab.all("[data-testid=view]")}
    assert set(views) == {*VIEWS, "critic_waterfall"}
    frame = credit(ppo)
    for view in VIEWS:
        own = frame[(frame["episode"] == 256) & (frame["view"] == view)]["credit"].to_numpy(np.float32)
        assert np.array_equal(np.float32(tab.values(f"[data-view={view}] [data-testid=credit]")), own)
        assert VIEWS[view]["sentence"] in views[view].text
        assert views[view].get_attribute("data-trusted") == str(VIEWS[view]["trusted"]).lower()
    live = tab.values("[data-view=critic_waterfall] [data-testid=credit]")
    assert np.array_equal(np.float32(live), np.float32([d.reward_credit for d in ppo[256]]))
    assert "not to be trusted" in views["shapley_surrogate"].text


def test_an_agent_without_a_policy_has_its_choices_and_credits(tab, server):
    tab.open(
        f"{server.base}/#nas_decisions&p.nas_decisions.run={OTHER}&p.nas_decisions.episode=7&p.nas_decisions.decision=2"
    )
    assert "no policy" in tab.text("notice")
    assert len(tab.all("[data-testid=view]")) == len(VIEWS)
    assert tab.all("[data-testid=bar]") == []
    assert "legal" in tab.all("[data-testid=choice]")[0].text


def test_keys(tab, ppo):
    tab.go(100, 1)
    tab.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    tab.waits_for("selected", "Decision 3 of")
    assert tab.script("return document.activeElement.dataset.step") == "2"  # the focus follows
    tab.keys(Keys.ARROW_LEFT)
    tab.waits_for("selected", "Decision 2 of")
    tab.keys(Keys.END)
    tab.waits_for("selected", f"Decision {len(ppo[100])} of")
    tab.shifted(Keys.ARROW_RIGHT)
    tab.until(lambda: "Episode 101 ·" in tab.one_text(".growing .sentence"))
    tab.keys("b")
    best = max(range(N), key=lambda i: (np.float32(ppo[i][0].reward), -i))
    tab.until(lambda: f"Episode {best} ·" in tab.one_text(".growing .sentence"))
    tab.keys("?")
    tab.waits_for("dialog", "decision before, after")
    tab.keys(Keys.ESCAPE)
    tab.keys("2")
    tab.until(lambda: tab.all("[data-testid=heat]"))
    tab.keys("1")
    tab.until(lambda: not tab.all("[data-testid=heat]"))


def test_a_link_carries_the_selection(tab, window, server):
    tab.one("order-reward").click()
    tab.go(211, 3)
    legal = [row for row in tab.all("[data-testid=choice] button") if row.get_attribute("aria-pressed") == "false"]
    legal[-1].click()
    title = tab.until(lambda: tab.one_text("[data-card=why-not] h2"))
    window.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    tab.until(lambda: "against" in tab.script("return window.parent.location.hash"))
    address = tab.script("return window.parent.location.href")
    for part in ("episode=211", "decision=3", "order=reward", f"run={RUN}"):
        assert f"p.nas_decisions.{part}" in address
    tab.one("copy-link").click()
    tab.waits_for("copy-link", "copied")
    again = Tab(window).open(address)  # as somebody else's browser would
    assert "Decision 3 of" in again.text("selected") and again.one_text("[data-card=why-not] h2") == title
    assert "Episode 211 ·" in again.one_text(".growing .sentence")
    assert again.one("order-reward").get_attribute("aria-pressed") == "true"
    # A link that is pasted into the same page, and the page of the tab by itself.
    again.script(
        "window.parent.location.hash = '#nas_decisions&p.nas_decisions.run=' + arguments[0] + '&p.nas_decisions.episode=12'",
        RUN,
    )
    again.until(lambda: "Episode 12 ·" in again.one_text(".growing .sentence"))
    window.switch_to.default_content()
    alone = Tab(window, frame=False).open(
        f"{server.base}/data/plugin_entry.html?name=nas_decisions#run={RUN}&episode=211&decision=3"
    )
    assert "Decision 3 of" in alone.text("selected")


@pytest.mark.parametrize(
    "wrong", ["run=nobody&episode=3", f"run={RUN}&episode=99999", f"run={RUN}&episode=abc&decision=0&view=x&order=%ZZ"]
)
def test_a_link_without_meaning_shows_something(window, server, wrong):
    tab = Tab(window, frame=False)
    tab.complaints()
    tab.open(f"{server.base}/data/plugin_entry.html?name=nas_decisions#{wrong}")
    shown = tab.until(lambda: tab.one_text(".details"))
    assert "there is no" in shown.lower() or "Decision 1 of" in shown
    tab.one("best").click() if "nobody" not in wrong else None
    assert not [said for said in tab.complaints() if "404" not in said]


def test_other_dashboards_keep_their_address(tab, window):
    """The tab writes the address only while it is the one shown, and comes back to what it showed."""
    tab.go(42, 2)
    tab.script("window.parent.location.hash = '#scalars'")
    tab.keys(Keys.ARROW_RIGHT)
    window.switch_to.default_content()
    assert "nas_decisions" not in window.current_url
    tab.script("window.location.hash = '#nas_decisions'")
    window.switch_to.frame(window.find_element(By.CSS_SELECTOR, "iframe[src*=nas_decisions]"))
    tab.until(lambda: "p.nas_decisions.episode=42" in tab.script("return window.parent.location.hash"))


def test_comparison(tab, searches):
    _, ppo, evolution = searches
    tab.go(123, 2)
    tab.one("view-compare").click()
    tab.until(lambda: tab.all("[data-testid=comparison]"))
    first, second = tab.all(".pane")
    assert len(first.find_elements(By.CSS_SELECTOR, "[data-testid=run]")) == 1
    other = int(second.find_element(By.CSS_SELECTOR, "[data-testid=episode-number]").get_attribute("value"))
    sides = [
        {SPACE.slots[d.slot].name: SPACE.slots[d.slot].choices[d.action] for d in own}
        for own in (ppo.written[123], evolution.written[other])
    ]
    rows = {row.get_attribute("data-slot"): row for row in tab.all("[data-testid=compared]")}
    assert set(rows) == set(sides[0]) | set(sides[1])
    for slot, row in rows.items():
        assert row.get_attribute("data-differs") == str(sides[0].get(slot) != sides[1].get(slot)).lower()
        for side in sides:
            assert side.get(slot, "not decided") in row.text
    # The same slot is selected on both sides, wherever it is chosen.
    selected = [pane.find_element(By.CSS_SELECTOR, "[data-testid=selected]").text for pane in (first, second)]
    assert all(text.startswith("Decision 2 of") for text in selected)
    rows["batch_size" if "batch_size" in rows else list(rows)[-1]].find_element(By.TAG_NAME, "button").click()
    tab.until(
        lambda: (
            [box.get_attribute("data-step") for box in tab.all(".selected [data-testid=decision]")]
            == [str(len(ppo.written[123]) - 1), str(len(evolution.written[other]) - 1)]
        )
    )


def test_heat_map_over_the_training(tab, ppo):
    tab.one("view-training").click()
    tab.until(lambda: tab.all("[data-testid=heat]"))
    tab.slide("moment-slider", 3)
    tab.waits_for("moment", "policy versions 3 to 3")
    kept = [d for own in ppo for d in own if d.policy_version == 3 and d.phi is not None and not d.flags & FORCED]
    slots = sorted({d.slot for d in kept})
    cells = np.array(tab.values("[data-testid=heat] tbody [data-testid=cell]")).reshape(len(slots), -1)
    for row, slot in zip(cells, slots, strict=True):
        own = [d for d in kept if d.slot == slot]
        assert np.allclose(row[1:], np.mean([np.abs(d.phi) for d in own], 0), rtol=2e-3, atol=1e-5)
        assert np.isclose(row[0], np.mean([abs(d.phi0 - d.log_uniform) for d in own]), rtol=1e-4)
    tab.one("rows-step").click()
    tab.until(lambda: "step 0" in tab.one("heat").text)
    tab.one("moment-all").click()
    tab.waits_for("moment", "the whole training: policy versions 0 to 14")


def test_new_episodes_come_and_the_selection_stays(tmp_path, window):
    search = Search(tmp_path / "ppo")
    search.play(30)
    with serving(tmp_path) as server:
        server.wait(RUN, 30)
        tab = Tab(window).open(f"{server.base}/#nas_decisions")
        tab.go(7, 3)
        search.play(20)
        tab.waits_for("episode-count", "of 50")
        assert "Episode 7 ·" in tab.one_text(".growing .sentence") and "Decision 3 of" in tab.text("selected")
        assert tab.one("slider").get_attribute("max") == "49" and tab.one("slider").get_attribute("value") == "7"
        tab.one("follow").click()
        tab.until(lambda: "Episode 49 ·" in tab.one_text(".growing .sentence"))
        search.play(10)
        tab.until(lambda: "Episode 59 ·" in tab.one_text(".growing .sentence"))
        assert tab.complaints() == []
        window.get("about:blank")
    search.writer.close()


@pytest.mark.parametrize("view", ["decision", "training", "compare"])
@pytest.mark.parametrize("width", [400, 1280])
def test_every_width_can_be_read(window, server, view, width):
    tab = Tab(window, frame=False)
    tab.size(width)
    tab.open(f"{server.base}/data/plugin_entry.html?name=nas_decisions#view={view}&run={RUN}&episode=256&decision=4")
    tab.until(lambda: tab.all("[data-testid=heat], [data-testid=bar]"))
    assert tab.script("return document.documentElement.scrollWidth <= window.innerWidth")
    wide = """return [...document.querySelectorAll('.card')].filter((card) => [...card.querySelectorAll('th, td, p, button, h2')].some((inner) =>
        !inner.closest('.scroll, .network, .unseen') && inner.getBoundingClientRect().right > card.getBoundingClientRect().right + 1)).map((card) => card.dataset.card)"""
    assert tab.script(wide) == []
    tab.size(1280)


def test_everything_has_a_name_for_screen_readers(window, server):
    tab = Tab(window, frame=False)
    tab.size(1280)
    for view in ("decision", "training", "compare"):
        tab.open(
            f"{server.base}/data/plugin_entry.html?name=nas_decisions#view={view}&run={RUN}&episode=256&decision=4"
        )
        tab.until(lambda: tab.all("[data-testid=heat], [data-testid=bar]"))
        nodes = window.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        asked = {
            "button",
            "slider",
            "spinbutton",
            "combobox",
            "listbox",
            "option",
            "tab",
            "tabpanel",
            "table",
            "region",
            "dialog",
        }
        unnamed = [
            node["role"]["value"]
            for node in nodes
            if not node.get("ignored")
            and node.get("role", {}).get("value") in asked
            and not node.get("name", {}).get("value")
        ]
        assert unnamed == []
        assert {"table", "tab", "combobox"} <= {node.get("role", {}).get("value") for node in nodes}
        assert tab.script("return document.documentElement.lang") == "en"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("view", ["decision", "training", "compare"])
def test_text_stands_out_from_its_background(window, server, view, dark):
    """At least 4.5 : 1, WCAG 2.2's criterion 1.4.3, for all text but what is not yet decided, struck out or untrusted."""
    tab = Tab(window, frame=False)
    tab.size(1280, dark=dark)
    tab.open(f"{server.base}/data/plugin_entry.html?name=nas_decisions#view={view}&run={RUN}&episode=256&decision=4")
    tab.until(lambda: tab.all("[data-testid=heat], [data-testid=bar]"))
    weak = tab.script(CONTRAST)
    assert weak == []
    tab.size(1280)


CONTRAST = """
const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => { for (let at = element; at; at = at.parentElement) { const colour = rgb(getComputedStyle(at).backgroundColor); if (colour[3] > 250) return colour; } return [255, 255, 255, 255]; };
const weak = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || element.closest(".unseen, .after, .untrusted, svg, option, .none") || !element.getClientRects().length) continue;
  const [front, back] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
  const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  if (ratio < 4.5) weak.push(`${element.className} ${element.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
}
return weak;
"""
