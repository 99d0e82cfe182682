"""Modes and diversity of known sets, prompts from files, and the one interface that every task has."""

import math

import pandas as pd
import pytest
import torch
from launching import CAPTIONS

from gad.config import ControlConfig, ExternalStudent, load_recipe
from gad.data.emoji.detector import load_emoji_detector
from gad.data.emoji.scenes import Prompt, Scene, Thing, render_scene
from gad.data.emoji.sprites import STYLES
from gad.data.prompt_file import read_prompts
from gad.data.swiss_roll import ARCS, arc_of, distance_to_roll, make_swiss_roll
from gad.diffusion.noise import draw_noise
from gad.diffusion.sampling import sample
from gad.evaluation.control import diversity
from gad.evaluation.control import tasks as stage
from gad.evaluation.control.modes import MODES, expected_mode_coverage, mode_coverage, mode_entropy, modes_of
from gad.evaluation.control.prompts import control_prompts
from gad.evaluation.control.task_results import (
    save_task_result_rows,
    task_result_outputs,
    task_result_rows,
    task_result_table,
)
from gad.evaluation.control.tasks import TASKS, run_tasks
from gad.metrics.image_diversity import vendi_image_diversity
from gad.metrics.image_features import efflite0_features
from gad.metrics.summary import summary_against, summary_by_variant
from gad.models.external import load_external
from gad.models.model import Model, load_model
from gad.models.sampler import Sampler, samplers_of_models
from gad.models.students import start_student
from gad.report.paper import diversity_beside_ours, noise_query_beside_ours
from gad.runtime import paths
from gad.runtime.files import read_json

CONTROL = ControlConfig.model_validate(
    {
        "diversity": {"num_prompts": 2, "seeds_per_prompt": 3},
        "noise_query": {"library_size": 6, "num_queries": 3, "attribute_prompts": 1},
        "noise_optimisation": {"num_prompts": 2, "iterations": 1},
        "layout": {"num_prompts": 2, "iterations": 2},
        "batch_size": 16,
    }
)


def test_coverage_counts_each_seen_mode_once_and_no_failures():
    assert mode_coverage([3, 3, 0, -1, 3], 4) == 0.5
    assert mode_coverage([-1, -1], 4) == 0
    assert mode_coverage(range(12), 12) == 1


def test_expected_coverage_is_the_mean_over_uniform_draws():
    draws = torch.randint(12, (4000, 8), generator=torch.Generator().manual_seed(0))
    mean = sum(mode_coverage(row, 12) for row in draws.tolist()) / 4000
    assert expected_mode_coverage(8, 12) == pytest.approx(mean, abs=0.01)
    assert expected_mode_coverage(1, 12) == pytest.approx(1 / 12)


def test_entropy_of_a_known_number_of_modes():
    assert mode_entropy(range(12), 12) == pytest.approx(1)
    assert mode_entropy([5] * 9, 12) == mode_entropy([-1, -1], 12) == 0
    assert mode_entropy([0, 1, 2] * 4, 12) == pytest.approx(math.log(3) / math.log(12))
    assert mode_entropy([0, 0, 0, 1, -1], 2) == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))


def scene(style: str, left: int, top: int, side: int) -> torch.Tensor:
    """A rendered cat whose place, size and style are known."""
    prompt = Prompt((Thing("cat", None),), 1, "and", "gray")
    image = render_scene(Scene(prompt, style, ((left, top, left + side, top + side),)))
    return torch.tensor(image).permute(2, 0, 1).float() / 127.5 - 1


def test_the_modes_of_rendered_scenes_are_read_back():
    thirds = ((4, 0), (12, 1), (20, 1), (28, 2))  # where a sprite of 32 can begin, and the third of its middle
    places = [(style, x, y) for style in STYLES for y in thirds for x in thirds]
    images = torch.stack([scene(style, x, y, 32) for style, (x, _), (y, _) in places])
    found = modes_of(load_emoji_detector(), images, "cat")
    wanted = [9 * STYLES.index(style) + 3 * row + column for style, (_, column), (_, row) in places]
    assert sum(a == b for a, b in zip(found["mode"].tolist(), wanted, strict=True)) >= 46  # of 48
    assert mode_coverage(found["mode"].tolist(), MODES) == 1
    same = modes_of(load_emoji_detector(), images[:1].expand(6, -1, -1, -1), "cat")["mode"].tolist()
    assert mode_coverage(same, MODES) == pytest.approx(1 / 27) and mode_entropy(same, MODES) == 0
    sizes = modes_of(load_emoji_detector(), torch.stack([scene("noto", 8, 8, side) for side in (30, 44)]), "cat")[
        "size"
    ]
    assert sizes.tolist() == [0, 1]


