import pytest
import torch

from gad.control.diversity import coverage, diversity_of_points, expected_coverage, seeds_found, single_prompts
from gad.control.models import generator_of
from gad.control.noise_query import Library, build_point_library, query_points, retrieve
from gad.control.stage import run_tasks, table_of
from gad.noise import draw_noise
from gad.sampling import sample
from gad.students import start_student
from gad.teachers.load import Model
from gad.worlds.swiss_roll import ARCS, arc_of, distance_to_roll, make_points


@pytest.fixture(params=["teacher", "student"])
def generate(request, point_teacher, smoke):
    if request.param == "teacher":
        return generator_of(point_teacher, num_steps=8, batch_size=7)
    return generator_of(Model(start_student(point_teacher, smoke.student, seed=0), (2, 1, 1)), num_steps=2)


@pytest.fixture
def library():
    noise, features = (draw_noise(range(n, n + 60), (3, 1, 1), seed=0) for n in (0, 60))
    return Library(noise, features.flatten(1))


def test_coverage_counts_each_seen_mode_once_and_no_failures():
    assert coverage([3, 3, 0, -1, 3], 4) == 0.5
    assert coverage([-1, -1], 4) == 0
    assert coverage(range(12), 12) == 1


def test_expected_coverage_is_the_mean_over_uniform_draws():
    draws = torch.randint(12, (4000, 8), generator=torch.Generator().manual_seed(0))
    mean = sum(coverage(row, 12) for row in draws.tolist()) / 4000
    assert expected_coverage(8, 12) == pytest.approx(mean, abs=0.01)
    assert expected_coverage(1, 12) == pytest.approx(1 / 12)


def test_every_seed_is_found_among_noisy_copies_and_one_among_equal_images():
    images = torch.randn(9, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    noisy = images + 0.1 * torch.randn(9, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert seeds_found(noisy, images) == 1
    assert seeds_found(images[:1].expand(9, -1, -1, -1), images) == pytest.approx(1 / 9)
    assert seeds_found(noisy.roll(1, 0), images) == 0


def test_diversity_prompts_show_one_object_and_are_always_the_same():
    prompts = single_prompts(5, seed=3)
    assert len(prompts) == 5 and all(len(prompt.objects) == 1 for prompt in prompts)
    assert single_prompts(3, seed=3) == prompts[:3]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_retrieval_equals_brute_force(library, metric):
    queries = draw_noise(range(500, 540), (3, 1, 1), seed=0).flatten(1)
    for query, found in zip(queries, retrieve(library, queries, metric=metric).tolist(), strict=True):
        if metric == "cosine":
            scores = [float(query @ f / (query.norm() * f.norm())) for f in library.features]
        else:
            scores = [-float((query - f).norm()) for f in library.features]
        assert scores[found] == pytest.approx(max(scores), abs=1e-5)


def test_an_entry_finds_itself(library):
    for metric in ("cosine", "euclidean"):
        assert retrieve(library, library.features, metric=metric).tolist() == list(range(60))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_an_empty_library_is_refused_in_one_line(metric):
    empty = Library(torch.empty(0, 2, 1, 1), torch.empty(0, 2))
    with pytest.raises(ValueError, match="^the noise library is empty$"):
        retrieve(empty, torch.zeros(1, 2), metric=metric)


def test_generated_points_are_the_end_of_the_chain_whatever_the_batch(point_teacher):
    noise = draw_noise(range(10), (2, 1, 1), seed=0)
    whole = sample(point_teacher.denoiser, noise, None, num_steps=8)[-1].flatten(1)
    generate = generator_of(point_teacher, num_steps=8, batch_size=3)
    assert torch.allclose(generate(noise, [""] * 10), whole, atol=1e-5)


def test_diversity_of_points(generate):
    rows, points = diversity_of_points(generate, (2, 1, 1), num_samples=40, seed=0)
    assert len(rows) == 2 and points.shape == (2 * ARCS, 2)
    assert rows["mode_coverage"].between(1 / ARCS, 1).all()
    again, _ = diversity_of_points(generate, (2, 1, 1), num_samples=40, seed=0)
    assert rows.equals(again)


def test_points_of_the_roll_cover_what_uniform_draws_would():
    points = make_points(4000, seed=1).split(ARCS)
    mean = sum(coverage(arc_of(part).tolist(), ARCS) for part in points) / len(points)
    assert mean == pytest.approx(expected_coverage(ARCS, ARCS), abs=0.02)
    assert distance_to_roll(torch.cat(points)).max() < 5e-3


def test_query_points_lands_nearer_with_retrieved_noise_for_the_teacher(point_teacher):
    teacher = generator_of(point_teacher, num_steps=8)
    library = build_point_library(teacher, (2, 1, 1), size=64, seed=0)
    rows, _ = query_points(teacher, library, make_points(16, 5), seed=0)
    distance = rows.groupby("noise")["target_distance"].mean()
    assert distance["retrieved"] < 0.5 * distance["random"]


def test_query_points_runs_for_every_model(generate, point_teacher):
    library = build_point_library(generator_of(point_teacher, num_steps=8), (2, 1, 1), size=32, seed=0)
    rows, points = query_points(generate, library, make_points(8, 5), seed=0)
    assert rows["noise"].value_counts().to_dict() == {"random": 8, "retrieved": 8}
    assert points.shape == (8, 2) and rows["target_distance"].ge(0).all()


def test_every_task_runs_for_the_teacher_and_each_student(point_teacher, smoke):
    student = Model(start_student(point_teacher, smoke.student, seed=0), (2, 1, 1))
    results = list(run_tasks(point_teacher, [("gad", 0, student), ("gad", 1, student)], smoke))
    assert [(r.task, r.variant, r.seed) for r in results[:3]] == [
        ("diversity", "teacher", 0),
        ("noise_query", "teacher", 0),
        ("diversity", "gad", 0),
    ]
    table = table_of(results)
    assert table["variant"].tolist() == ["teacher", "gad", "gad"]
    assert {"mode_coverage", "query_target_distance_random", "query_target_distance_retrieved"} <= set(table)
    assert table.notna().all(axis=None)
