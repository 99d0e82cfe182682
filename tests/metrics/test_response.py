import pandas as pd
import pytest
import torch

from gad.diffusion.jvp import Response
from gad.diffusion.maps import noise_to_image_map
from gad.diffusion.sampling import sample
from gad.evaluation.sensitivity.analysis_noise import analysis_noise
from gad.evaluation.sensitivity.end_to_end import measure_end_to_end, summarise_end_to_end
from gad.evaluation.sensitivity.responses import rows_of_responses, summarise_responses, value_and_responses
from gad.evaluation.sensitivity.trajectory import measure_trajectories, summarise_trajectories, trajectory_deviation
from gad.metrics import response as geometry
from gad.models.model import Model
from gad.models.students import start_student

TEACHER = torch.diag(torch.tensor([3.0, 4.0], dtype=torch.float64))
STUDENT = torch.tensor([[3.0, 0.0], [0.0, 0.0]], dtype=torch.float64)


def linear(matrix, offset=0.0):
    """Values ``[2, 2, 1, 1]`` and derivatives ``[2, 2, 2, 1, 1]`` of x -> A x + b at two noises, along the basis."""
    noise = torch.randn(2, 2, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value = torch.einsum("ij,bjhw->bihw", matrix, noise) + offset
    return value, matrix.T.view(2, 1, 2, 1, 1).expand(-1, 2, -1, -1, -1)


def along(matrix, direction):
    value, _ = linear(matrix)
    v = torch.tensor(direction, dtype=torch.float64)
    return Response(value, (matrix @ v).view(1, 2, 1, 1).expand(2, -1, -1, -1))


def test_linear_maps_by_hand():
    student, teacher = along(STUDENT, [1.0, 1.0]), along(TEACHER, [1.0, 1.0])  # (3, 0) and (3, 4)
    half = torch.ones(2, dtype=torch.float64)
    assert torch.allclose(geometry.jvp_cosine(student, teacher), 0.6 * half)
    assert torch.allclose(geometry.jvp_mse(student, teacher), 8 * half)  # (0 + 16) / 2
    assert geometry.jacobian_norm_ratio(student, teacher) == pytest.approx(0.6)
    by_hand = (student.x0 - teacher.x0).square().flatten(1).sum(1) / 2
    assert torch.allclose(geometry.response_value_mse(student, teacher), by_hand)


def test_spectral_kl_by_hand():
    teacher, student = torch.tensor([[4.0, 3.0]]), torch.tensor([[1.0, 1.0]])
    by_hand = 0.64 * torch.tensor(0.64 / 0.5).log() + 0.36 * torch.tensor(0.36 / 0.5).log()
    assert geometry.spectral_kl(student, teacher).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_spectral_kl_does_not_see_the_scale():
    singular = torch.tensor([[5.0, 2.0, 0.1]])
    assert geometry.spectral_kl(0.01 * singular, singular).item() == pytest.approx(0, abs=1e-6)


def test_identical_models_have_cosine_and_norm_ratio_one_and_no_error():
    summary = summarise_responses(rows_of_responses(linear(TEACHER), linear(TEACHER)))
    assert (summary["jvp_cosine"], summary["jacobian_norm_ratio"]) == pytest.approx((1, 1))
    assert (summary["jvp_mse"], summary["spectral_kl"], summary["pointwise_mse"]) == pytest.approx((0, 0, 0))


def test_constant_student_has_norm_ratio_zero_and_finite_metrics():
    summary = summarise_responses(rows_of_responses(linear(0 * TEACHER), linear(TEACHER)))
    assert summary["jacobian_norm_ratio"] == 0 and summary["jvp_cosine"] == 0
    assert summary["jvp_mse"] == pytest.approx((9 / 2 + 16 / 2) / 2)
    assert summary["spectral_kl"] > 10 and summary["spectral_kl"] < float("inf")


def test_halved_response_has_norm_ratio_one_half_and_cosine_one():
    summary = summarise_responses(rows_of_responses(linear(TEACHER / 2), linear(TEACHER)))
    assert (summary["jvp_cosine"], summary["jacobian_norm_ratio"]) == pytest.approx((1, 0.5))
    assert summary["spectral_kl"] == pytest.approx(0, abs=1e-12)


def test_a_constant_offset_changes_the_values_only():
    plain, shifted = (rows_of_responses(linear(STUDENT, offset), linear(TEACHER)) for offset in (0.0, 5.0))
    same = ["jvp_cosine", "jvp_mse", "student_power", "teacher_power", "spectral_kl"]
    assert plain[same].equals(shifted[same])
    assert not plain["pointwise_mse"].equals(shifted["pointwise_mse"])


def test_compare_has_a_row_per_noise_and_direction():
    rows = rows_of_responses(linear(STUDENT), linear(TEACHER))
    assert rows[["direction", "noise"]].values.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert rows["student_power"].tolist() == [4.5, 4.5, 0, 0]
    assert rows["teacher_power"].tolist() == [4.5, 4.5, 8, 8]
    assert rows["jvp_cosine"].tolist() == pytest.approx([1, 1, 0, 0])


def test_spectrum_along_a_basis_is_that_of_the_jacobian():
    jacobians = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    jvps = jacobians.permute(2, 0, 1).reshape(4, 3, 1, 2, 2)  # K B C H W: column k along basis vector k
    assert torch.allclose(geometry.response_spectrum(jvps), torch.linalg.svdvals(jacobians), atol=1e-12)


def test_norm_ratio_along_random_directions_is_the_ratio_of_frobenius_norms():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(2, 6, 6, generator=generator, dtype=torch.float64)
    v = torch.randn(4000, 6, generator=generator, dtype=torch.float64)
    student, teacher = (Response(a, a) for a in ((v @ m.T).view(-1, 6, 1, 1) for m in (ours, theirs)))
    expected = (ours.norm() / theirs.norm()).item()
    assert geometry.jacobian_norm_ratio(student, teacher) == pytest.approx(expected, rel=0.03)


def test_deviation_accumulates_over_nodes():
    teacher = torch.zeros(3, 2, 1, 1, 2)
    student = torch.stack([teacher[0], teacher[1] + 1, teacher[2] + 2])
    assert trajectory_deviation(student, teacher).tolist() == [[1, 1], [5, 5]]


@pytest.fixture
def student(point_teacher, smoke):
    return Model(start_student(point_teacher, smoke.student, seed=0), point_teacher.latent_shape)


def test_analysis_takes_the_basis_where_the_latent_is_small(point_teacher, smoke):
    _, noise, directions = analysis_noise(point_teacher, smoke.sensitivity, "isotropic")
    assert noise.shape == (16, 2, 1, 1) and directions.shape == (2, 16, 2, 1, 1)
    assert torch.equal(directions[:, 0].flatten(1), torch.eye(2))
    one = smoke.sensitivity.model_copy(update={"num_directions": 1})
    assert analysis_noise(point_teacher, one, "isotropic")[2].std() > 0.5


def test_answers_equal_the_jacobian_by_autograd_and_do_not_depend_on_the_batch(point_teacher, student, smoke):
    _, noise, directions = analysis_noise(point_teacher, smoke.sensitivity, "isotropic")
    for model, steps in ((point_teacher, 8), (student, 2)):
        chain = noise_to_image_map(model.denoiser, None, num_steps=steps)
        by_difference = smoke.sensitivity.model_copy(update={"method": "difference", "perturbation_scale": 1e-3})
        whole, difference = (
            value_and_responses(chain, noise, directions, how) for how in (smoke.sensitivity, by_difference)
        )
        _, small = value_and_responses(chain, noise[:5], directions[:, :5], smoke.sensitivity)
        assert torch.allclose(whole[1][:, :5], small, atol=1e-4) and torch.equal(whole[0], difference[0])
        for n in range(3):

            def phi(x, model=model, steps=steps):
                return sample(model.denoiser, x.view(1, 2, 1, 1), None, num_steps=steps)[-1].flatten()

            jacobian = torch.autograd.functional.jacobian(phi, noise[n].flatten())
            assert torch.allclose(whole[1][:, n].flatten(1), jacobian.T, rtol=1e-3, atol=1e-4)
        assert (whole[1] - difference[1]).norm() < 0.1 * whole[1].norm()


@pytest.mark.parametrize("method", ["exact", "difference"])
def test_stage_measures_every_student_against_its_teacher(point_teacher, student, smoke, method):
    config = smoke.sensitivity.model_copy(update={"method": method})
    settings = smoke.model_copy(update={"sensitivity": config})
    students = [("baseline", 0, student), ("gad", 1, student)]
    rows = list(measure_end_to_end(point_teacher, students, settings))
    assert [len(part) for part in rows] == [32, 32]
    table = summarise_end_to_end(pd.concat(rows))
    assert table[["variant", "seed", "directions"]].values.tolist() == [
        ["baseline", 0, "isotropic"],
        ["gad", 1, "isotropic"],
    ]
    assert table.drop(columns=["variant", "seed", "directions"]).notna().all(axis=None)
    assert -1 <= table["jvp_cosine"].min() and table["jvp_cosine"].max() <= 1


def test_the_teacher_does_not_deviate_from_itself(point_teacher, smoke):
    pairs = smoke.noise_pairs.model_copy(update={"student_steps": smoke.noise_pairs.teacher_steps})
    settings = smoke.model_copy(update={"noise_pairs": pairs})
    table = summarise_trajectories(
        pd.concat(measure_trajectories(point_teacher, [("teacher", 0, point_teacher)], settings))
    )
    assert table["t"].tolist() == [0.75, 0.5, 0.25, 0]
    assert table["deviation"].tolist() == [0] * 4
