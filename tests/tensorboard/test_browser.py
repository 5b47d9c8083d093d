"""The tab in a real browser, inside TensorBoard: episodes, keys, links, and what comes while a search runs."""

import numpy as np
import pytest
from made_up import Search
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from serving import serving
from tab import N_OTHER, RUN, N, Tab

from nas_gym.tensorboard import TAB


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
        "window.parent.location.hash = `#nas_decisions&p.nas_decisions.run=${arguments[0]}&p.nas_decisions.episode=12`",
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
