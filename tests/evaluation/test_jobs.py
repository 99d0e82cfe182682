"""A killed stage goes on from the models that are done, and stale or half results are never read."""

import os
import time

import pandas as pd
import pytest
import torch

from gad.config import FidelityConfig, InversionConfig, NegativePromptsConfig, SeedsConfig, load_recipe
from gad.diffusion.noise import draw_noise
from gad.evaluation.control import diversity, noise_optimisation
from gad.evaluation.control import tasks as control
from gad.evaluation.fidelity.fidelity import measure_fidelity
from gad.evaluation.fidelity.inversion import measure_inversion
from gad.evaluation.fidelity.negative_prompts import measure_negative_prompts
from gad.evaluation.fidelity.precompute import precompute_fidelity
from gad.evaluation.jobs import Job, job_names_of_models, precompute_jobs, results_of_jobs
from gad.evaluation.sensitivity.seed_identification import measure_seeds, seed_identification_evaluation
from gad.models.model import Model, load_model
from gad.models.pipelines import pipeline_denoiser
from gad.models.sampler import TEACHER, Sampler, samplers_of_models
from gad.models.students import start_student
from gad.models.weights_hash import model_weights_key
from gad.runtime import cache, paths
from gad.runtime.cache import ResultCache, at_once, batch_parts, read_cached_result, write_cached_result


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    return tmp_path


@pytest.fixture
def students(smoke, point_teacher):
    def student(seed: int) -> Model:
        return Model(start_student(point_teacher, smoke.student, seed=seed), (2, 1, 1))

    return [("baseline", 0, student(0)), ("baseline", 1, student(1)), ("gad", 0, student(2))]


def same(ours, theirs) -> bool:
    for a, b in zip(ours, theirs, strict=True):
        pd.testing.assert_frame_equal(a.rows, b.rows, check_exact=True)
        assert torch.equal(a.outputs, b.outputs)
    return [(r.task, r.variant, r.seed, r.numbers) for r in ours] == [
        (r.task, r.variant, r.seed, r.numbers) for r in theirs
    ]


def test_a_result_comes_back_as_it_was_kept(tmp_path):
    rows = pd.DataFrame({"number": [0.1, float("nan")], "text": ["a", None], "boxes": [[[0.5, 1.0]], []]})
    kept = {"rows": rows, "none": pd.DataFrame(), "outputs": torch.randn(3, 2), "empty": torch.zeros(0, 2)}
    write_cached_result(tmp_path / "part", kept)
    back = read_cached_result(tmp_path / "part")
    pd.testing.assert_frame_equal(back["rows"], rows)
    assert back["rows"]["boxes"].tolist() == [[[0.5, 1.0]], []] and back["none"].equals(pd.DataFrame())
    assert torch.equal(back["outputs"], kept["outputs"]) and back["empty"].shape == (0, 2)


def test_what_is_shared_is_dealt_out_and_had_whole(tmp_path, monkeypatch):
    made, numbers = [], [{"x": torch.tensor([float(number)])} for number in range(5)]

    def make(part: torch.Tensor) -> dict:
        made.append(int(part))
        return numbers[int(part)]

    monkeypatch.setenv("WORLD_SIZE", "2")
    for number in (1, 3):  # what the second process has made
        write_cached_result(tmp_path / f"name_1_{number}", numbers[number])
    monkeypatch.setenv("RANK", "0")
    assert [float(found["x"]) for found in ResultCache(tmp_path).batches("name", 5, 1, make)] == [0, 1, 2, 3, 4]
    assert made == [0, 2, 4]
    monkeypatch.setenv("RANK", "1")
    assert len(ResultCache(tmp_path, wait=True).batches("name", 5, 1, make)) == 5 and len(made) == 3
    assert [float(found["x"]) for found in at_once.batches("name", 5, 1, make)] == [0, 1, 2, 3, 4]


