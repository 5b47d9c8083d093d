"""One decision in a real browser, against what was written of it."""

import math

import numpy as np
import pytest
from made_up import CHECKS, SPACE, VIEWS, credit
from selenium.webdriver.common.keys import Keys
from tab import OTHER

from nas_gym.explain.record import FORCED, OUT_OF_BUDGET


def earlier(decision):
    """The groups that get a bar: those that were decided, and any that moved something."""
    return [g for g in range(len(decision.observation)) if decision.observation[g] or decision.phi[g]]


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
        const [bar, track] = [".bar", ".track"].map((part) => row.querySelector(part).getBoundingClientRect());
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
        expected = (half[:, decision.action] - half[:, against])[earlier(decision)]
        assert np.allclose(found, expected, atol=1e-4)
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
        "const told = [...document.querySelectorAll('[data-fact]')].map((one) => one.dataset);"
        "return Object.fromEntries(told.map((one) => [one.fact, Number(one.value)]))"
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
        assert VIEWS[view]["meaning"] in views[view].text
        assert views[view].get_attribute("data-trusted") == str(VIEWS[view]["trusted"]).lower()
    live = tab.values("[data-view=critic_waterfall] [data-testid=credit]")
    assert np.array_equal(np.float32(live), np.float32([d.reward_credit for d in ppo[256]]))
    assert "not to be trusted" in views["shapley_surrogate"].text


def test_credits_of_what_was_left_open_and_of_losses_are_named_as_such(tab, ppo):
    episode = next(own[0].episode for own in ppo if len(own) < len(SPACE.slots) and own[0].episode > 9)
    tab.go(episode, 1)
    filled = {decision.slot for decision in ppo[episode]}
    left = [f"{slot.name} (left open)" for number, slot in enumerate(SPACE.slots) if number not in filled]
    named = [row.text for row in tab.all("[data-view=shapley_surrogate] tr th")]
    assert left and named[: len(left)] == left and len(named) == len(left) + len(ppo[episode])
    bars = tab.all("[data-view=regret] b.bar")
    assert bars and all("less" in bar.get_attribute("class") for bar in bars), "more regret is no gain"
    assert "In units of the reward (regret: of test)." in tab.one_text("[data-card=credit] .sentence")


def test_an_agent_without_a_policy_has_its_choices_and_credits(tab, server):
    tab.open(
        f"{server.base}/#nas_decisions&p.nas_decisions.run={OTHER}&p.nas_decisions.episode=7&p.nas_decisions.decision=2"
    )
    assert "no policy" in tab.text("notice")
    assert len(tab.all("[data-testid=view]")) == len(VIEWS)
    assert tab.all("[data-testid=bar]") == []
    assert "legal" in tab.all("[data-testid=choice]")[0].text
