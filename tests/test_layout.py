import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from reference.layout_energy import blurred
from reference.layout_energy import energy as slow_energy
from transformers import CLIPImageProcessor, YolosConfig, YolosForObjectDetection

from gad.actor import Actor
from gad.artifacts import EMOJI
from gad.config.layout import LayoutConfig
from gad.control import layout
from gad.control.boxdiff_file import read_boxdiff, two_objects
from gad.control.layout_energy import blur, box_mask, check_box, corners, inner_box, layout_energy, outer_box, word_maps
from gad.control.layout_prompts import LayoutPrompt, emoji_layouts, scaled
from gad.control.optimise import optimise_noise, stepping, turning
from gad.control.steering import measure_energy, steer
from gad.control.words import word_tokens
from gad.models.families import denoiser_of
from gad.noise import draw_noise, low_frequency_part
from gad.scores.average_precision import Asked
from gad.scores.boxes import Detection
from gad.scores.encoder import load_encoder, score
from gad.teachers.load import Model

SIDE = 8
BOXES = [(2, 1, 5, 4), (0, 0, 8, 3), (6, 5, 8, 8)]  # in cells


def maps_of(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masks_of(boxes) -> torch.Tensor:
    return torch.stack([box_mask(box, SIDE, SIDE) for box in boxes]).double()


def fast_energy(maps, boxes, *, share=0.2, reach=1):
    masks, present = masks_of(boxes)[:, None], torch.ones(len(boxes), 1, dtype=torch.bool)
    return layout_energy(maps[:, None], masks, present, top_share=share, corner_range=reach)


@pytest.mark.parametrize(("share", "reach"), [(0.2, 1), (0.5, 0), (1.0, 3)])
def test_energy_and_gradient_equal_the_slow_version(share, reach):
    maps = maps_of(3).requires_grad_(True)
    energy, _ = fast_energy(maps, BOXES, share=share, reach=reach)
    slow = [slow_energy(list(map(list, one)), box, share, reach) for one, box in zip(maps, BOXES, strict=True)]
    assert energy.tolist() == pytest.approx([value.item() for value in slow])
    fast_gradient, slow_gradient = (torch.autograd.grad(total, maps)[0] for total in (energy.sum(), sum(slow)))
    assert torch.allclose(fast_gradient, slow_gradient, atol=1e-12)


def test_the_blur_equals_the_slow_version_and_keeps_a_constant():
    maps = maps_of(1)
    assert torch.allclose(blur(maps)[0], torch.tensor(blurred(maps[0].tolist()), dtype=torch.float64))
    assert torch.allclose(blur(torch.ones(1, SIDE, SIDE)), torch.ones(()))


def test_the_gradient_of_the_energy_is_that_of_finite_differences():
    maps = maps_of(1).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda m: fast_energy(m, BOXES[:1])[0], (maps,))


@pytest.mark.parametrize("box", BOXES)
def test_the_box_itself_is_the_optimum(box):
    perfect = masks_of([box])
    assert fast_energy(perfect, [box])[0].item() == 0
    for other in BOXES:
        if other != box:
            assert fast_energy(masks_of([other]), [box])[0].item() > 0.5


def test_descent_on_a_map_ends_at_the_box():
    """A free map behind a sigmoid that begins alike everywhere: it ends high in the box and low outside."""

    def energy(logits):
        return fast_energy(logits.sigmoid()[:, 0], BOXES[:1], share=1.0)

    start = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
    move = stepping(20.0, keep_on_shell=False)
    end = optimise_noise(energy, start, move, iterations=400, stop_below=0.0).sigmoid()[0, 0]
    inside = masks_of(BOXES[:1])[0].bool()
    assert end[inside].min() > 0.9 and end[~inside].max() < 0.1


def test_each_term_says_what_it_is_named_for():
    box, other = masks_of(BOXES[:1]), masks_of(BOXES[2:])
    assert inner_box(box, box, 0.2).item() == 0 and inner_box(other, box, 0.2).item() == 1
    assert outer_box(box, box, 0.2).item() == 0 and outer_box(box + other, box, 0.1).item() == 1
    taller = box_mask((2, 1, 5, 5), SIDE, SIDE)[None].double()
    assert corners(box, box, 1).item() == 0
    assert corners(taller, box, 1).item() == pytest.approx(1 / SIDE)  # one row too many, near the lower edge
    assert corners(taller, box, 0).item() == pytest.approx(1 / SIDE) and corners(other, box, 0).item() == pytest.approx(
        2 / SIDE
    )


