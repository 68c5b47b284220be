from hypothesis import given
from hypothesis import strategies as st

from vae_experiments.tracking.steps import Steps


@given(st.lists(st.integers(-3, 12), max_size=16))
def test_it_holds_what_was_added_and_nothing_else(added: list[int]) -> None:
    steps = Steps()
    for step in added:
        steps.add(step)
    assert [step for step in range(-5, 15) if step in steps] == sorted(set(added))


def test_epochs_one_after_the_other_take_the_room_of_one() -> None:
    steps = Steps()
    for step in [*range(1, 1001, 2), *range(2, 1001, 2)]:
        steps.add(step)
    assert steps._ranges == [range(1, 1001)]