def test_parts_of_another_size_are_not_mixed_in(tmp_path):
    def make(part: torch.Tensor) -> dict:
        if made and len(part) == 3:
            raise KeyboardInterrupt  # killed after the first part
        made.append(part)
        return {"x": part}

    made, cached = [], ResultCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cached.batches("name", 7, 3, make)
    assert torch.cat([found["x"] for found in cached.batches("name", 7, 2, make)]).tolist() == list(range(7))


def test_another_batch_size_changes_no_answer_of_a_stage_that_was_killed(pipelines, data, monkeypatch):
    teacher = Model(pipeline_denoiser(pipelines["flow"]), (4, 16, 16), pipelines["flow"])
    recipe, kept, write = load_recipe("emoji_quick"), [], cache.write_cached_result

    def settings(size: int):
        pairs = recipe.noise_pairs.model_copy(update={"teacher_steps": 1, "guidance_scale": 1.0})
        fidelity = FidelityConfig(num_images=16, axes=8, batch_size=size)
        section = recipe.sensitivity.model_copy(update={"fidelity": fidelity})
        return recipe.model_copy(update={"noise_pairs": pairs, "sensitivity": section})

    def killed(path, result):
        if kept:
            raise KeyboardInterrupt
        kept.append(path)
        write(path, result)

    asked = (teacher, [("gad", 3, teacher)])
    plain = [rows for rows, _ in measure_fidelity(*asked, settings(8))]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(cache, "write_cached_result", killed)
        list(measure_fidelity(*asked, settings(8), cache_dir=data / "cache"))
    again = [rows for rows, _ in measure_fidelity(*asked, settings(4), cache_dir=data / "cache")]
    assert kept and [rows["sample"].tolist() for rows in again] == [list(range(16))] * 2
    for ours, theirs in zip(again, plain, strict=True):
        pd.testing.assert_frame_equal(ours, theirs, rtol=1e-3, atol=1e-4)


def test_results_are_the_same_bits_with_parts_and_without(smoke, point_teacher, students, data):
    plain, kept, again = (
        list(control.run_tasks(point_teacher, students, smoke, cache_dir=cache_dir))
        for cache_dir in (None, data / "cache", data / "cache")
    )
    assert same(plain, kept) and same(plain, again)
    assert [len(r.outputs) > 0 for r in again[:4]] == [True, True, False, True]


def test_a_killed_stage_goes_on_from_the_models_that_are_done(smoke, point_teacher, students, data, monkeypatch):
    asked, plain = [], list(control.run_tasks(point_teacher, students, smoke))
    run, climb = diversity.run_diversity, noise_optimisation.ascend_all_noises

    def counted(sampler, inputs, config):
        asked.append((sampler.name, sampler.seed))
        return run(sampler, inputs, config)

    def killed(sampler, inputs, config):
        if sampler.name != TEACHER:
            raise KeyboardInterrupt
        return climb(sampler, inputs, config)

    monkeypatch.setattr(control.TASKS["diversity"], "run", counted)
    monkeypatch.setattr(noise_optimisation, "ascend_all_noises", killed)
    with pytest.raises(KeyboardInterrupt):
        list(control.run_tasks(point_teacher, students, smoke, cache_dir=data / "cache"))
    assert asked == [("teacher", 0), ("baseline", 0), ("baseline", 1), ("gad", 0)]

    def of_students(sampler, inputs, config):
        assert sampler.name != TEACHER, "the teacher's ascent was kept"
        return climb(sampler, inputs, config)

    monkeypatch.setattr(noise_optimisation, "ascend_all_noises", of_students)
    assert same(list(control.run_tasks(point_teacher, students, smoke, cache_dir=data / "cache")), plain)
    assert len(asked) == 4