def test_absent_objects_do_not_count_and_samples_do_not_mix():
    maps, masks = maps_of(6).view(3, 2, SIDE, SIDE), masks_of(BOXES * 2).view(3, 2, SIDE, SIDE)
    present = torch.tensor([[True, True], [True, False], [True, True]])
    options = {"top_share": 0.2, "corner_range": 1}
    energy, worst = layout_energy(maps, masks, present, **options)
    for sample in range(3):
        alone = layout_energy(maps[[sample]], masks[[sample]], present[[sample]], **options)
        assert alone[0].item() == pytest.approx(energy[sample].item()) and alone[1].item() == worst[sample].item()
    single = layout_energy(maps[1:2, :1], masks[1:2, :1], present[1:2, :1], **options)[0]
    assert energy[1].item() == pytest.approx(single.item())


def test_maps_are_shared_among_the_words_alone():
    attention = torch.rand(1, SIDE, SIDE, 5)
    words = torch.tensor([[False, True, True, False, False]])
    maps = word_maps(attention, words)
    assert torch.equal(maps[..., ~words[0]], torch.zeros(1, SIDE, SIDE, 3))
    by_hand = (100 * (attention[..., 1] - attention[..., 2])).sigmoid()
    assert torch.allclose(maps[..., 1], by_hand, atol=1e-5) and torch.allclose(maps.sum(-1), torch.ones(()))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((3, 3, 3, 9), "has no area"),
        ((9, 3, 5, 9), "has no area"),
        ((-1, 3, 5, 9), "leaves the image of 64x64 pixels"),
        ((3, 3, 65, 9), "leaves the image of 64x64 pixels"),
    ],
)
def test_an_impossible_box_is_refused_in_one_line(box, message):
    with pytest.raises(ValueError, match=message) as error:
        check_box(box, 64, "box of 'car'")
    assert "box of 'car'" in str(error.value) and "\n" not in str(error.value)


def test_a_thin_box_keeps_a_cell_also_at_the_border():
    assert box_mask((63, 0, 64, 64), 64, 8).sum() == 8 and box_mask((30, 30, 31, 31), 64, 8).sum() == 1
    assert torch.equal(box_mask((8, 16, 24, 64), 64, 8).nonzero().amin(0), torch.tensor([2, 1]))


# --- optimisation in the noise -----------------------------------------------------------------------------------


def bowl(goal):
    """Squared distance to a goal, which says its own end."""

    def energy(noise):
        value = (noise - goal).square().flatten(1).sum(1)
        return value, value

    return energy


def test_a_sample_stops_at_its_threshold_and_the_others_go_on():
    start = torch.stack([torch.full((1, 2, 2), 0.01), torch.ones(1, 2, 2)])
    move = stepping(0.1, keep_on_shell=False)
    end = optimise_noise(bowl(torch.zeros(2, 1, 2, 2)), start, move, iterations=5, stop_below=0.5)
    assert torch.equal(end[0], start[0]) and end[1].square().sum() < start[1].square().sum()


def test_one_step_is_the_gradient_step():
    start = torch.ones(1, 1, 2, 2)
    move = stepping(0.1, keep_on_shell=False)
    end = optimise_noise(bowl(torch.zeros(1)), start, move, iterations=1, stop_below=0.0)
    assert torch.allclose(end, start - 0.1 * 2 * start)


def test_noise_stays_on_its_shell():
    start, goal = draw_noise(range(3), (4, 4, 4), seed=0), draw_noise(range(3, 6), (4, 4, 4), seed=0)
    on, off = stepping(0.02, keep_on_shell=True), stepping(0.02, keep_on_shell=False)
    on, off, turned = (
        optimise_noise(bowl(goal), start, move, iterations=8, stop_below=0.0) for move in (on, off, turning(0.1))
    )
    for kept in (on, turned):
        assert torch.allclose(kept.flatten(1).norm(dim=1), start.flatten(1).norm(dim=1), rtol=1e-5)
        assert (bowl(goal)(kept)[0] < bowl(goal)(start)[0]).all()
    assert not torch.allclose(off.flatten(1).norm(dim=1), start.flatten(1).norm(dim=1), rtol=1e-3)


