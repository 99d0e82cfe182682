"""What the stage measures is true where the truth is known, and does not depend on batches or order."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import pytest
import torch

from gad.config.sample_ids import ANALYSIS
from gad.diffusion.jvp import exact_jvps_or_none
from gad.diffusion.maps import noise_to_image_map, single_call_map
from gad.diffusion.noise import draw_noise
from gad.diffusion.sampling import ddim_step, next_sampling_timestep, sample, sampling_timesteps
from gad.diffusion.schedule import CosineSchedule, FlowSchedule
from gad.evaluation.sensitivity.end_to_end import measure_end_to_end, summarise_end_to_end
from gad.evaluation.sensitivity.finite_difference import STEPS, choose_finite_difference_step
from gad.evaluation.sensitivity.jvp_agreement import jvp_agreement_of_map, measure_jvp_agreement
from gad.evaluation.sensitivity.per_noise_level import (
    measure_noise_levels,
    noise_level_map,
    noise_levels_in_columns,
    noise_levels_of,
    summarise_noise_levels,
)
from gad.evaluation.sensitivity.response_curve import measure_response_curve
from gad.evaluation.sensitivity.responses import value_and_responses
from gad.evaluation.sensitivity.spectrum import (
    measure_spectra,
    spectra_of_seeds,
)
from gad.evaluation.sensitivity.trajectory import (
    TIMES,
    measure_trajectories,
    summarise_trajectories,
    trajectory_states_at,
)
from gad.models.model import Model
from gad.runtime.files import write_rows


@dataclass(frozen=True)
class OneStep:
    """A student that is the given map from noise to data."""

    phi: Callable
    schedule: object = CosineSchedule()

    def __call__(self, x_t, t, conditioning=None):
        return self.phi(x_t)


def student(phi, shape=(2, 1, 1)) -> Model:
    return Model(OneStep(phi), shape)


@pytest.fixture
def settings(smoke):
    return smoke.model_copy(update={"noise_pairs": smoke.noise_pairs.model_copy(update={"student_steps": 1})})


@pytest.fixture
def teacher_map(point_teacher, settings):
    return noise_to_image_map(point_teacher.denoiser, None, num_steps=settings.noise_pairs.teacher_steps)


def turned(x, degrees):
    angle = torch.deg2rad(torch.tensor(float(degrees)))
    matrix = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    return torch.einsum("ij,bjhw->bihw", matrix.to(x), x)


def row_of(point_teacher, settings, phi):
    """The Table 1 row of a student that is ``phi``."""
    return summarise_end_to_end(
        pd.concat(measure_end_to_end(point_teacher, [("baseline", 0, student(phi))], settings))
    ).iloc[0]


def test_a_student_that_is_the_teacher_has_one_one_zero_zero(point_teacher, settings, teacher_map):
    row = row_of(point_teacher, settings, teacher_map)
    assert (row["jvp_cosine"], row["jacobian_norm_ratio"]) == pytest.approx((1, 1), abs=1e-5)
    assert (row["jvp_mse"], row["spectral_kl"], row["pointwise_mse"]) == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_constant_student_has_gain_zero(point_teacher, settings):
    row = row_of(point_teacher, settings, lambda x: 0 * x + 0.5)
    assert row["jacobian_norm_ratio"] == 0 and row["gain_median"] == 0 and row["jvp_cosine"] == 0


def test_half_the_response_around_a_point_has_gain_one_half_and_cosine_one(point_teacher, settings, teacher_map):
    centre = teacher_map(torch.full((1, 2, 1, 1), 0.3))
    row = row_of(point_teacher, settings, lambda x: centre + (teacher_map(x) - centre) / 2)
    assert (row["jvp_cosine"], row["jacobian_norm_ratio"]) == pytest.approx((1, 0.5), abs=1e-5)
    assert row["spectral_kl"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("degrees", [60, 90, 180])
def test_a_turned_student_has_the_cosine_of_the_angle_and_the_teachers_spectrum(
    point_teacher, settings, teacher_map, degrees
):
    row = row_of(point_teacher, settings, lambda x: turned(teacher_map(x), degrees))
    assert row["jvp_cosine"] == pytest.approx(torch.deg2rad(torch.tensor(float(degrees))).cos().item(), abs=1e-5)
    assert row["jacobian_norm_ratio"] == pytest.approx(1, abs=1e-5)
    assert row["spectral_kl"] == pytest.approx(0, abs=1e-5)


def test_results_depend_neither_on_the_batch_size_nor_on_the_order_of_students(point_teacher, settings):
    named = [("baseline", 0, student(lambda x: x.sin())), ("gad", 1, student(torch.cos))]
    small = settings.model_copy(update={"sensitivity": settings.sensitivity.model_copy(update={"batch_size": 11})})

    def rows(measure, students, config):
        table = pd.concat(measure(point_teacher, students, config))
        return table.sort_values(["variant", "noise", "direction", *(["t"] if "t" in table else [])])

    for measure in (measure_end_to_end, measure_noise_levels):
        whole, parts = rows(measure, named, settings), rows(measure, named[::-1], small)
        assert whole["noise"].nunique() == 16
        pd.testing.assert_frame_equal(whole.reset_index(drop=True), parts.reset_index(drop=True), rtol=1e-3, atol=1e-6)
    one, other = (
        summarise_trajectories(pd.concat(measure_trajectories(point_teacher, named, config)))["deviation"]
        for config in (settings, small)
    )
    assert one.tolist() == pytest.approx(other.tolist(), rel=1e-5)


def test_the_teacher_is_asked_once_for_each_batch(point_teacher, settings):
    calls = []

    class Counting(OneStep):
        def __call__(self, x_t, t, conditioning=None):
            calls.append(len(x_t))
            return super().__call__(x_t, t)

    counting = Model(Counting(lambda x: x.sin()), (2, 1, 1))
    counts = []
    for number in (1, 3):
        calls.clear()
        list(measure_end_to_end(counting, [("gad", seed, student(torch.cos)) for seed in range(number)], settings))
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0


def test_a_student_of_another_latent_shape_is_refused_in_one_line(point_teacher, settings):
    wide_student = student(lambda x: x, shape=(4, 8, 8))
    for measure in (measure_end_to_end, measure_noise_levels):
        with pytest.raises(ValueError, match=r"gad \(seed 3\) has latents of 4x8x8, its teacher of 2x1x1"):
            list(measure(point_teacher, [("gad", 3, wide_student)], settings))
    with pytest.raises(ValueError, match="its teacher of 2x1x1"):
        measure_spectra(point_teacher, [("gad", 3, wide_student)], settings)


def test_nan_answers_are_refused_with_model_and_noise(point_teacher, settings):
    bad = draw_noise([ANALYSIS + 3], (2, 1, 1), seed=settings.sensitivity.seed)
    phi = lambda x: torch.where((x == bad).all(1, keepdim=True), torch.nan, x)  # noqa: E731
    with pytest.raises(ValueError, match=rf"gad \(seed 0\) gives NaN or infinity for noise {ANALYSIS + 3}") as error:
        list(measure_end_to_end(point_teacher, [("gad", 0, student(phi))], settings))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("student_steps", [1, 4])
def test_a_student_that_reaches_its_next_node_as_the_teacher_does_is_right_there(
    point_teacher, settings, student_steps
):
    teacher = point_teacher.denoiser

    @dataclass(frozen=True)
    class Right:
        schedule: object = teacher.schedule

        def __call__(self, x_t, t, conditioning=None):
            time = t[0].item()
            return noise_level_map(teacher, time, next_sampling_timestep(time, student_steps), None, num_steps=8)(x_t)

    pairs = settings.noise_pairs.model_copy(update={"student_steps": student_steps})
    settings = settings.model_copy(update={"noise_pairs": pairs})
    rows = pd.concat(measure_noise_levels(point_teacher, [("right", 0, Model(Right(), (2, 1, 1)))], settings))
    table = summarise_noise_levels(rows)
    assert sorted(table["t"]) == [0.25, 0.5, 0.75, 1.0] and (table["pointwise_mse"] < 1e-8).all()
    assert table["jvp_cosine"].tolist() == pytest.approx([1] * 4, abs=1e-3)
    assert table["gain"].tolist() == pytest.approx([1] * 4, abs=1e-3)


def test_where_a_call_reaches_its_node_leads_there():
    denoise, z = OneStep(lambda x: x.sin()), torch.linspace(-1, 1, 6).view(3, 2, 1, 1)
    states = sample(denoise, z, None, num_steps=8)
    x0 = noise_level_map(denoise, 0.75, 0.25, None, num_steps=8)(states[2])
    times = (torch.full((3,), time) for time in (0.75, 0.25))
    assert torch.allclose(ddim_step(denoise.schedule, states[2], x0, *times), states[6], atol=1e-5)
    assert [next_sampling_timestep(t, 4) for t in (1.0, 0.8, 0.75, 0.3, 0.25)] == [0.75, 0.75, 0.5, 0.25, 0]


def test_one_call_at_a_node_has_the_closed_form_derivative(point_teacher, settings):
    pairs = settings.noise_pairs.model_copy(
        update={"student_steps": 8}
    )  # the teacher's own: one call leads to the next
    settings = settings.model_copy(update={"noise_pairs": pairs})
    rows = pd.concat(measure_noise_levels(point_teacher, [("copy", 0, point_teacher)], settings))
    assert sorted(rows["t"].unique()) == [k / 8 for k in range(1, 9)]
    table = summarise_noise_levels(
        rows[rows["t"] < 1]
    )  # one call at t = 1 answers with the mean of all data, whatever the noise
    assert table["jvp_cosine"].tolist() == pytest.approx([1] * 7, abs=1e-4)
    assert table["gain"].tolist() == pytest.approx([1] * 7, abs=1e-4)
    noise = draw_noise([ANALYSIS], (2, 1, 1), seed=settings.sensitivity.seed)
    x_t, v = sample(point_teacher.denoiser, noise, None, num_steps=8)[4], torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    exact = point_teacher.denoiser.jvp(x_t, torch.tensor([0.5]), v).square().mean().item()
    measured = rows[(rows["t"] == 0.5) & (rows["noise"] == 0) & (rows["direction"] == 0)]["teacher_power"].iloc[0]
    assert measured == pytest.approx(exact, rel=1e-3)
    assert {"variant", "seed", "gain at t = 0.75"} <= set(noise_levels_in_columns(table))


def test_noise_levels_are_the_nodes_and_where_the_teacher_stops_next_to_the_quarters():
    assert noise_levels_of(1, 20) == noise_levels_of(4, 20) == [1.0, 0.75, 0.5, 0.25]
    assert noise_levels_of(5, 10) == [1.0, 0.8, 0.6, 0.5, 0.4, 0.2]
    assert noise_levels_of(2, 10) == [1.0, 0.8, 0.5, 0.2] and noise_levels_of(1, 50) == [1.0, 0.76, 0.5, 0.24]


def test_the_swiss_rolls_spectrum_is_exact(point_teacher, settings, teacher_map):
    named = [("gad", 0, student(lambda x: 3 * turned(teacher_map(x), 30)))]
    table = measure_spectra(point_teacher, named, settings)
    noise = draw_noise([ANALYSIS], (2, 1, 1), seed=settings.sensitivity.seed)
    jacobian = torch.autograd.functional.jacobian(lambda z: teacher_map(z.view(1, 2, 1, 1)).flatten(), noise.flatten())
    first = table[(table["variant"] == "teacher") & (table["noise"] == 0)]["singular_value"]
    assert first.tolist() == pytest.approx(torch.linalg.svdvals(jacobian).tolist(), rel=1e-3)
    row = spectra_of_seeds(table).iloc[0]
    assert row["gain_top"] == pytest.approx(3, rel=1e-4) and row["spectral_kl_top"] == pytest.approx(0, abs=1e-5)


class NoForwardMode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sin()

    @staticmethod
    def backward(ctx, grad):
        raise AssertionError


def test_a_network_without_forward_mode_is_measured_by_differences(settings):
    x = torch.randn(4, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    v = torch.ones_like(x)
    phi = NoForwardMode.apply
    with pytest.warns(UserWarning, match="taken by difference"):
        assert exact_jvps_or_none(phi, x, v[None]) is None
    value, jvp = value_and_responses(phi, x, v[None], settings.sensitivity)
    assert torch.equal(value, x.sin()) and torch.allclose(jvp[0], x.cos(), atol=1e-2)
    assert jvp_agreement_of_map(phi, x, v)["disagreement"] is None


def test_all_batches_of_a_map_without_forward_mode_are_measured_at_one_step(settings):
    class Bent(NoForwardMode):
        @staticmethod
        def forward(ctx, x):
            return torch.where(x.abs() < 1, 2 * x, (300 * x).sin())  # straight near 0, where the first noises lie

    x = torch.cat([torch.linspace(-0.5, 0.5, 8), torch.linspace(2, 3, 8)]).view(-1, 2, 1, 1)
    v, phi = torch.ones_like(x)[None], Bent.apply
    steps = {}
    parts = [
        value_and_responses(phi, x[i], v[:, i], settings.sensitivity, steps=steps, key="gad")
        for i in (slice(0, 4), slice(4, 8))
    ]
    assert list(steps) == ["gad"] and steps["gad"] != choose_finite_difference_step(phi, x[4:], v[0, 4:])
    whole = value_and_responses(phi, x, v, settings.sensitivity)
    assert torch.equal(torch.cat([jvp for _, jvp in parts], dim=1), whole[1])


def test_a_map_without_forward_mode_may_hold_a_prompt_for_each_of_its_noises(settings):
    x, prompts = torch.linspace(-1, 1, 16).view(8, 2, 1, 1), torch.arange(8.0).view(8, 1, 1, 1)
    with pytest.warns(UserWarning, match="taken by difference"):
        _, jvp = value_and_responses(
            lambda z: NoForwardMode.apply(z + prompts), x, torch.ones_like(x)[None], settings.sensitivity
        )
    assert torch.allclose(jvp[0], (x + prompts).cos(), atol=2e-2)


def test_other_errors_of_a_network_are_not_swallowed():
    x = torch.ones(1, 2, 1, 1)
    with pytest.raises(RuntimeError, match="must match"):
        exact_jvps_or_none(lambda z: z + torch.ones(3, 1, 1), x, x[None])
    with pytest.raises(RuntimeError, match="jvp"):
        exact_jvps_or_none(lambda z: "no tensor", x, x[None])


def test_the_chosen_step_is_large_for_a_straight_map_and_small_for_a_bent_one():
    x = torch.randn(4, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    v = torch.ones_like(x)
    assert choose_finite_difference_step(lambda z: 2 * z + 1, x, v) >= 1e-3
    bent = lambda z: (30 * z).sin()  # noqa: E731
    assert choose_finite_difference_step(bent, x, v) < 3e-3
    found = jvp_agreement_of_map(bent, x, v)
    assert found["h"] in STEPS and found["disagreement"].median() < 0.05


def test_no_step_is_chosen_for_a_map_that_is_not_finite():
    x = torch.ones(2, 2, 1, 1)
    with pytest.raises(ValueError, match="no step can be chosen"):
        choose_finite_difference_step(lambda z: z * torch.nan, x, x)


def test_exact_and_difference_agree_on_teacher_and_the_first_student_of_each_variant(point_teacher, settings):
    students = [("gad", seed, student(lambda x: x.sin())) for seed in (0, 1)]
    table = measure_jvp_agreement(point_teacher, students, settings)
    assert table["variant"].tolist() == ["teacher", "gad"] and table["disagreement"].max() < 0.05
    assert table["cosine_exact"].tolist() == pytest.approx(table["cosine_difference"].tolist(), abs=0.02)
    assert table["cosine_exact"].iloc[0] == pytest.approx(1)


@pytest.mark.parametrize("schedule", [FlowSchedule(), CosineSchedule()])
def test_a_one_step_students_path_leads_from_its_noise_to_its_answer(schedule):
    z = torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    path = trajectory_states_at(OneStep(lambda x: x.sin(), schedule), z, None, num_steps=1, times=TIMES)
    for t, state in zip(TIMES, path, strict=True):
        time = torch.tensor([t])
        by_hand = schedule.alpha(time) * z.sin() + schedule.sigma(time) * z  # at t = 1 all is noise: eps is z
        assert torch.allclose(state, by_hand, atol=1e-6)


@pytest.mark.parametrize("num_steps", [4, 8, 20])
def test_at_its_nodes_the_path_is_the_samplers(point_teacher, num_steps):
    z = torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    states = sample(point_teacher.denoiser, z, None, num_steps=num_steps)
    nodes = [(sampling_timesteps(num_steps) - t).abs().argmin() for t in TIMES]
    path = trajectory_states_at(point_teacher.denoiser, z, None, num_steps=num_steps, times=TIMES)
    assert torch.allclose(path, states[torch.stack(nodes)], atol=1e-5)


def test_deviation_of_a_shifted_student_is_the_sum_of_its_shifts(point_teacher, settings, teacher_map):
    maps = (lambda x: teacher_map(x) + 2, teacher_map)
    measured = [pd.concat(measure_trajectories(point_teacher, [("gad", 0, student(m))], settings)) for m in maps]
    assert measured[0].groupby("t")["noise"].apply(list).map(len).eq(settings.sensitivity.num_noises).all()
    assert sorted(measured[0]["noise"].unique()) == list(range(settings.sensitivity.num_noises))
    shifted, straight = map(summarise_trajectories, measured)
    assert straight["deviation"].is_monotonic_increasing
    last = [table["deviation"].diff().iloc[-1] for table in (straight, shifted)]
    assert last == pytest.approx([0, 4], abs=1e-4)  # at t = 0 both answers are whole


def test_a_students_answer_moves_as_far_as_its_response_is_large(point_teacher, settings, teacher_map):
    models = {"gad": teacher_map, "baseline": lambda x: teacher_map(x) / 2, "linear": lambda x: 3 * x}
    named = [(name, 0, student(phi)) for name, phi in models.items()]
    table = pd.concat(measure_response_curve(point_teacher, named, settings, reach=0.5, num_steps=3))
    change = table.pivot(index="h", columns="variant", values="change")
    assert change.index.tolist() == [0, 0.25, 0.5] and (change.loc[0] == 0).all()
    assert change["gad"].tolist() == pytest.approx(change["teacher"].tolist(), abs=1e-6)
    assert change["baseline"].tolist() == pytest.approx((change["teacher"] / 2).tolist(), abs=1e-6)
    assert change.loc[0.5, "linear"] == pytest.approx(2 * change.loc[0.25, "linear"], rel=1e-5)


def test_a_call_at_a_node_sees_the_time():
    seen = []

    class Seeing(OneStep):
        def __call__(self, x_t, t, conditioning=None):
            seen.append(t.tolist())
            return x_t

    single_call_map(Seeing(torch.sin), 0.25, None)(torch.ones(2, 2, 1, 1))
    assert seen == [[0.25, 0.25]]


def test_rows_are_appended_as_they_come(tmp_path):
    parts = [pd.DataFrame({"noise": [i], "score": [i / 2]}) for i in range(3)]
    write_rows(tmp_path / "rows.parquet", iter(parts))
    assert pd.read_parquet(tmp_path / "rows.parquet").equals(pd.concat(parts, ignore_index=True))
    with pytest.raises(ValueError, match="no rows"):
        write_rows(tmp_path / "none.parquet", iter([]))
    assert not (tmp_path / "none.parquet").exists()
