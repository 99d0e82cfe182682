"""Layout control: the noise is moved down the energy, through every family's attention, and judged."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from transformers import CLIPImageProcessor, YolosConfig, YolosForObjectDetection

from gad.config.layout import LayoutConfig
from gad.data.boxes import Detection, GroundTruth, check_box_in_image
from gad.diffusion.noise import draw_noise, noise_low_frequency_part
from gad.evaluation.control.layout import layout
from gad.evaluation.control.layout.energy_descent import boxdiff_descent_step, descend_energy, turning_descent_step
from gad.evaluation.control.layout.layout_prompt import LayoutPrompt
from gad.evaluation.control.layout.prompts import emoji_layouts
from gad.evaluation.control.layout.steering import measure_steering_energy, steer
from gad.evaluation.control.layout.tokens import word_tokens
from gad.metrics.clip_encoder import load_clip_encoder
from gad.metrics.clip_score import clip_cosine_score
from gad.models.model import Model
from gad.models.pipelines import pipeline_denoiser
from gad.models.sampler import Sampler
from gad.runtime.paths import EMOJI

# --- optimisation in the noise -----------------------------------------------------------------------------------


def bowl(goal):
    """Squared distance to a goal, which says its own end."""

    def energy(noise):
        value = (noise - goal).square().flatten(1).sum(1)
        return value, value

    return energy


def test_a_sample_stops_at_its_threshold_and_the_others_go_on():
    start = torch.stack([torch.full((1, 2, 2), 0.01), torch.ones(1, 2, 2)])
    move = boxdiff_descent_step(0.1, keep_on_shell=False)
    end = descend_energy(bowl(torch.zeros(2, 1, 2, 2)), start, move, iterations=5, stop_below=0.5)
    assert torch.equal(end[0], start[0]) and end[1].square().sum() < start[1].square().sum()


def test_one_step_is_the_gradient_step():
    start = torch.ones(1, 1, 2, 2)
    move = boxdiff_descent_step(0.1, keep_on_shell=False)
    end = descend_energy(bowl(torch.zeros(1)), start, move, iterations=1, stop_below=0.0)
    assert torch.allclose(end, start - 0.1 * 2 * start)


def test_noise_stays_on_its_shell():
    start, goal = draw_noise(range(3), (4, 4, 4), seed=0), draw_noise(range(3, 6), (4, 4, 4), seed=0)
    on, off = boxdiff_descent_step(0.02, keep_on_shell=True), boxdiff_descent_step(0.02, keep_on_shell=False)
    on, off, turned = (
        descend_energy(bowl(goal), start, move, iterations=8, stop_below=0.0)
        for move in (on, off, turning_descent_step(0.1))
    )
    for kept in (on, turned):
        assert torch.allclose(kept.flatten(1).norm(dim=1), start.flatten(1).norm(dim=1), rtol=1e-5)
        assert (bowl(goal)(kept)[0] < bowl(goal)(start)[0]).all()
    assert not torch.allclose(off.flatten(1).norm(dim=1), start.flatten(1).norm(dim=1), rtol=1e-3)


def test_a_turn_does_not_depend_on_the_size_of_the_energy():
    start, goal = draw_noise(range(3), (4, 4, 4), seed=0), draw_noise(range(3, 6), (4, 4, 4), seed=0)
    small, large = (
        descend_energy(
            lambda z, f=f: (f * bowl(goal)(z)[0],) * 2, start, turning_descent_step(0.1), iterations=3, stop_below=0.0
        )
        for f in (1e-3, 1e3)
    )
    assert torch.allclose(small, large, atol=1e-5) and not torch.allclose(small, start, atol=0.1)


def test_a_low_frequency_turn_leaves_detail_and_length_as_they_are():
    start, goal = draw_noise(range(3), (4, 4, 4), seed=0), draw_noise(range(3, 6), (4, 4, 4), seed=0)
    end = descend_energy(bowl(goal), start, turning_descent_step(0.1, 2), iterations=8, stop_below=0.0)
    low, low_end = noise_low_frequency_part(start, 2), noise_low_frequency_part(end, 2)
    assert torch.allclose(end - low_end, start - low, atol=1e-6)
    assert torch.allclose(low_end.flatten(1).norm(dim=1), low.flatten(1).norm(dim=1), rtol=1e-5)
    once = descend_energy(bowl(goal), start, turning_descent_step(0.1, 2), iterations=1, stop_below=0.0)
    turn = torch.cosine_similarity(noise_low_frequency_part(once, 2).flatten(1), low.flatten(1)).acos()
    assert torch.allclose(turn, torch.full((3,), 0.1), atol=1e-3)
    assert (bowl(goal)(end)[0] < bowl(goal)(start)[0]).all()


def test_a_grid_is_for_turns_only():
    with pytest.raises(ValueError, match="low_frequency_size is for turns"):
        LayoutConfig(num_prompts=1, step="gradient", low_frequency_size=2)


def test_a_gradient_that_is_not_finite_stops_in_one_line():
    def broken(noise):
        value = (noise * float("inf")).flatten(1).sum(1)
        return value, value

    with pytest.raises(ValueError, match="not finite"):
        descend_energy(broken, torch.zeros(1, 1, 2, 2), turning_descent_step(0.1), iterations=1, stop_below=0.0)


# --- through networks ---------------------------------------------------------------------------------------------

CONFIG = LayoutConfig(num_prompts=3, iterations=4, step_size=5.0)


@pytest.fixture(scope="module")
def sampler(pipeline):
    return Sampler("teacher", 0, Model(pipeline_denoiser(pipeline), (4, 16, 16), pipeline), 2, 3.0)


@pytest.fixture(scope="module")
def asked():
    return emoji_layouts(3)


@pytest.fixture(scope="module")
def start():
    return draw_noise(range(3), (4, 16, 16), seed=0)


@pytest.mark.parametrize("attention_steps", [1, 2])
def test_the_energy_falls_under_optimisation(sampler, asked, start, attention_steps):
    config = CONFIG.model_copy(update={"attention_steps": attention_steps})
    end = steer(sampler, asked, start, config, 64)
    before, after = (measure_steering_energy(sampler, asked, noise, config, 64) for noise in (start, end))
    assert after.sum() < before.sum() and not torch.equal(start, end)


def test_optimised_noise_does_not_depend_on_the_batch(sampler, asked, start):
    together = steer(sampler, asked, start, CONFIG, 64)
    alone = steer(sampler, asked, start, CONFIG.model_copy(update={"batch_size": 2}), 64)
    assert torch.allclose(together, alone, atol=1e-3)


def test_the_nouns_tokens_are_found_for_every_tokenizer(sampler):
    tokenizer = sampler.model.pipeline.tokenizer
    prompts = ["a red car left of a dog on a white background", "a dog on a black background"]
    words, objects = word_tokens(sampler.model, prompts, [["car", "dog"], ["dog"]])
    assert words.sum(1).tolist() == [len(prompt.split()) for prompt in prompts]
    for (sample, row), noun in {(0, 0): "car", (0, 1): "dog", (1, 0): "dog"}.items():
        ids = torch.tensor(tokenizer(prompts[sample]).input_ids)
        assert tokenizer.decode(ids[objects[sample, row, : len(ids)]]).strip() == noun
    assert not objects[1, 1].any()


def test_a_noun_inside_a_longer_one_is_the_other_and_one_asked_twice_has_two_places(sampler):
    prompt = "a red car left of a car on a white background"
    words = prompt.split()
    for nouns, places in {("car", "red car"): ([6], [1, 2]), ("car", "car"): ([2], [6])}.items():
        found, objects = word_tokens(sampler.model, [prompt], [list(nouns)])
        order = {token: number for number, token in enumerate(found[0].nonzero().flatten().tolist())}
        assert len(order) == len(words)
        assert [[order[token] for token in row.nonzero().flatten().tolist()] for row in objects[0]] == list(places)


def test_a_noun_that_is_not_in_the_prompt_is_refused_in_one_line(sampler):
    with pytest.raises(ValueError, match="the object 'cat' is not in the prompt 'a dog'") as error:
        word_tokens(sampler.model, ["a dog"], [["cat"]])
    assert "\n" not in str(error.value)


def test_a_model_with_fewer_steps_than_attention_steps_reads_all_it_has(sampler, asked, start):
    many, all_two = (
        measure_steering_energy(sampler, asked, start, CONFIG.model_copy(update={"attention_steps": count}), 64)
        for count in (3, 2)
    )
    assert torch.equal(many, all_two)


def test_attention_nodes_listen_to_the_chain_of_a_model_with_so_many_steps(sampler, asked, start):
    coarse = CONFIG.model_copy(update={"attention_trajectory_steps": 2, "attention_steps": 2})
    of_ten = measure_steering_energy(replace(sampler, num_steps=10), asked, start, coarse, 64)
    own = CONFIG.model_copy(update={"attention_steps": 2})
    assert torch.equal(of_ten, measure_steering_energy(sampler, asked, start, own, 64))
    assert not torch.equal(of_ten, measure_steering_energy(replace(sampler, num_steps=10), asked, start, own, 64))
    one_step = replace(sampler, num_steps=1)
    assert torch.equal(*(measure_steering_energy(one_step, asked, start, config, 64) for config in (coarse, CONFIG)))


def test_points_have_no_layout(point_teacher):
    with pytest.raises(ValueError, match="needs images and prompts"):
        layout._image_size(Sampler("teacher", 0, point_teacher, 2))


# --- the task ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inputs(asked, start):
    """A renderer's eye that sees what was asked for everywhere, and a caption evaluator that likes all."""

    def detect(images):
        return [[Detection(thing.noun, 0.9, thing.box, "") for thing in prompt.targets] for prompt in asked]

    return layout.LayoutInputs(asked, start, start + 0.1, 64, detect, lambda images, captions: torch.ones(len(images)))


