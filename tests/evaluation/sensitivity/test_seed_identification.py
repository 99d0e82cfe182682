"""Seed identifiability: chance where images know nothing of their seed, all of it where they carry it."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm, t
from transformers import ResNetConfig, ResNetForImageClassification

from gad.config import SeedsConfig, load_recipe
from gad.evaluation.sensitivity.seed_accuracy import (
    seed_curve_table,
    seed_identification_accuracy,
    summarise_seed_identification,
)
from gad.evaluation.sensitivity.seed_classifiers import (
    Classifier,
    build_classifier,
    classifier_pixel_features,
    learn_seed_regression,
)
from gad.evaluation.sensitivity.seed_identification import (
    identify_seeds,
    measure_seeds,
    prepare_seed_images,
    seed_curve_sizes,
    split_seed_images,
)
from gad.models.model import Model
from gad.models.pipelines import pipeline_denoiser

CONFIG = SeedsConfig(num_seeds=4, train_prompts=10, val_prompts=3, test_prompts=8, curve=[0.3], epochs=6, lr=3e-3)
FLAT = Classifier(lambda images: images.flatten(1), learn_seed_regression)


def pictures(*, stamped: bool, prompts: int = CONFIG.num_prompts, seeds: int = 4, key: int = 0) -> torch.Tensor:
    """Noise pictures, new for every prompt and seed; a stamp is a bright square whose place is the seed's."""
    images = torch.randn(prompts, seeds, 3, 16, 16, generator=torch.Generator().manual_seed(key)) * 0.3
    if stamped:
        for seed in range(seeds):
            images[:, seed, :, 4 * seed : 4 * seed + 4, 4:12] += 1.5
    return images.clamp(-1, 1)


def rows_of(images, classifier=FLAT, config=CONFIG, teacher=None):
    return identify_seeds(
        split_seed_images(prepare_seed_images(images, classifier.prepare), config), classifier, config, teacher=teacher
    )


def test_images_without_seed_information_stay_at_chance():
    config = CONFIG.model_copy(update={"train_prompts": 30, "test_prompts": 100})
    rows, _ = rows_of(pictures(stamped=False, prompts=133), config=config)
    found = seed_identification_accuracy(rows[rows["train_prompts"] == 30])
    assert found["n"] == 400 and found["low"] < 1 / 4 < found["high"]


def test_stamped_images_are_all_told_apart_by_both_kinds_of_features():
    for classifier in (FLAT, Classifier(classifier_pixel_features, learn_seed_regression)):
        rows, _ = rows_of(pictures(stamped=True), classifier)
        assert rows[rows["train_prompts"] == 10]["right"].all()


def test_a_stamp_that_moves_is_read_on_the_model_itself_but_not_by_the_teachers_classifier():
    teacher, student = pictures(stamped=True), pictures(stamped=True, key=1).roll(1, dims=1)
    _, own = rows_of(teacher)
    rows, _ = rows_of(student, teacher=own)
    table = summarise_seed_identification(rows.assign(variant="rotated", seed=0))
    assert table["seed_identification_accuracy"].item() == 1 and table["teacher_trained_seed_accuracy"].item() == 0


def test_results_depend_on_no_batch_size_and_on_no_order_of_the_training_prompts():
    images = pictures(stamped=True) + 2 * pictures(stamped=False, key=3)  # hard enough that some are wrong
    flat = images.flatten(0, 1)
    ready = [
        torch.cat([classifier_pixel_features(part) for part in flat.split(n)]).unflatten(0, (21, 4)) for n in (5, 64)
    ]
    first, second = (identify_seeds(split_seed_images(part, CONFIG), FLAT, CONFIG, teacher=None)[0] for part in ready)
    pd.testing.assert_frame_equal(first, second)
    order = torch.cat([torch.randperm(10, generator=torch.Generator().manual_seed(0)), torch.arange(10, 21)])
    whole = CONFIG.model_copy(update={"curve": [0.99]})
    shuffled, _ = identify_seeds(split_seed_images(ready[0][order], whole), FLAT, whole, teacher=None)
    unshuffled, _ = identify_seeds(split_seed_images(ready[0], whole), FLAT, whole, teacher=None)
    pd.testing.assert_frame_equal(shuffled, unshuffled)


def test_no_prompt_is_in_two_parts_of_the_split():
    ready = torch.arange(21.0)[:, None, None].expand(21, 4, 1)
    parts = split_seed_images(ready, CONFIG)
    numbers = [part.flatten().unique().tolist() for part in (parts.train, parts.val, parts.test)]
    assert sum(numbers, []) == list(range(21)) and [len(n) for n in numbers] == [10, 3, 8]