def test_an_answer_that_does_not_show_its_noun_is_no_mode():
    images = torch.stack([torch.zeros(3, 64, 64), scene("noto", 4, 4, 32)])
    for values in modes_of(load_emoji_detector(), images, "dog").values():
        assert values.tolist() == [-1, -1]


def test_vendi_counts_copies_once():
    images = torch.stack([scene("noto", 2, 2, 30), scene("fluent", 30, 30, 30)])
    features = efflite0_features(images)
    assert vendi_image_diversity(features[:1].expand(5, -1)) == pytest.approx(1, abs=1e-4)
    assert vendi_image_diversity(torch.eye(4)) == pytest.approx(4)
    assert vendi_image_diversity(features.repeat(3, 1)) == pytest.approx(vendi_image_diversity(features), abs=1e-4)


@pytest.mark.xdist_group(CAPTIONS)
@pytest.mark.parametrize("captions", ["all", "split_by_words"])
def test_the_prompts_of_tasks_differ_and_fewer_are_the_first_of_them(captions):
    prompts = control_prompts(40, captions=captions)
    assert len(set(prompts.captions)) == 40 and [scene.caption for scene in prompts.scenes] == prompts.captions
    assert control_prompts(7, captions=captions).captions == prompts.captions[:7]


def test_modes_are_counted_for_captions_of_one_object_alone():
    one, two = (
        {"prompt": 0, "mode": [3, 3, -1], "style": 0, "place": 3, "size": 0, "mode_coverage": 1 / MODES},
        {"prompt": 1, "vendi": [1.0, 2.0, 3.0]},
    )
    rows = pd.concat([pd.DataFrame(one | {"vendi": [1.0, 2.0, 3.0]}), pd.DataFrame(two)], ignore_index=True)
    found = diversity.summarise_diversity(rows)
    assert found["mode_coverage"] == 1 / MODES and found["vendi"] == 2


