"""Every command that the documentation prints is parsed by the real command line."""

import pytest
from doc_commands import NotACommandError, parse
from doc_pages import Command, blocks, commands, pages

KINDS = {"python", "commands", "text", "inline"}


@pytest.mark.parametrize("page", pages())
def test_commands_are_parsed(page: str) -> None:
    for command in commands(page):
        parse(command)


@pytest.mark.parametrize("page", pages())
def test_every_block_says_what_it_is(page: str) -> None:
    unknown = [f"{page}:{block.line}: {block.kind!r}" for block in blocks(page) if block.kind not in KINDS]
    assert not unknown, "fence code as python, bash or console, and all else as text"


@pytest.mark.parametrize(
    "wrong",
    [
        "nas-gym serch",
        "nas-gym search --evaluation 3",
        "nas-gym search --evaluations many",
        "nas-gym search --env nas_gym/Chain-Digits-v7",
        "nas-gym search --agent genetic --agent-arg populatoin=20",
        "nas-gym show",
        "nas-gym table describ",
        "nas-gym bench submit mine --agents random",
        "python scripts/tune_everything.py",
        "python scripts/compare_planted.py --agent tpe",
        "python runs/mine/export/predict.py --resizing model.onnx x.png",
        "python -m pytest tests/agents/test_genetic.py -k finds_nothing",
        'pip install "nas-gym[everything]"',
        "pip install nas-gim",
        "make tests",
        "tensorboard --logdirs runs",
        "ray begin --head",
        "a picture of something",
    ],
)
def test_what_is_no_command_is_found(wrong: str) -> None:
    with pytest.raises(NotACommandError):
        parse(Command("page.md", 1, wrong))


def test_a_sentence_may_name_a_command_without_its_arguments() -> None:
    parse(Command("page.md", 1, "nas-gym show", inline=True))
    with pytest.raises(NotACommandError):
        parse(Command("page.md", 1, "nas-gym shows RUN", inline=True))


def test_the_pages_have_commands_of_every_form() -> None:
    found = [command for page in pages() for command in commands(page)]
    texts = [command.text for command in found]
    assert "WANDB_MODE" not in " ".join(text.split()[0] for text in texts)
    assert any(text.endswith("--evaluations 24 --run-dir runs/mine") for text in texts), "continued lines are one"
    assert "nas-gym report runs/digits" in texts, "sentences are read"
    assert ". .venv/bin/activate" in texts, "what && joins is two"
    assert not [text for text in texts if "#" in text]
    capitals = {command.text: command.placeholder for command in found}
    assert capitals["nas-gym show RUN --pareto macs"] == "RUN"
    assert capitals["nas-gym bench report results/table"] is None