def test_other_weights_or_settings_are_asked_again(smoke, point_teacher, students, data, monkeypatch):
    asked, run = [], diversity.run_diversity

    def counted(sampler, inputs, config):
        asked.append((sampler.name, sampler.seed))
        return run(sampler, inputs, config)

    monkeypatch.setattr(control.TASKS["diversity"], "run", counted)
    alone = {"noise_query": None, "noise_optimisation": None}
    smoke = smoke.model_copy(update={"control": smoke.control.model_copy(update=alone)})
    list(control.run_tasks(point_teacher, students, smoke, cache_dir=data / "cache"))
    with torch.no_grad():
        next(students[1][2].denoiser.parameters()).add_(1e-3)
    del asked[:]
    list(control.run_tasks(point_teacher, students, smoke, cache_dir=data / "cache"))
    assert asked == [("baseline", 1)]
    seeded = smoke.model_copy(update={"control": smoke.control.model_copy(update={"seed": 7})})
    list(control.run_tasks(point_teacher, students, seeded, cache_dir=data / "cache"))
    assert len(asked) == 1 + 4


def test_of_another_owner_nothing_is_left(point_teacher, tmp_path):
    all_models = [Sampler(TEACHER, 0, point_teacher, 2)]

    def job(cache_key: str) -> Job:
        return Job("job", lambda: cache_key, lambda cached: None, lambda sampler, inputs: {"x": torch.ones(1)})

    for cache_key in ("a", "b"):
        list(results_of_jobs([job(cache_key)], all_models, tmp_path))
    assert len(list((tmp_path / "job").iterdir())) == 2  # the mark and one part
    assert (tmp_path / "job" / "fingerprint.txt").read_text() == "b"


