"""Weights by gradients: each term's gradient is held at a ratio to the base loss's, and runs resume bit for bit."""

import pytest
import torch
from accelerate import Accelerator

from gad.config import StudentConfig
from gad.distillation.gradient_ratio import BASE, DECAY, UNWEIGHTED, GradientRatio, gradient_ratio_weights
from gad.distillation.objective import build_objective
from gad.distillation.train_students import train_student_seeds
from gad.distillation.training_loop import train
from gad.models.students import start_student


@pytest.fixture
def parameters():
    return [torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))]


def losses(parameters, factor):
    """A base loss with gradient (3, 4), a term with (0, factor), another with (2 factor, 0)."""
    x, y = parameters[0]
    terms = {"base": torch.stack([3 * x + 4 * y]), "gad": torch.stack([factor * y])}
    return terms | {UNWEIGHTED + "gad": factor * y, UNWEIGHTED + "anchor": 2 * factor * x, "total": 3 * x + 4 * y}


def test_a_weight_makes_the_terms_gradient_that_many_times_the_base_losss():
    weights = gradient_ratio_weights({BASE: 5.0, "gad": 0.5, "anchor": 20.0}, 0.2)
    assert weights == pytest.approx({"gad": 2.0, "anchor": 0.05})
    assert gradient_ratio_weights({"gad": 0.5}, 0.2) == {"gad": 0.0}  # the base loss has had no gradient yet


def test_the_total_has_each_term_at_the_ratio(parameters):
    ratio = GradientRatio(0.2, 10, Accelerator(cpu=True))
    terms = ratio.weigh(losses(parameters, 0.5), 0, parameters)
    assert list(terms) == ["base", "gad", "total", "weight_gad", "weight_anchor"]
    (gradient,) = torch.autograd.grad(terms["total"], parameters)
    assert gradient.tolist() == pytest.approx([3 + 0.2 * 5, 4 + 0.2 * 5])
    assert terms["weight_gad"].item() == pytest.approx(0.2 * 5 / 0.5)


def test_norms_are_running_means_measured_at_every_so_many_steps(parameters):
    ratio = GradientRatio(1.0, 3, Accelerator(cpu=True))
    for step, factor in enumerate([1.0, 7.0, 7.0, 2.0]):
        terms = ratio.weigh(losses(parameters, factor), step, parameters)
    expected = DECAY * 1 + (1 - DECAY) * 2
    assert ratio.norms == pytest.approx({BASE: 5, "gad": expected, "anchor": 2 * expected})
    assert terms["weight_gad"].item() == pytest.approx(5 / expected)
    other = GradientRatio(1.0, 3, Accelerator(cpu=True))
    other.load_state_dict(ratio.state_dict())
    assert other.norms == ratio.norms


def test_a_batch_that_uses_no_pair_of_a_term_leaves_its_weight_alone(parameters):
    ratio, still = GradientRatio(1.0, 3, Accelerator(cpu=True)), torch.zeros(())
    unused = losses(parameters, 1.0) | {UNWEIGHTED + "gad": still}
    assert ratio.weigh(unused, 0, parameters)["weight_gad"] == 0 and "gad" not in ratio.norms
    assert ratio.weigh(losses(parameters, 1.0), 1, parameters)["weight_gad"].item() == pytest.approx(5)
    assert ratio.weigh(unused, 3, parameters)["weight_gad"].item() == pytest.approx(5)


@pytest.mark.parametrize("lost", ["base", "gad"])
def test_a_gradient_that_overflows_is_left_out_of_the_mean(parameters, lost):
    ratio = GradientRatio(1.0, 1, Accelerator(cpu=True))
    ratio.weigh(losses(parameters, 1.0), 0, parameters)
    terms = losses(parameters, 1.0)
    name = "total" if lost == "base" else UNWEIGHTED + "gad"
    assert ratio.weigh(terms | {name: terms[name] * float("inf")}, 1, parameters)["weight_gad"].item() == 5
    assert ratio.norms == pytest.approx({BASE: 5, "gad": 1, "anchor": 2})


def test_a_step_without_a_term_is_left_alone(parameters):
    ratio, total = GradientRatio(1.0, 3, Accelerator(cpu=True)), parameters[0].sum()
    terms = ratio.weigh({"base": total[None], "total": total}, 0, parameters)
    assert terms["total"] is total and not ratio.norms


@pytest.mark.parametrize(
    ("paradigm", "variant", "names"),
    [
        ("matching", "gad", {"gad"}),
        ("ladd", "gad_anchor", {"gad", "anchor"}),
        ("tdm", "first_step_anchor", {"anchor"}),
        ("sid", "gad_score_fixed", {"score_fixed"}),
        ("tdm", "baseline", set()),
    ],
)
def test_every_paradigms_terms_are_weighed(paradigm, variant, names, point_teacher, point_pairs, smoke, tmp_path):
    config = smoke.student.model_copy(update={"paradigm": paradigm, "gradient_ratio": 0.5, "log_every": 1})
    student = start_student(point_teacher, config, seed=0)
    objective = build_objective(point_teacher, student, point_pairs, config, variant=variant, seed=0)
    run = train(student, objective, point_pairs, None, config, variant=variant, seed=0, folder=tmp_path)
    state = next(run)
    run.close()
    weights = {name.removeprefix("weight_"): w for name, w in state.terms.items() if name.startswith("weight_")}
    assert weights.keys() == names and not any(name.startswith(UNWEIGHTED) for name in state.terms)
    base = state.monitored["gradient_norm_" + ("matching" if paradigm == "matching" else paradigm)]
    for name, weight in weights.items():  # the anchor is regression to all stored pairs, which the monitor measures
        shown = "gradient_norm_" + ("matching" if name == "anchor" else name)
        if variant != "first_step_anchor":  # at the first step alone it has a norm of its own
            assert weight * state.monitored[shown] == pytest.approx(0.5 * base, rel=1e-4)
    if paradigm == "matching":
        total = state.terms["matching"] + weights["gad"] * state.terms["gad"]
        assert state.terms["total"] == pytest.approx(total, rel=1e-5)


def test_an_interrupted_run_ends_with_the_same_bits(point_teacher, point_pairs, smoke, tmp_path):
    changes = {"paradigm": "tdm", "gradient_ratio": 0.5, "gradient_ratio_every": 3, "rollout": "shared"}
    changes |= {"auxiliary_warmup": 4, "target": "end_to_end", "log_every": 1, "seeds": [0]}
    config = StudentConfig(**smoke.student.model_dump() | changes)

    def run(name):
        folder, live = tmp_path / name, tmp_path / "live" / name
        return train_student_seeds(
            point_teacher, point_pairs, config, variant="gad_anchor", folder=folder, live=live
        ), folder

    whole, folder = run("whole")
    assert "weight_gad" in [state.terms for _, state in whole][0]
    broken, other = run("broken")
    for _ in range(8):  # after the checkpoint at 5, before the one at 10
        next(broken)
    broken.close()
    list(run("broken")[0])
    contents = [{p.name: p.read_bytes() for p in place.rglob("*") if p.is_file()} for place in (folder, other)]
    assert contents[0] == contents[1]
