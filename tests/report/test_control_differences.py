"""Control's numbers for other prompts: paired as the geometry's are, and told noise against noise told nothing."""

import numpy as np
import pandas as pd
import pytest

from gad.metrics.statistics import bootstrap_mean, crossed_mean
from gad.report.control_differences import PROMPTS_ALONE, SEEDS_AND_PROMPTS, control_differences, control_gains

SEEDS, PROMPTS = 3, 5


@pytest.fixture
def overlap() -> dict:
    """Overlap ``[seeds, prompts]`` by model and noise."""
    generator = np.random.default_rng(0)
    seeds = {"teacher": 1, "baseline": SEEDS, "gad": SEEDS, "random_gradient": 1}
    return {(name, noise): generator.random((count, PROMPTS)) for name, count in seeds.items() for noise in NOISES}


NOISES = ("random", "optimised", "teacher")


@pytest.fixture
def folder(overlap, tmp_path):
    rows = [
        {"variant": name, "seed": seed, "prompt": prompt, "noise": noise, "overlap": value}
        for (name, noise), values in overlap.items()
        for (seed, prompt), value in np.ndenumerate(values)
    ]
    pd.DataFrame(rows).sample(frac=1, random_state=0).to_parquet(tmp_path / "layout.parquet")
    return tmp_path


def same(estimate, expected) -> bool:
    return vars(estimate) == pytest.approx(vars(expected), nan_ok=True)


def test_differences_are_paired_by_seed_and_prompt_and_by_prompt_alone_for_one_seed(folder, overlap):
    table = control_differences(folder).set_index(["task", "variant"])
    both = table.loc[("layout, optimised noise", "gad")]
    assert same(both["difference"], crossed_mean(overlap["gad", "optimised"] - overlap["baseline", "optimised"]))
    one = table.loc[("layout, random noise", "random_gradient")]
    expected = bootstrap_mean((overlap["random_gradient", "random"] - overlap["baseline", "random"][:1])[0])
    assert (one["difference"].mean, one["difference"].low) == pytest.approx((expected.mean, expected.low))
    assert [both["covers"], one["covers"]] == [SEEDS_AND_PROMPTS, PROMPTS_ALONE]
    assert "teacher" not in table.index.get_level_values("variant")


def test_a_gain_is_what_telling_the_noise_changes_for_the_same_model_and_prompt(folder, overlap):
    table = control_gains(folder).set_index(["task", "variant"])
    own = table.loc[("layout, overlap: optimised less random noise", "teacher")]
    assert same(own["gain"], bootstrap_mean((overlap["teacher", "optimised"] - overlap["teacher", "random"])[0]))
    handed = table.loc[("layout, overlap: teacher less random noise", "gad")]
    assert same(handed["gain"], crossed_mean(overlap["gad", "teacher"] - overlap["gad", "random"]))


def test_tasks_that_did_not_run_have_no_rows(tmp_path):
    assert control_differences(tmp_path).empty and control_gains(tmp_path).empty