def test_every_noise_has_a_row_per_prompt_and_the_rows_survive_parquet(sampler, inputs, tmp_path):
    answer = layout.run_layout(replace(sampler, name="baseline"), inputs, CONFIG)
    assert answer.outputs.shape == (9, 3, 64, 64) and answer.rows["noise"].tolist() == sorted(
        answer.rows["noise"], key=layout.NOISES.index
    )
    assert answer.rows.groupby("noise").size().to_dict() == dict.fromkeys(layout.NOISES, 3)
    answer.rows.to_parquet(tmp_path / "rows.parquet")
    numbers = layout.summarise_layout(pd.read_parquet(tmp_path / "rows.parquet"))
    assert numbers == pytest.approx(layout.summarise_layout(answer.rows))
    assert [numbers[name] for name in ("ap_random", "ap50_optimised", "overlap_teacher")] == pytest.approx([1, 1, 1])
    assert numbers["energy_optimised"] < numbers["energy_random"] and numbers["clip_score_teacher"] == 1


def test_the_teachers_attention_gives_the_student_the_teachers_noise(pipelines, inputs):
    student = Sampler("baseline", 0, Model(pipeline_denoiser(pipelines["flow"]), (4, 16, 16), pipelines["flow"]), 1)
    answer = layout.run_layout(student, inputs, CONFIG.model_copy(update={"attention": "teacher"}))
    _, optimised, teacher = answer.outputs.chunk(3)
    assert torch.equal(optimised, teacher)


