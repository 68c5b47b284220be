from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

from vae_experiments.tracking.names import flatten, image_key, key, text


@given(st.text(alphabet=st.characters(), max_size=300))
def test_any_text_becomes_a_key_that_mlflow_takes(name: str) -> None:
    for made in (key(name), image_key(name)):
        _validate_metric_name(made)
        _validate_param_name(made)
        _validate_tag_name(made)
        assert 1 <= len(made) <= 250


@given(st.text(alphabet=st.characters(), max_size=40))
def test_any_text_becomes_a_value_that_can_be_stored(value: str) -> None:
    made = text(value, 20)
    assert len(made) <= 20
    assert "\0" not in made
    made.encode()


def test_what_is_fine_stays_as_it_is() -> None:
    assert key("train/kl_weight.x-y: z") == "train/kl_weight.x-y: z"
    assert text("a\tb\nc \u00fc", 100) == "a\tb\nc \u00fc"


def test_a_config_becomes_dotted_keys() -> None:
    nested = {"a": {"b": [1, {"c": 2}], "d": {}}, "e": None}
    assert dict(flatten(nested)) == {"a.b": [1, {"c": 2}], "a.d": {}, "e": None}