def test_prompts_are_read_from_files(tmp_path):
    (tmp_path / "a.txt").write_text("a cat\n\n  a dog \n")
    (tmp_path / "b.csv").write_text('prompt,kind\n"a cat, asleep",x\na dog,y\n')
    assert read_prompts(tmp_path / "a.txt") == ["a cat", "a dog"]
    assert read_prompts(tmp_path / "b.csv") == ["a cat, asleep", "a dog"]
    asked = control_prompts(1, str(tmp_path / "b.csv"))
    assert asked.captions == ["a cat, asleep"] and asked.scenes is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "text,kind\na cat,x\n", r"has no column 'prompt'; it has text, kind"),
        ("a.csv", "", r"holds no prompts"),
        ("a.csv", "prompt\n", r"holds no prompts"),
        ("a.txt", " \n", r"holds no prompts"),
        ("a.json", "[]", r"give a \.txt, a \.csv or a \.parquet"),
        ("a.txt", None, r"there is no prompt file"),
        ("b.txt", "a cat\n", r"holds 1 prompts, 2 are asked for"),
    ],
)
def test_a_bad_prompt_file_is_refused_in_one_line(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        control_prompts(2, str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_generated_points_are_the_end_of_the_chain_whatever_the_batch(point_teacher):
    noise = draw_noise(range(10), (2, 1, 1), seed=0)
    whole = sample(point_teacher.denoiser, noise, None, num_steps=8)[-1].flatten(1)
    assert torch.allclose(Sampler("a", 0, point_teacher, 8, batch_size=3).generate(noise, [""] * 10), whole, atol=1e-5)


def test_points_of_the_roll_cover_what_uniform_draws_would():
    points = make_swiss_roll(4000, seed=1).split(ARCS)
    mean = sum(mode_coverage(arc_of(part).tolist(), ARCS) for part in points) / len(points)
    assert mean == pytest.approx(expected_mode_coverage(ARCS, ARCS), abs=0.02)
    assert distance_to_roll(torch.cat(points)).max() < 5e-3


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    return tmp_path


def on_points(smoke, point_teacher) -> tuple:
    student = Model(start_student(point_teacher, smoke.student, seed=0), (2, 1, 1))
    return point_teacher, student, smoke


def on_pictures(folder) -> tuple:
    recipe, teacher = load_recipe("emoji_flow"), load_model(folder)
    pairs = recipe.noise_pairs.model_copy(update={"teacher_steps": 2})
    student = Model(start_student(teacher, recipe.student, seed=0), teacher.latent_shape, teacher.pipeline)
    return teacher, student, recipe.model_copy(update={"name": "tiny", "noise_pairs": pairs, "control": CONTROL})


def check_every_task(teacher: Model, student: Model, settings, variant: str = "baseline") -> None:
    for name in settings.control.tasks:
        task, config = TASKS[name], getattr(settings.control, name)
        models = samplers_of_models(teacher, [(variant, 0, student)], settings.sampling)
        inputs = task.prepare(models[0], settings)
        for sampler in models:
            answer = task.run(sampler, inputs, config)
            numbers = task.summarise(answer.rows)
            assert len(answer.rows) == len(answer.outputs) > 0
            assert numbers and all(isinstance(value, float) for value in numbers.values())
            assert all(math.isfinite(value) for key, value in numbers.items() if key not in MAY_BE_UNSAID)


MAY_BE_UNSAID = {
    "colour_accuracy",
    *(f"query_colour_right_{noise}" for noise in ("none", "random", "retrieved", "own")),
}


def test_every_task_runs_on_points(smoke, point_teacher, data):
    check_every_task(*on_points(smoke, point_teacher))


@pytest.mark.slow_for("unet", "dit")
def test_every_task_runs_on_every_tiny_family(saved, data):
    check_every_task(*on_pictures(saved))


@pytest.mark.slow_for("unet", "dit")
def test_a_model_from_elsewhere_is_asked_every_task(saved, data):
    teacher, _, settings = on_pictures(saved)
    mine = ExternalStudent(name="mine", source=str(saved), num_steps=2, guidance_scale=2.0)
    ((name, _, student),) = load_external(settings.model_copy(update={"external_models": [mine]}), teacher)
    check_every_task(teacher, student, settings, name)


def test_a_task_without_a_section_does_not_run(smoke, point_teacher, data):
    teacher, student, settings = on_points(smoke, point_teacher)
    control = settings.control.model_copy(update={"noise_query": None, "noise_optimisation": None})
    results = list(run_tasks(teacher, [("gad", 0, student)], settings.model_copy(update={"control": control})))
    assert [(r.task, r.variant) for r in results] == [("diversity", "teacher"), ("diversity", "gad")]
    assert not (data / "smoke" / "noise_library").exists()


def test_pictures_of_the_first_prompts_alone_are_kept_and_found_again(saved, data, monkeypatch):
    monkeypatch.setattr(stage, "SHOWN", 1)
    teacher, student, settings = on_pictures(saved)
    control = ControlConfig.model_validate({"diversity": {"num_prompts": 2, "seeds_per_prompt": 3}})
    settings = settings.model_copy(update={"control": control})
    models = [("gad", 0, student), ("gad", 1, student)]
    of_teacher, first, second = run_tasks(teacher, models, settings)
    assert of_teacher.rows["kept"].tolist() == first.rows["kept"].tolist() == [True] * 3 + [False] * 3
    assert len(second.outputs) == second.rows["kept"].sum() == 0 and len(second.rows) == 6
    whole = diversity.run_diversity(*asked_of(student, teacher, settings), control.diversity).outputs
    assert torch.equal(task_result_outputs([of_teacher, first, second], "diversity", prompt=0)["gad"], whole[:3])
    assert len(task_result_outputs([first], "diversity", prompt=1)["gad"]) == 0


def asked_of(student: Model, teacher: Model, settings) -> tuple:
    samplers = samplers_of_models(
        teacher, [("gad", 0, student)], settings.sampling, batch_size=settings.control.batch_size
    )
    return samplers[1], diversity.prepare_diversity(samplers[0], settings)


def test_the_table_and_the_files_hold_every_model(smoke, point_teacher, data):
    teacher, student, settings = on_points(smoke, point_teacher)
    results = list(run_tasks(teacher, [("baseline", 0, student), ("baseline", 1, student)], settings))
    table = task_result_table(results)
    assert table["variant"].tolist() == ["teacher", "baseline", "baseline"] and table.notna().all(axis=None)
    names = {f"query_target_distance_{noise}" for noise in ("none", "random", "retrieved", "own")}
    assert {"mode_coverage", "distance_to_roll", "spread", "optimised_gain", *names} <= set(table)
    teacher_row = table.iloc[0]
    assert teacher_row["query_target_distance_retrieved"] < 0.5 * teacher_row["query_target_distance_random"]
    assert teacher_row["query_target_distance_own"] == teacher_row["query_target_distance_retrieved"]
    save_task_result_rows(results, data / "out")
    for task in settings.control.tasks:
        stored = pd.read_parquet(data / "out" / f"{task}.parquet")
        assert len(stored) == len(task_result_rows(results, task)) and {"variant", "seed", "prompt"} <= set(stored)
    pictures = task_result_outputs(results, "noise_query", noise="retrieved")
    assert set(pictures) == {"teacher", "baseline"}
    assert len(pictures["teacher"]) == settings.control.noise_query.num_queries
    rows = task_result_rows(results, "noise_query")
    kept = rows[(rows["variant"] == "teacher") & (rows["noise"] == "retrieved")]
    targets = make_swiss_roll(len(kept), 5)
    assert torch.allclose(
        (pictures["teacher"] - targets).norm(dim=1), torch.tensor(kept["target_distance"].to_numpy()).float(), atol=1e-5
    )


def test_point_diversity_is_the_same_every_time(smoke, point_teacher):
    (teacher,) = samplers_of_models(point_teacher, [], smoke.sampling)
    first, again = (
        diversity.run_diversity(teacher, diversity.prepare_diversity(teacher, smoke), smoke.control.diversity).rows
        for _ in range(2)
    )
    assert first.equals(again) and len(first) == 2 * ARCS


def test_a_library_named_in_the_recipe_must_fit_the_teacher(smoke, point_teacher, data):
    teacher, student, settings = on_points(smoke, point_teacher)
    list(run_tasks(teacher, [], settings))
    query = settings.control.noise_query.model_copy(update={"library": str(data / "smoke" / "noise_library")})
    named = settings.model_copy(update={"control": settings.control.model_copy(update={"noise_query": query})})
    assert len(list(run_tasks(teacher, [], named))) == len(settings.control.tasks)
    with pytest.raises(ValueError, match="was made with other teacher"):
        list(run_tasks(student, [], named))


def test_the_papers_tables_stand_beside_committed_numbers():
    committed = read_json(paths.RESULTS / "emoji_flow.json")["metrics"]["control"]
    query, fig5 = noise_query_beside_ours(committed), diversity_beside_ours(committed)
    assert set(query["from"]) == {"paper", "ours"} and (query["comparable?"] != "").all()
    assert "2.797" in fig5.set_index("variant").loc["gad", "paper, Vendi"]
    points = {"over_seeds": {"teacher": {"mode_coverage": {"mean": 1.0, "low": None, "high": None, "n": 1}}}}
    assert noise_query_beside_ours(points).empty and diversity_beside_ours(points).empty


def test_numbers_of_seeds_become_the_metrics_file(smoke, point_teacher, data):
    teacher, student, settings = on_points(smoke, point_teacher)
    table = task_result_table(run_tasks(teacher, [("baseline", 0, student), ("gad", 0, student)], settings))
    names = [name for name in table if name not in ("variant", "seed")]
    assert summary_by_variant(table, names)["gad"]["mode_coverage"]["n"] == 1
    assert summary_against(table, names, "baseline")["gad"]["optimised_gain"]["mean"] == 0
