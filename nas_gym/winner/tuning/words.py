"""A tuning in words: what was planned, what matters, what came out."""

from collections.abc import Mapping
from typing import Any

from nas_gym import standard_error
from nas_gym.winner.tuning.space import Choice, Range, shown


def plan_in_words(plan: Mapping[str, Any]) -> str:
    """Return what is planned."""
    epochs, budget, request = plan["epochs"], plan["budget_epochs"], plan["request"]
    text = f"Trials of up to {epochs} epochs, {budget} epochs in all (as many as {budget // epochs} full trainings)"
    if request["top"]:
        again = (request["top"] + 1) * request["repeats"]
        text += f", then {again} trainings with new seeds to confirm the best"
    return f"{text}; validation images only ({plan['validation_images']:,})."


def importance_in_words(content: Mapping[str, Any]) -> list[str]:
    """Return what the broad stage says of importance."""
    kept = [one["name"] for one in content["importances"] if one["name"] in content["space"]["narrow"]["free"]]
    agreed = [one["name"] for one in content["importances"] if one["important"] and one["name"] not in kept]
    sure = [one["name"] for one in content["importances"] if one["chance"] <= 0.05]
    n = content["trials"]["broad"]
    sentences = [f"By {n} trials of the broad stage, the second stage searches {_listed(kept)}; the rest is fixed."]
    if agreed:
        sentences.append(f"The best trials agree on {_listed(agreed)}.")
    if not sure:
        sentences.append("None of these importances is clearly more than chance would give.")
    elif len(sure) < len(content["importances"]):
        sentences.append(f"Clearly more than chance (5 % of shuffles at most): {_listed(sure)}.")
    return sentences


def spaces_in_words(content: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return a row for every hyper-parameter: name, importance, chance, its broad range, its narrow one."""
    broad, narrow = content["space"]["broad"], content["space"]["narrow"]
    rows = []
    for one in content["importances"]:
        name = one["name"]
        free = narrow["free"].get(name)
        after = f"{shown(narrow['fixed'][name])}, fixed" if free is None else str(_domain(free))
        share, chance = f"{one['share']:.0%}", f"{one['chance']:.3f}"
        rows.append((name, share, chance, str(_domain(broad["free"][name])), after))
    return rows


def result_in_words(content: Mapping[str, Any]) -> list[str]:
    """Return what came out."""
    trials, validation = content["trials"], content["validation"]
    n = trials["broad"] + trials["narrow"]
    sentences = [
        f"{n} trials ({trials['pruned']} pruned, {trials['failed']} failed) in {trials['epochs']} epochs; the best one "
        f"had validation accuracy {content['best_trial']['accuracy']:.4f} ({content['best_trial']['stage']} stage)."
    ]
    if validation is None:
        return [*sentences, "Nothing was trained again: the best of many trials is partly luck."]
    if not content["improved"]:
        mean = validation["untuned"]["mean"]
        sentences.append(
            f"With new seeds no recipe was better than the one without tuning ({mean:.4f}), which is kept."
        )
        return sentences
    tuned, before, gain = validation["tuned"], validation["untuned"], validation["gain"]
    after = standard_error.shown(tuned["mean"], tuned["standard_error"])
    sentences.append(
        f"With {validation['trainings_of_each']} new seeds it is {after}, without tuning "
        f"{standard_error.shown(before['mean'], before['standard_error'])}: {gain['value']:+.4f} "
        f"[{gain['low']:+.4f}, {gain['high']:+.4f}]" + ("." if gain["low"] > 0 else ", which may be chance.")
    )
    return sentences


def part_in_words(tuning: Mapping[str, Any], winner: Mapping[str, Any] | None, run: object) -> list[str]:
    """Return what is to be said where the winner was not trained as this tuning found; empty: it was.

    Args:
        tuning: What ``best.json`` holds.
        winner: What ``winner.json`` holds; None: nothing was retrained yet.
        run: Its directory, for the commands.
    """
    retrain = f"`nas-gym retrain {run} --tuned`"
    if winner is None:
        return [f"No network was trained for long with this recipe yet: {retrain}."]
    had = winner.get("recipe") or {}
    other = [name for name, value in tuning["recipe"].items() if had.get(name, value) != value]
    if other:
        return [f"**The winner was not trained with this recipe**, but with another {_listed(other)}: {retrain}."]
    note = other_network_in_words(tuning, winner, run)
    return [f"Note: {note}."] if note else []


def other_network_in_words(tuning: Mapping[str, Any], winner: Mapping[str, Any], run: object) -> str | None:
    """Return what is to be said where the recipe was tuned for another network than the winner; else None."""
    if tuning.get("key") in (None, winner["key"]):
        return None
    return f"the recipe was tuned for another network than the winner; nas-gym tune {run} --fresh tunes the winner's"


def _domain(data: Mapping[str, Any]) -> Range | Choice:
    return Choice(tuple(data["options"])) if "options" in data else Range(**data)


def _listed(names: list[str]) -> str:
    words = [name.replace("_", " ") for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "nothing"