def test_the_teacher_is_not_steered_a_second_time(sampler, inputs):
    rows = layout.run_layout(sampler, inputs, CONFIG).rows.set_index(
        "noise"
    )  # its optimised noise is the one that it is given
    at_given = measure_steering_energy(sampler, inputs.prompts, inputs.teacher_noise, CONFIG, 64)
    assert rows.loc["optimised", "energy"].tolist() == at_given.tolist() == rows.loc["teacher", "energy"].tolist()


def test_a_noun_that_the_detector_has_no_label_for_is_refused_in_one_line(asked, tmp_path):
    names = {i: thing.noun for i, thing in enumerate(asked[0].targets)}
    config = YolosConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                         image_size=[32, 32], num_detection_tokens=2, id2label=names)  # fmt: skip
    YolosForObjectDetection(config).save_pretrained(tmp_path / "yolos")
    recipe = CONFIG.model_copy(update={"detector": str(tmp_path / "yolos")})
    assert layout._detector(recipe, asked[:1])(torch.zeros(1, 3, 64, 64)) is not None
    other = LayoutPrompt("a zebra", (GroundTruth("zebra", (0, 0, 9, 9)),))
    with pytest.raises(ValueError, match="yolos has no label for zebra; name one that has") as error:
        layout._detector(recipe, [*asked[:1], other])
    assert "\n" not in str(error.value)


def test_a_named_clip_judges_beside_a_hub_detector_too(tmp_path):
    hub = CONFIG.model_copy(update={"detector": "cache_key/name"})
    assert layout._clip_score(hub, None) is None  # the dataset's evaluator does not know photographs
    folder = shutil.copytree(EMOJI / "evaluators" / "clip", tmp_path / "clip")
    CLIPImageProcessor().save_pretrained(folder)  # as published ones have it
    images, captions = torch.rand(3, 3, 64, 64), ["a red car", "a dog", "two cats"]
    found = layout._clip_score(hub, str(folder))(images, captions)
    assert torch.allclose(found, clip_cosine_score(load_clip_encoder(str(folder)), images, captions), atol=1e-5)
    dataset = layout._clip_score(CONFIG, None)(images, captions)
    assert torch.allclose(dataset, clip_cosine_score(load_clip_encoder(None), images, captions), atol=1e-5)


def test_emoji_boxes_are_always_the_same_one_for_each_word():
    prompts = emoji_layouts(12)
    assert prompts[:5] == emoji_layouts(5) and prompts[5:] == emoji_layouts(7, 5)
    assert {len(prompt.targets) for prompt in prompts} == {2}
    for prompt in prompts:
        for thing in prompt.targets:
            check_box_in_image(thing.box, 64)
            assert prompt.caption.split().count(thing.noun) == 1
