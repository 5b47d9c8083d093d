"""Epochs and width from a time budget: against a search over all of them, with a machine whose speed is known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_gym.winner import schedule
from nas_gym.winner.schedule import MOST_EPOCHS, SHARE, WORTH_WIDENING, choose, timed

WIDTHS = [1 + i / 4 for i in range(13)]


def macs(width: float) -> int:
    return int(4_000_000 * width**2)


class Machine:
    """A machine that computes so many MACs a second, more of them in wider networks."""

    def __init__(self, speed: float, images: int, gain: float = 0.3) -> None:
        self.speed, self.images, self.gain, self.asked = speed, images, gain, 0

    def seconds(self, width: float) -> float:
        return 3 * macs(width) * self.images / (self.speed * width**self.gain)

    def __call__(self, width: float) -> float:
        self.asked += 1
        return self.seconds(width)


@settings(max_examples=200, deadline=None)
@given(st.floats(20, 5000), st.floats(1e9, 1e12), st.integers(500, 60_000), st.one_of(st.just(0.0), st.floats(0, 0.5)))
def test_the_widest_that_gets_its_epochs_is_chosen_and_fills_the_time(
    seconds: float, speed: float, images: int, gain: float
) -> None:
    machine = Machine(speed, images, gain)
    chosen = choose(seconds=seconds, epochs=None, widths=WIDTHS, n_images=images, macs=macs, measure=machine)
    least = min(MOST_EPOCHS, max(WORTH_WIDENING, -(-schedule.FEWEST_IMAGES // images)))
    fitting = [width for width in WIDTHS if machine.seconds(width) * least <= seconds * SHARE]
    widest = max(fitting, default=1.0)
    assert widest - 0.25 <= chosen.width <= widest and (gain or chosen.width == widest)
    each = machine.seconds(chosen.width)
    assert chosen.seconds_per_epoch == each
    assert chosen.epochs == max(1, min(MOST_EPOCHS, int(seconds * SHARE / each)))
    assert machine.asked <= len(WIDTHS)


def test_one_measurement_is_enough_for_one_width() -> None:
    machine = Machine(1e10, 10_000)
    chosen = choose(seconds=600, epochs=None, widths=[2.0], n_images=10_000, macs=macs, measure=machine)
    assert (chosen.width, machine.asked) == (2.0, 1)
    assert chosen.epochs == int(600 * SHARE / machine.seconds(2.0))


def test_given_epochs_decide_alone_or_choose_the_width() -> None:
    machine = Machine(1e11, 10_000)
    assert choose(seconds=None, epochs=7, widths=[1.5], n_images=1, macs=macs, measure=machine).epochs == 7
    assert machine.asked == 0, "nothing is measured, so that the schedule does not depend on the machine"
    chosen = choose(seconds=300, epochs=50, widths=WIDTHS, n_images=10_000, macs=macs, measure=machine)
    assert chosen.epochs == 50
    assert machine.seconds(chosen.width) * 50 <= 300 * SHARE < machine.seconds(chosen.width + 0.25) * 50


def test_a_slow_machine_gets_one_epoch_of_the_network_as_it_is() -> None:
    chosen = choose(seconds=1, epochs=None, widths=WIDTHS, n_images=50_000, macs=macs, measure=Machine(1e9, 50_000))
    assert (chosen.epochs, chosen.width) == (1, 1.0)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 100])
def test_steps_are_timed_without_the_first_ones(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: now[0])
    done = [0]

    def run(stepped: object) -> None:
        for number in range(steps):
            now[0] += 50.0 if number < 2 else 1.5
            done[0] += 1
            stepped(number + 1, steps)  # type: ignore[operator]

    each = timed(run)
    assert each == (1.5 if steps > 2 else 50.0)
    assert done[0] == min(steps, 8), "it is broken off once it has seen enough"


def test_a_stall_of_the_machine_is_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: now[0])

    def run(stepped: object) -> None:
        for number, seconds in enumerate((9.0, 1.0, 0.5, 40.0, 0.5, 0.7, 0.4, 60.0, 0.5), start=1):
            now[0] += seconds
            stepped(number, 9)  # type: ignore[operator]

    assert timed(run) == pytest.approx(0.6), "the median of 0.4, 0.5, 0.5, 0.7, 40 and 60"