def test_a_turn_does_not_depend_on_the_size_of_the_energy():
    start, goal = draw_noise(range(3), (4, 4, 4), seed=0), draw_noise(range(3, 6), (4, 4, 4), seed=0)
    small, large = (
        optimise_noise(lambda z, f=f: (f * bowl(goal)(z)[0],) * 2, start, turning(0.1), iterations=3, stop_below=0.0)
        for f in (1e-3, 1e3)
    )
    assert torch.allclose(small, large, atol=1e-5) and not torch.allclose(small, start, atol=0.1)


def test_a_low_frequency_turn_leaves_detail_and_length_as_they_are():
    start, goal = draw_noise(range(3), (4, 4, 4), seed=0), draw_noise(range(3, 6), (4, 4, 4), seed=0)
    end = optimise_noise(bowl(goal), start, turning(0.1, 2), iterations=8, stop_below=0.0)
    low, low_end = low_frequency_part(start, 2), low_frequency_part(end, 2)
    assert torch.allclose(end - low_end, start - low, atol=1e-6)
    assert torch.allclose(low_end.flatten(1).norm(dim=1), low.flatten(1).norm(dim=1), rtol=1e-5)
    once = optimise_noise(bowl(goal), start, turning(0.1, 2), iterations=1, stop_below=0.0)
    turn = torch.cosine_similarity(low_frequency_part(once, 2).flatten(1), low.flatten(1)).acos()
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
        optimise_noise(broken, torch.zeros(1, 1, 2, 2), turning(0.1), iterations=1, stop_below=0.0)


# --- through networks ---------------------------------------------------------------------------------------------

CONFIG = LayoutConfig(num_prompts=3, iterations=4, step_size=5.0)


@pytest.fixture(scope="module")
def actor(pipeline):
    return Actor("teacher", 0, Model(denoiser_of(pipeline), (4, 16, 16), pipeline), 2, 3.0)


@pytest.fixture(scope="module")
def asked():
    return emoji_layouts(3)


@pytest.fixture(scope="module")
def start():
    return draw_noise(range(3), (4, 16, 16), seed=0)


@pytest.mark.parametrize("attention_steps", [1, 2])
def test_the_energy_falls_under_optimisation(actor, asked, start, attention_steps):
    config = CONFIG.model_copy(update={"attention_steps": attention_steps})
    end = steer(actor, asked, start, config, 64)
    before, after = (measure_energy(actor, asked, noise, config, 64) for noise in (start, end))
    assert after.sum() < before.sum() and not torch.equal(start, end)


def test_optimised_noise_does_not_depend_on_the_batch(actor, asked, start):
    together = steer(actor, asked, start, CONFIG, 64)
    alone = steer(actor, asked, start, CONFIG.model_copy(update={"batch_size": 2}), 64)
    assert torch.allclose(together, alone, atol=1e-3)


def test_the_nouns_tokens_are_found_for_every_tokenizer(actor):
    tokenizer = actor.model.pipeline.tokenizer
    prompts = ["a red car left of a dog on a white background", "a dog on a black background"]
    words, objects = word_tokens(actor.model, prompts, [["car", "dog"], ["dog"]])
    assert words.sum(1).tolist() == [len(prompt.split()) for prompt in prompts]
    for (sample, row), noun in {(0, 0): "car", (0, 1): "dog", (1, 0): "dog"}.items():
        ids = torch.tensor(tokenizer(prompts[sample]).input_ids)
        assert tokenizer.decode(ids[objects[sample, row, : len(ids)]]).strip() == noun
    assert not objects[1, 1].any()


def test_a_noun_inside_a_longer_one_is_the_other_and_one_asked_twice_has_two_places(actor):
    prompt = "a red car left of a car on a white background"
    words = prompt.split()
    for nouns, places in {("car", "red car"): ([6], [1, 2]), ("car", "car"): ([2], [6])}.items():
        found, objects = word_tokens(actor.model, [prompt], [list(nouns)])
        order = {token: number for number, token in enumerate(found[0].nonzero().flatten().tolist())}
        assert len(order) == len(words)
        assert [[order[token] for token in row.nonzero().flatten().tolist()] for row in objects[0]] == list(places)


def test_a_noun_that_is_not_in_the_prompt_is_refused_in_one_line(actor):
    with pytest.raises(ValueError, match="the object 'cat' is not in the prompt 'a dog'") as error:
        word_tokens(actor.model, ["a dog"], [["cat"]])
    assert "\n" not in str(error.value)


