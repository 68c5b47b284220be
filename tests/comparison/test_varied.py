from vae_experiments.comparison.rows import Compared
from vae_experiments.comparison.varied import settings, stored_settings, varied_keys

CONFIG = {
    "architecture": {"_target_": "a.b.Conv", "latent_dim": 2, "filters": [4, 8]},
    "objective": {"_target_": "x.Elbo", "kl_weight": 1.0},
    "hooks": {
        "gallery": {"_target_": "vae_experiments.figures.hooks.Gallery", "figures": {"seed": 0}},
        "early_stopping": {"_target_": "vae_experiments.training.hooks.EarlyStopping", "patience": None},
    },
    "tracking": {"uri": None},
    "figures": {"seed": 0},
    "name": "a",
    "seed": 0,
}


def keys(*configs: dict[str, object]) -> list[str]:
    return varied_keys([Compared(None, "", "", settings(config)) for config in configs])


def test_equal_configs_vary_in_nothing() -> None:
    assert keys(CONFIG, CONFIG) == []


def test_names_records_pictures_and_seeds_do_not_count_but_early_stopping_does() -> None:
    other = {**CONFIG, "name": "b", "seed": 3, "tracking": {"uri": "x"}, "figures": {"seed": 9}}
    other["hooks"] = {"gallery": None, "early_stopping": {**CONFIG["hooks"]["early_stopping"]}}  # type: ignore[index]
    assert keys(CONFIG, other) == []
    other["hooks"]["early_stopping"]["patience"] = 3  # type: ignore[index]
    assert keys(CONFIG, other) == ["hooks.early_stopping.patience"]


def test_what_differs_is_found_also_where_the_store_keeps_it_as_text() -> None:
    other = {**CONFIG, "architecture": {**CONFIG["architecture"], "latent_dim": 8, "filters": [4]}}  # type: ignore[dict-item]
    assert keys(CONFIG, other) == ["architecture.filters", "architecture.latent_dim"]
    stored = stored_settings({"architecture.latent_dim": "8", "architecture.filters": "[4]", "optimizer.name": "adam"})
    assert stored == {"architecture.latent_dim": 8, "architecture.filters": [4], "optimizer.name": "adam"}


def test_keys_that_only_one_class_has_say_no_more_than_the_classs_name() -> None:
    mlp = {**CONFIG, "architecture": {"_target_": "a.b.Mlp", "latent_dim": 2, "hidden": [512]}}
    assert keys(CONFIG, mlp) == ["architecture"]
    wide = {**CONFIG, "architecture": {"_target_": "a.b.Mlp", "latent_dim": 2, "hidden": [1024]}}
    assert keys(CONFIG, mlp, wide) == ["architecture", "architecture.hidden"]


def test_a_number_in_one_run_and_a_schedule_in_another_is_one_setting() -> None:
    scheduled = {**CONFIG, "objective": {"_target_": "x.Elbo", "kl_weight": {"_target_": "x.LinearWarmup", "steps": 9}}}
    assert keys(CONFIG, scheduled) == ["objective.kl_weight"]
    assert settings(scheduled)["objective.kl_weight"] == "LinearWarmup"
