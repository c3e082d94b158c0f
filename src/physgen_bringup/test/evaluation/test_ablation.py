# SPDX-License-Identifier: Apache-2.0
"""An ablation changes what it says and nothing else, and its table compares trial by trial."""

from pathlib import Path

import pytest
import yaml
from evaluations import evaluation_of

from physgen_bringup.commands import ablate
from physgen_bringup.evaluation.ablation import Ablation, parse_ablation, table, variant_config, video_config
from physgen_bringup.paths import config_file
from physgen_control.errors import UserError
from physgen_policy.model.config import changed as changed_values
from physgen_policy.model.config import load_preset
from physgen_policy.training.config import parse_config

OUT = Path("/runs/ablation")


@pytest.fixture(scope="module")
def shipped() -> Ablation:
    values = yaml.safe_load(config_file("ablation_pushcube.yaml").read_text())
    return parse_ablation(values, "ablation_pushcube.yaml")


def test_the_shipped_file_has_the_papers_five_variants(shipped) -> None:
    """Each of them trains: its configuration and its architecture are valid."""
    assert [v.name for v in shipped.variants] == ["full", "no_pretrain", "discrete", "no_ar", "single_token"]
    for variant in shipped.variants:
        config = parse_config(variant_config(shipped, variant, OUT), variant.name)
        load_preset(config.model, config.architecture)
        assert config.output == f"/runs/ablation/{variant.name}" and config.cache == "/runs/ablation/latents"
    assert parse_config(video_config(shipped, OUT), "video").policy.objective == "video"


def test_a_variant_changes_one_thing(shipped) -> None:
    """Between the first variant and another, only the said keys differ (names of folders aside)."""
    full, *others = (variant_config(shipped, variant, OUT) for variant in shipped.variants)
    changed = {
        "no_pretrain": {"policy", "codec"},
        "discrete": {"architecture"},
        "no_ar": {"architecture"},
        "single_token": {"architecture"},
    }
    for config in others:
        keys = {k for k in full.keys() | config.keys() if full.get(k) != config.get(k)}
        assert keys - {"name", "output"} == changed[config["name"]]
    without = others[0]["policy"]
    assert {k: v for k, v in full["policy"].items() if not k.startswith("init_")} == without


def test_merging_leaves_both_as_they_were() -> None:
    """Nested keys are replaced or added, lists as a whole."""
    base, changes = {"a": {"b": 1, "c": [1, 2]}, "d": 2}, {"a": {"c": [3]}, "e": {"f": 1}}
    assert changed_values(base, changes) == {"a": {"b": 1, "c": [3]}, "d": 2, "e": {"f": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 2} and changes == {"a": {"c": [3]}, "e": {"f": 1}}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], "must be a mapping"),
        ({"task": "t", "train": {"a": 1}}, "lacks the key 'variants'"),
        ({"task": "t", "train": {"a": 1}, "variants": {"x": None}, "more": 1}, "unknown keys more"),
        ({"task": "t", "train": {"a": 1}, "variants": {"x": {"pretrained": True}}}, "no `video`"),
        ({"task": "t", "train": {"a": 1}, "variants": {"x": 3}}, "variant x must be a mapping"),
    ],
)
def test_an_unusable_file_is_refused(values, sentence) -> None:
    """One sentence that names the place."""
    with pytest.raises(UserError, match=sentence):
        parse_ablation(values, "file")


def test_the_first_variant_always_takes_part(shipped) -> None:
    """The others are compared with it; unknown names are refused."""
    assert [v.name for v in shipped.chosen(["no_ar"])] == ["full", "no_ar"]
    assert len(shipped.chosen([])) == 5
    with pytest.raises(UserError, match="no variant 'none'"):
        shipped.chosen(["none"])


def test_the_table_compares_seed_by_seed(shipped) -> None:
    """Rates, and the paired difference to the first variant."""
    rows = [
        (shipped.variants[0], evaluation_of([True] * 9 + [False])),
        (shipped.variants[3], evaluation_of([True] * 5 + [False] * 5)),
    ]
    text = table(rows)
    assert "| full | everything | 9 of 10 = 90.0 % |" in text
    line = next(line for line in text.splitlines() if line.startswith("| no_ar"))
    assert "5 of 10 = 50.0 %" in line and "-40.0" in line and "0.125" in line


def test_an_output_of_another_configuration_is_kept(tmp_path: Path) -> None:
    """Nothing is trained over it."""
    (tmp_path / "x.yaml").write_text("name: x\n")
    with pytest.raises(UserError, match="another configuration of x"):
        ablate._train({"name": "x", "model": "tiny", "output": str(tmp_path / "x")}, tmp_path, 1)


def test_trainings_side_by_side_log_apart_and_a_failure_says_where(tmp_path: Path, capsys) -> None:
    """Both run to their end; the one that failed is named with its log."""
    configs = [{"name": name, "model": "none", "output": str(tmp_path / name)} for name in ("a", "b")]
    with pytest.raises(UserError, match=r"training of a ended with status .*a\.log says why"):
        ablate._train_all(configs, tmp_path, processes=1, jobs=2)
    for name in ("a", "b"):
        assert "'dataset' is missing" in (tmp_path / f"{name}.log").read_text()
    assert "a: training (progress in" in capsys.readouterr().out


def test_absent_data_is_a_sentence_before_anything_is_trained(tmp_path: Path) -> None:
    """Not a traceback of the first training."""
    config = config_file("ablation_pushcube.yaml")
    values = yaml.safe_load(config.read_text())
    values["train"]["dataset"] = [str(tmp_path / "nothing")]
    (tmp_path / "ablation.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"nothing.*dataset\.json"):
        ablate.main([str(tmp_path / "ablation.yaml"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
