"""What was computed after the search: what mattered overall, and the checks."""

from collections.abc import Sequence
from typing import Any

from nas_gym.document import Badge, Items, Rows, of_markdown
from nas_gym.report.material import Material
from nas_gym.report.numbers import counted, plain
from nas_gym.report.section import Page, Section, silent

IMPORTANCE = "What mattered overall"
CHECKS = "Checks of the explanations"
PICTURES = {
    "importance": "How much each decision matters to the reward of the networks of this run.",
    "beeswarm": "One dot per network and decision: to which side a choice moves the predicted reward, and how far.",
    "dependence": "What each choice adds to the reward that the model predicts (SHAP), over the networks that have it.",
    "ablation": "The way from a plain network to the best one, one decision after the other.",
    "motifs": "What the best tenth has more, or less, often than the rest; where the title says so, it may be chance.",
}
# From the decision log itself, for runs whose checks were not computed: the limits are those of the notes on additivity
# and of float32 sums over a policy's layers.
ADDITIVE, MATCHING = 1e-3, 1e-4


def importance(material: Material) -> Section:
    """Return what mattered to the accuracy over all networks of the run."""
    facts, text = material.object("importance.json", dict), material.file("importance.md")
    pictures = {name: path for name in PICTURES if (path := material.file(f"{name}.png")) is not None}
    if facts is None and text is None and not pictures:
        return silent(IMPORTANCE, f"Not computed for this run; `{material.explain}` does it.")
    page = Page(IMPORTANCE, "importance")
    _add_text(page, material, "importance", facts)
    for name, path in pictures.items():
        page.show(name, path, PICTURES[name])
    return page.section()


def _add_text(page: Page, material: Material, name: str, facts: dict[str, Any] | None) -> None:
    """Add what a file says in words; without one, the plain values of the facts."""
    path = material.file(f"{name}.md")
    if path is not None:
        page.blocks += of_markdown(path.read_text(encoding="utf-8"), level=2)
        return
    told = {key: value for key, value in (facts or {}).items() if isinstance(value, str | int | float | bool)}
    page.say(*(str(told.pop(key)) for key in ("meaning", "sentence") if key in told))
    if told:
        page.blocks.append(Items([f"{key.replace('_', ' ')}: {plain(value)}" for key, value in told.items()]))


def checks(material: Material) -> Section:
    """Return the checks of the explanations with a verdict; those that the decision log holds where no others are."""
    found = material.object("checks.json", list)
    listed = [one for one in found or [] if isinstance(one, dict) and "name" in one]
    if not listed:
        listed = of_log(material)
    if not listed:
        return silent(
            CHECKS, f"Not computed: no decision of this run has attributions; `{material.explain}` tells more."
        )
    page = Page(CHECKS, "checks")
    page.blocks.append(verdict(listed))
    if not found:
        page.say(f"These two are kept with every decision; the others are not computed: `{material.explain}` does it.")
    rows = [
        [
            str(one["name"]),
            plain(one.get("value")),
            plain(one.get("limit")),
            _outcome(one),
            str(one.get("sentence", "")),
        ]
        for one in listed
    ]
    page.blocks.append(Rows(("check", "value", "limit", "", "what it says"), rows, plain=True))
    return page.section()


def verdict(listed: Sequence[dict[str, Any]]) -> Badge:
    """Return the checks in a few words."""
    passed = sum(one.get("passed") is True for one in listed)
    failed = sum(one.get("passed") is False for one in listed)
    unknown = len(listed) - passed - failed
    told = f"{passed} of {counted(len(listed), 'check')} passed"
    told += f", {failed} failed" if failed else ""
    told += f", {unknown} without a verdict" if unknown else ""
    return Badge(told, "bad" if failed else "good" if passed else "open")


def _outcome(one: dict[str, Any]) -> str:
    return {True: "passed", False: "**failed**"}.get(one.get("passed"), "no verdict")  # type: ignore[arg-type]


def of_log(material: Material) -> list[dict[str, Any]]:
    """Return what the decision log itself says of its attributions."""
    if material.explained is None:
        return []
    rows = material.explained[0]
    kinds = (
        ("residual", "additivity", ADDITIVE, "prior preference and attributions add up to the log-probability"),
        ("logp_error", "log-probability", MATCHING, "the policy that is explained is the one that decided"),
    )
    return [
        {
            "name": f"{name}, largest error in nats",
            "value": worst,
            "limit": limit,
            "passed": bool(worst < limit),
            "sentence": f"{sentence}, at each of {counted(int(rows[column].notna().sum()), 'decision')}",
        }
        for column, name, limit, sentence in kinds
        if rows[column].notna().any()
        for worst in (float(rows[column].max()),)
    ]
