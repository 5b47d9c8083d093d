"""The other views of the tab in a real browser, and that all of them can be read by everybody."""

import numpy as np
import pytest
from made_up import SPACE
from selenium.webdriver.common.by import By
from tab import RUN, Tab

from nas_gym.explain.record import FORCED


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


@pytest.mark.parametrize("view", ["decision", "training", "compare"])
@pytest.mark.parametrize("width", [400, 1280])
def test_every_width_can_be_read(window, server, view, width):
    tab = Tab(window, frame=False)
    tab.size(width)
    tab.open(f"{server.base}/data/plugin_entry.html?name=nas_decisions#view={view}&run={RUN}&episode=256&decision=4")
    tab.until(lambda: tab.all("[data-testid=heat], [data-testid=bar]"))
    assert tab.script("return document.documentElement.scrollWidth <= window.innerWidth")
    wide = """
      const sticksOut = (card) => [...card.querySelectorAll("th, td, p, button, h2")].some((inner) =>
        !inner.closest(".scroll, .network, .unseen") &&
        inner.getBoundingClientRect().right > card.getBoundingClientRect().right + 1);
      return [...document.querySelectorAll(".card")].filter(sticksOut).map((card) => card.dataset.card)"""
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
    tab = Tab(window, frame=False)
    tab.size(1280, dark=dark)
    tab.open(f"{server.base}/data/plugin_entry.html?name=nas_decisions#view={view}&run={RUN}&episode=256&decision=4")
    tab.until(lambda: tab.all("[data-testid=heat], [data-testid=bar]"))
    assert tab.weak() == []
    tab.size(1280)