def test_processes_share_the_parts_of_one_model_and_a_kill_costs_a_single_part(point_teacher, tmp_path, monkeypatch):
    models = [Sampler(TEACHER, 0, point_teacher, 2), Sampler("gad", 0, point_teacher, 1)]
    made, (name, student) = [], job_names_of_models(models)

    def make(part: torch.Tensor) -> dict:
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(part.tolist())
        return {"x": 2.0 * part}

    def parts(sampler: Sampler, inputs) -> dict:
        return batch_parts("x", 7, 1, make) if sampler.name == "gad" else {}

    def run(sampler: Sampler, inputs, given: list) -> dict:
        return {"x": torch.cat([part["x"] for part in given]) if given else torch.zeros(1)}

    job = Job("job", lambda: "key", lambda cached: None, run, parts)
    with pytest.raises(KeyboardInterrupt):
        list(results_of_jobs([job], models, tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    made.clear()
    monkeypatch.setattr(cache, "distributed_wait_until", lambda there: None)
    write_cached_result(tmp_path / "job" / "parts" / student / "x_1_4", {"x": torch.tensor([8.0])})  # of the other one
    write_cached_result(tmp_path / "job" / "parts" / student / "x_1_6", {"x": torch.tensor([12.0])})
    assert len(list(precompute_jobs([job], models, tmp_path))) == 2 and made == [[5]]  # 0 to 3 were there
    results = {sampler.name: result["x"] for _, sampler, result in results_of_jobs([job], models, tmp_path)}
    assert results["gad"].tolist() == [0, 2, 4, 6, 8, 10, 12] and made == [[5]]
    assert list((tmp_path / "job" / "parts").iterdir()) == [] and (tmp_path / "job" / name).is_dir()


def test_two_processes_put_every_model_together_and_leave_no_parts(point_teacher, tmp_path, monkeypatch):
    models = [Sampler(TEACHER, 0, point_teacher, 2), *(Sampler("gad", s, point_teacher, 1) for s in range(4))]

    def parts(sampler: Sampler, inputs) -> dict:
        def make(part: torch.Tensor) -> dict:
            time.sleep(0.02 if int(part) % 2 else 0)  # one of the processes is slower
            return {"x": draw_noise(part.tolist(), (3, 1, 1), seed=sampler.seed), "by": torch.tensor([os.getpid()])}

        return batch_parts("x", 5, 1, make)

    def run(sampler: Sampler, inputs, made: list) -> dict:
        return {name: torch.cat([part[name] for part in made]) for name in ("x", "by")}

    job = Job("job", lambda: "key", lambda cached: None, run, parts)
    monkeypatch.setenv("WORLD_SIZE", "2")
    child = os.fork()
    monkeypatch.setenv("RANK", "0" if child else "1")
    done = 0
    try:
        done = len(list(precompute_jobs([job], models, tmp_path)))
    finally:
        if not child:
            os._exit(0 if done == len(models) else 1)
    assert os.waitpid(child, 0)[1] == 0 and done == len(models)
    for _, sampler, result in results_of_jobs([job], models, tmp_path):
        assert torch.equal(result["x"], draw_noise(range(5), (3, 1, 1), seed=sampler.seed))
        assert result["by"].tolist() == [child if number % 2 else os.getpid() for number in range(5)]
    assert list((tmp_path / "job" / "parts").iterdir()) == []


def test_the_first_of_a_variant_has_a_name_of_its_own(point_teacher):
    names = job_names_of_models([Sampler(TEACHER, 0, point_teacher, 2), Sampler("gad", 0, point_teacher, 1)])
    later = job_names_of_models(
        [Sampler(TEACHER, 0, point_teacher, 2), *[Sampler("gad", s, point_teacher, 1) for s in (1, 0)]]
    )
    assert names[0] == later[0] and names[1].startswith("gad_0_") and names[1] != later[2]


def test_a_model_is_told_by_its_weights_wherever_it_was_loaded_from(saved):
    teacher = load_model(saved)
    student = load_model(saved, teacher=teacher)
    assert model_weights_key(teacher) == model_weights_key(load_model(saved))
    before = model_weights_key(student, teacher=teacher)
    with torch.no_grad():
        next(teacher.pipeline.vae.parameters()).add_(1e-3)  # shared, so the teacher's hash tells
    assert model_weights_key(student, teacher=teacher) == before
    with torch.no_grad():
        next(student.denoiser.parameters()).add_(1e-3)
    assert model_weights_key(student, teacher=teacher) != before


def test_pictures_of_every_model_are_the_same_bits_with_parts_and_without(pipelines, data, monkeypatch):
    teacher = Model(pipeline_denoiser(pipelines["flow"]), (4, 16, 16), pipelines["flow"])
    recipe = load_recipe("emoji_quick")
    asked = {
        "seeds": SeedsConfig(num_seeds=3, train_prompts=4, val_prompts=2, test_prompts=3, curve=[0.5]),
        "fidelity": FidelityConfig(num_images=16, axes=8),
        "negative_prompts": NegativePromptsConfig(num_samples=2),
        "inversion": InversionConfig(num_samples=2, rounds=1, descent_steps=2),
    }
    pairs = recipe.noise_pairs.model_copy(update={"teacher_steps": 1, "guidance_scale": 1.0})
    sensitivity = recipe.sensitivity.model_copy(update=asked)
    settings = recipe.model_copy(update={"noise_pairs": pairs, "sensitivity": sensitivity})
    measures = (measure_seeds, measure_fidelity, measure_inversion, measure_negative_prompts)

    def measured(cache_dir) -> list[pd.DataFrame]:
        found = [
            part
            for measure in measures
            for part in measure(teacher, [("gad", 3, teacher)], settings, cache_dir=cache_dir)
        ]
        return [table for part in found for table in (part if isinstance(part, tuple) else (part,))]

    plain = measured(None)
    models = samplers_of_models(teacher, [("gad", 3, teacher)], settings.sampling)
    lines = list(precompute_jobs([seed_identification_evaluation(models[0], settings)], models, data / "cache"))
    lines += precompute_fidelity(teacher, [("gad", 3, teacher)], settings, cache_dir=data / "cache")
    assert len(lines) == 8
    monkeypatch.setattr(Sampler, "generate", None)
    for ours, theirs in zip(measured(data / "cache"), plain, strict=True):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