def test_a_model_with_fewer_steps_than_attention_steps_reads_all_it_has(actor, asked, start):
    many, all_two = (
        measure_energy(actor, asked, start, CONFIG.model_copy(update={"attention_steps": count}), 64)
        for count in (3, 2)
    )
    assert torch.equal(many, all_two)


def test_attention_nodes_listen_to_the_chain_of_a_model_with_so_many_steps(actor, asked, start):
    coarse = CONFIG.model_copy(update={"attention_nodes": 2, "attention_steps": 2})
    of_ten = measure_energy(replace(actor, num_steps=10), asked, start, coarse, 64)
    own = CONFIG.model_copy(update={"attention_steps": 2})
    assert torch.equal(of_ten, measure_energy(actor, asked, start, own, 64))
    assert not torch.equal(of_ten, measure_energy(replace(actor, num_steps=10), asked, start, own, 64))
    one_step = replace(actor, num_steps=1)
    assert torch.equal(*(measure_energy(one_step, asked, start, config, 64) for config in (coarse, CONFIG)))


def test_points_have_no_layout(point_teacher):
    with pytest.raises(ValueError, match="needs pictures and prompts"):
        layout._image_size(Actor("teacher", 0, point_teacher, 2))


# --- the task ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inputs(asked, start):
    """A renderer's eye that sees what was asked for everywhere, and a caption judge that likes all."""

    def detect(images):
        return [[Detection(thing.noun, 0.9, thing.box, "") for thing in prompt.asked] for prompt in asked]

    return layout.LayoutInputs(asked, start, start + 0.1, 64, detect, lambda images, captions: torch.ones(len(images)))


def test_every_noise_has_a_row_per_prompt_and_the_rows_survive_parquet(actor, inputs, tmp_path):
    answer = layout.run(replace(actor, name="baseline"), inputs, CONFIG)
    assert answer.outputs.shape == (9, 3, 64, 64) and answer.rows["noise"].tolist() == sorted(
        answer.rows["noise"], key=layout.NOISES.index
    )
    assert answer.rows.groupby("noise").size().to_dict() == dict.fromkeys(layout.NOISES, 3)
    answer.rows.to_parquet(tmp_path / "rows.parquet")
    numbers = layout.summarise(pd.read_parquet(tmp_path / "rows.parquet"))
    assert numbers == pytest.approx(layout.summarise(answer.rows))
    assert [numbers[name] for name in ("ap_random", "ap50_optimised", "overlap_teacher")] == pytest.approx([1, 1, 1])
    assert numbers["energy_optimised"] < numbers["energy_random"] and numbers["clip_score_teacher"] == 1


def test_the_teachers_attention_gives_the_student_the_teachers_noise(pipelines, inputs):
    student = Actor("baseline", 0, Model(denoiser_of(pipelines["flow"]), (4, 16, 16), pipelines["flow"]), 1)
    answer = layout.run(student, inputs, CONFIG.model_copy(update={"attention": "teacher"}))
    _, optimised, teacher = answer.outputs.chunk(3)
    assert torch.equal(optimised, teacher)


def test_the_teacher_is_not_steered_a_second_time(actor, inputs):
    rows = layout.run(actor, inputs, CONFIG).rows.set_index("noise")  # its optimised noise is the one that it is given
    at_given = measure_energy(actor, inputs.prompts, inputs.teacher_noise, CONFIG, 64)
    assert rows.loc["optimised", "energy"].tolist() == at_given.tolist() == rows.loc["teacher", "energy"].tolist()


def test_a_noun_that_the_detector_has_no_label_for_is_refused_in_one_line(asked, tmp_path):
    names = {i: thing.noun for i, thing in enumerate(asked[0].asked)}
    config = YolosConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                         image_size=[32, 32], num_detection_tokens=2, id2label=names)  # fmt: skip
    YolosForObjectDetection(config).save_pretrained(tmp_path / "yolos")
    recipe = CONFIG.model_copy(update={"detector": str(tmp_path / "yolos")})
    assert layout._detector(recipe, asked[:1])(torch.zeros(1, 3, 64, 64)) is not None
    other = LayoutPrompt("a zebra", (Asked("zebra", (0, 0, 9, 9)),))
    with pytest.raises(ValueError, match="yolos has no label for zebra; name one that has") as error:
        layout._detector(recipe, [*asked[:1], other])
    assert "\n" not in str(error.value)