FAULTS = [
    (pictures(stamped=True, seeds=1), "at least 2 seeds, got 1: one class only"),
    (pictures(stamped=True, prompts=20), "20 prompts are too few for 10 to train, 3 to validate, 8 to test"),
    (pictures(stamped=True).index_put((torch.tensor(2), torch.tensor(1)), torch.tensor(float("nan"))),
     "image of prompt 2, seed 1 is not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("images", "message"), FAULTS)
def test_images_that_cannot_be_judged_are_refused_in_one_line(images, message):
    with pytest.raises(ValueError, match=message) as error:
        rows_of(images)
    assert "\n" not in str(error.value)


def test_one_class_among_the_labels_is_refused_in_one_line():
    with pytest.raises(ValueError, match="one class only"):
        learn_seed_regression(torch.randn(4, 8), torch.zeros(4), torch.randn(2, 8), torch.zeros(2))


def wilson(p, n):
    z = norm.ppf(0.975)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return pytest.approx((centre - half, centre + half))


def evaluated(right):
    """Rows as of `_predictions` from ``right [P, S]``."""
    prompts, seeds = right.shape
    return pd.DataFrame({"prompt": np.repeat(np.arange(prompts), seeds), "right": right.flatten().astype(bool)})


def test_the_interval_is_wilsons_where_prompts_do_not_differ():
    found = seed_identification_accuracy(evaluated(np.tile([True, True, True, False], (5, 1))))
    assert (found["accuracy"], found["n"]) == (0.75, 20)
    assert (found["low"], found["high"]) == wilson(0.75, 20)


def test_images_that_are_right_or_wrong_by_whole_prompts_count_as_one():
    right = np.repeat([[True], [True], [True], [False]] * 5, 6, axis=1)  # 20 prompts of 6 images
    found, small = seed_identification_accuracy(evaluated(right)), (norm.ppf(0.975) / t.ppf(0.975, 19)) ** 2
    assert (found["low"], found["high"]) == wilson(0.75, small * 19)  # 19: the variance of 20 prompts has n - 1


@pytest.mark.parametrize("prompts", [1, 7, 10])
def test_the_interval_holds_the_accuracy_at_both_ends(prompts):
    for value in (True, False):
        found = seed_identification_accuracy(evaluated(np.full((prompts, 6), value)))
        assert 0 <= found["low"] <= found["accuracy"] <= found["high"] <= 1


def test_the_interval_of_an_accuracy_covers_other_prompts():
    generator, held = np.random.default_rng(0), []
    for _ in range(1000):
        of_prompt = generator.beta(2.4, 1.6, size=(20, 1))  # mean .6: some prompts are easy, some hard
        found = seed_identification_accuracy(evaluated(generator.random((20, 6)) < of_prompt))
        held.append(found["low"] <= 0.6 <= found["high"])
    assert 0.93 <= np.mean(held) <= 0.97


def test_the_learning_curve_ends_with_the_whole_training_set_and_shows_a_starved_classifier():
    config = CONFIG.model_copy(update={"curve": [0.1, 0.5]})
    assert seed_curve_sizes(config) == [1, 5, 10]
    rows, _ = rows_of(0.4 * pictures(stamped=True) + 2 * pictures(stamped=False, key=5), config=config)
    curve = seed_curve_table(rows.assign(variant="gad", seed=0)).set_index("train_prompts")["accuracy"]
    assert curve.loc[1] < curve.loc[10]
    assert (
        summarise_seed_identification(rows.assign(variant="gad", seed=0))["self_climb"].item()
        == curve.loc[10] - curve.loc[5]
    )


@pytest.fixture(scope="module")
def classifier_folder(tmp_path_factory):
    """A tiny image classifier of transformers, untrained, for ten other classes."""
    folder = tmp_path_factory.mktemp("classifier")
    config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 16], depths=[1, 1], image_size=16, num_labels=10)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ResNetForImageClassification(config).save_pretrained(folder)
    return folder


def test_a_fine_tuned_classifier_learns_the_stamp_and_comes_out_the_same_twice(classifier_folder):
    config = CONFIG.model_copy(update={"classifier": str(classifier_folder), "batch_size": 8, "curve": [0.9]})
    results = [rows_of(pictures(stamped=True), build_classifier(config), config)[0] for _ in range(2)]
    pd.testing.assert_frame_equal(*results)
    assert results[0].query("train_prompts == 10")["right"].mean() > 0.8


def test_a_missing_classifier_says_how_to_get_it_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE=0 lets a run fetch it") as error:
        build_classifier(CONFIG.model_copy(update={"classifier": str(tmp_path / "nowhere")}))
    assert "\n" not in str(error.value)


def test_a_student_that_is_the_teacher_aligns_with_it_as_it_does_with_itself(pipelines):
    teacher = Model(pipeline_denoiser(pipelines["flow"]), (4, 16, 16), pipelines["flow"])
    recipe = load_recipe("emoji_quick")
    seeds = SeedsConfig(num_seeds=3, train_prompts=4, val_prompts=2, test_prompts=3, curve=[0.5])
    pairs = recipe.noise_pairs.model_copy(update={"teacher_steps": 1, "guidance_scale": 1.0})
    settings = recipe.model_copy(
        update={"noise_pairs": pairs, "sensitivity": recipe.sensitivity.model_copy(update={"seeds": seeds})}
    )
    rows = pd.concat(measure_seeds(teacher, [("baseline", 0, teacher)], settings))
    table = summarise_seed_identification(rows).set_index("variant")
    assert (
        table.loc["baseline", "teacher_trained_seed_accuracy"] == table.loc["teacher", "seed_identification_accuracy"]
    )
    assert (
        table.loc["teacher", "seed_identification_accuracy"] > 1 / 3
    )  # an untrained network still hands its noise through
    assert set(rows["train_prompts"]) == {2, 4} and len(rows) == 9 * 2 * 3