def test_a_named_clip_judges_beside_a_hub_detector_too(tmp_path):
    hub = CONFIG.model_copy(update={"detector": "owner/name"})
    assert layout._clip_score(hub, None) is None  # the world's judge does not know photographs
    folder = shutil.copytree(EMOJI / "judges" / "clip", tmp_path / "clip")
    CLIPImageProcessor().save_pretrained(folder)  # as published ones have it
    images, captions = torch.rand(3, 3, 64, 64), ["a red car", "a dog", "two cats"]
    found = layout._clip_score(hub, str(folder))(images, captions)
    assert torch.allclose(found, score(load_encoder(str(folder)), images, captions), atol=1e-5)
    world = layout._clip_score(CONFIG, None)(images, captions)
    assert torch.allclose(world, score(load_encoder(None), images, captions), atol=1e-5)


def test_emoji_boxes_are_always_the_same_one_for_each_word():
    prompts = emoji_layouts(12)
    assert prompts[:5] == emoji_layouts(5) and prompts[5:] == emoji_layouts(7, 5)
    assert {len(prompt.asked) for prompt in prompts} == {2}
    for prompt in prompts:
        for thing in prompt.asked:
            check_box(thing.box, 64)
            assert prompt.caption.split().count(thing.noun) == 1


# --- BoxDiff's file -------------------------------------------------------------------------------------------------

ENTRY = {"filename": "a_cat_and_a_chair/3.png", "objects": {"cat": [0, 12, 300, 505], "chair": [310, 0, 512, 512]}}


def written(tmp_path, entries):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(entries))
    return path


def test_the_box_file_gives_prompts_and_the_boxes_they_name(tmp_path):
    other = {"filename": "a_bird/1.png", "objects": {"bird": [1, 2, 30, 40], "car": [0, 0, 9, 9]}}
    prompts = read_boxdiff(written(tmp_path, [ENTRY, other, {"filename": "a_dog/0.png", "objects": {}}]))
    assert [prompt.caption for prompt in prompts] == ["a cat and a chair", "a bird"]
    assert [[thing.noun for thing in prompt.asked] for prompt in prompts] == [["cat", "chair"], ["bird"]]
    assert scaled(prompts[1], 0.5).asked[0].box == (0.5, 1, 15, 20)


def test_two_object_entries_are_drawn_by_seed(tmp_path):
    entries = [{"filename": f"a_cat_and_a_chair/{i}.png", "objects": ENTRY["objects"]} for i in range(20)]
    entries = [{**entry, "objects": {"cat": [i, 0, 99, 99], "chair": [0, 0, 9, 9]}} for i, entry in enumerate(entries)]
    prompts = read_boxdiff(written(tmp_path, entries))
    first, again, other = (two_objects(prompts, 6, seed=seed) for seed in (0, 0, 1))
    assert first == again != other and len(first) == 6 and len(two_objects(prompts, 99, seed=0)) == 20


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "holds a dict; expected a list"),
        ([{"filename": "a/1.png"}], "entry 0: 'objects' is missing"),
        ([ENTRY, {"objects": {}}], "entry 1: 'filename' is missing"),
        (
            [{"filename": "a_cat/1.png", "objects": {"cat": [0, 0, 513, 9]}}],
            "entry 0: box of 'cat' .* leaves the image",
        ),
        ([{"filename": "a_cat/1.png", "objects": {"cat": [9, 0, 9, 9]}}], "entry 0: box of 'cat' .* has no area"),
        ([{"filename": "a_cat/1.png", "objects": {"cat": [9, 0, 9]}}], "must be four numbers"),
        ([{"filename": "a_cat/1.png", "objects": {"dog": [0, 0, 9, 9]}}], "no entry with a box of an object"),
    ],
)
def test_a_faulty_box_file_is_refused_in_one_line(tmp_path, entries, message):
    with pytest.raises(ValueError, match=message) as error:
        read_boxdiff(written(tmp_path, entries))
    assert "\n" not in str(error.value)


def test_boxes_of_a_file_need_a_detector():
    with pytest.raises(ValidationError, match="boxes_file and detector belong together"):
        LayoutConfig(num_prompts=2, boxes_file="boxes.json")
