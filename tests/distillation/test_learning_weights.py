"""LoRA students train their adapters alone, on weights that teacher and fake score share."""

import hashlib
from dataclasses import replace
from itertools import islice

import pytest
import torch

from gad.config.lora import LoraConfig
from gad.data.text_embeddings import encode_pair_prompts
from gad.distillation.batch_source import draw_batch
from gad.distillation.learning_weights import LearningWeights, learning_parameters, let_weights_learn
from gad.distillation.network_setup import set_up_networks
from gad.distillation.objective import build_objective
from gad.distillation.train_students import train_student_seeds
from gad.distillation.trainable import teacher_copy_for_training
from gad.distillation.training_loop import make_accelerator, train
from gad.distillation.training_state import TrainingState
from gad.models.adapter import adapter_base_parameters, adapter_weights
from gad.models.lora_students import lora_student_file
from gad.models.model import load_model
from gad.models.students import start_student
from gad.runtime.checkpoint import LAST, read_checkpoint

LORA = LoraConfig(rank=2)
CPU = torch.device("cpu")


def prepared(hub_run, **changes):
    """A LoRA student of a family and its objective, ready to learn: config, student, objective."""
    settings, teacher, pairs, _ = hub_run
    config = settings.student.model_copy(update={"lora": LORA, "gradient_checkpointing": False, **changes})
    own = teacher_copy_for_training(teacher, config)
    student = start_student(own, config, seed=0)
    objective = build_objective(own, student, pairs, config, variant="gad", seed=0)
    return config, student, set_up_networks(student, objective, config, CPU)


def places(parameters):
    return {parameter.data_ptr() for parameter in parameters}


def digest(network):
    states = network.state_dict()
    return hashlib.sha256(b"".join(states[name].numpy().tobytes() for name in sorted(states))).hexdigest()


def folders_of(hub_run, tmp_path, name, **changes):
    """Train one seed with GAD in a folder of that name: the generator, and the folder."""
    settings, teacher, pairs, _ = hub_run
    update = {
        "lora": LORA,
        "num_steps": 4,
        "checkpoint_every": 2,
        "seeds": [0],
        "ema_decay": 0.9,
        "lr": 1e-2,
        **changes,
    }
    config = settings.student.model_copy(update=update)
    made = train_student_seeds(teacher, pairs, config, variant="gad", folder=tmp_path / name, live=tmp_path / "live")
    return made, tmp_path / name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_teacher_student_and_fake_score_hold_one_base_in_memory(hub_run, dtype):
    _, teacher, pairs, _ = hub_run
    config, student, objective = prepared(hub_run, dtype=dtype)
    networks = objective.networks()
    assert networks.frozen, "every paradigm of these recipes calls its teacher"
    base = places(networks.frozen[0].network.parameters())
    for denoiser in (student, *networks.learning):
        assert places(adapter_base_parameters(denoiser.network)) == base
        assert {parameter.dtype for parameter in adapter_base_parameters(denoiser.network)} == {getattr(torch, dtype)}
        assert {parameter.dtype for parameter in learning_parameters(denoiser.network)} == {torch.float32}
    assert (base == places(teacher.denoiser.network.parameters())) == (dtype == "float32")
    batch = draw_batch(
        pairs, encode_pair_prompts(teacher, pairs), student.schedule, variant="gad", batch_size=4, key=(0, 0)
    )
    if config.misaligned:
        batch = replace(batch, others=batch.conditioning)
    terms = objective.terms(student, batch, torch.Generator().manual_seed(0))
    terms["total"].backward()
    assert all(p.grad is None for p in networks.frozen[0].network.parameters())
    moved = {name for name, weight in adapter_weights(student.network).items() if weight.grad.abs().max() > 0}
    assert moved == {
        name for name in adapter_weights(student.network) if ".lora_B." in name
    }  # A learns once B is not 0


def test_only_adapters_have_states_of_the_optimiser_and_an_average(hub_run):
    config, student, objective = prepared(hub_run)
    state = TrainingState(student.network, objective, config, make_accelerator("cpu"))
    own = list(adapter_weights(student.network).values())
    assert places(state.student.parameters) == places(own)
    held = [parameter for group in state.student.optimizer.param_groups for parameter in group["params"]]
    assert places(held) == places(own) and len(state.average.shadow_params) == len(own)
    if objective.networks().learning:
        fake = objective.networks().learning[0].network
        assert places(state.auxiliary.parameters) == places(adapter_weights(fake).values())
        assert not places(state.auxiliary.parameters) & places(own)


@pytest.mark.slow_for("sdxl_tdm")
def test_training_changes_the_adapter_and_not_the_teacher_to_the_bit(hub_run, tmp_path):
    _, teacher, _, _ = hub_run
    before = digest(teacher.denoiser.network)
    made, folder = folders_of(hub_run, tmp_path, "gad")
    list(made)
    assert digest(teacher.denoiser.network) == before
    assert not any(parameter.requires_grad for parameter in teacher.denoiser.network.parameters())
    student = load_model(folder / "seed_0", teacher=teacher)
    learnt = adapter_weights(student.denoiser.network)
    assert all(weight.abs().max() > 0 for weight in learnt.values())
    assert places(adapter_base_parameters(student.denoiser.network)) == places(teacher.denoiser.network.parameters())


@pytest.mark.slow_for("sdxl_tdm", "sd35_sid", "flux_ladd", "sd21_ladd", "sana_sid")
def test_a_checkpoint_holds_adapters_alone_and_a_resume_is_bit_for_bit(hub_run, tmp_path):
    made, whole = folders_of(hub_run, tmp_path, "whole")
    list(made)
    made, broken = folders_of(hub_run, tmp_path, "broken")
    list(islice(made, 3))  # steps 1 to 3; the checkpoint is of step 2
    made.close()
    state = read_checkpoint(broken / "unfinished_0" / LAST)
    for part in {"network", "auxiliary"} & set(state):
        assert state[part] and (part == "auxiliary" or all(".lora_" in name for name in state[part]))
    assert sum(tensor.numel() for tensor in state["average"]["shadow_params"]) == sum(
        tensor.numel() for tensor in state["network"].values()
    )
    made, _ = folders_of(hub_run, tmp_path, "broken")
    list(made)
    file = lora_student_file(whole / "seed_0")
    assert file.read_bytes() == lora_student_file(broken / "seed_0").read_bytes()
    assert (whole / "training.csv").read_text() == (broken / "training.csv").read_text()


def test_regression_begins_an_adapter_as_well(hub_run, tmp_path):
    made, folder = folders_of(hub_run, tmp_path, "started", start="regression", start_steps=2, num_steps=1)
    list(made)
    assert lora_student_file(folder / "seed_0") is not None and (folder / "start_0.csv").exists()
    (start,) = (tmp_path / "start").glob("*/seed_0/network.safetensors")
    assert start.stat().st_size < lora_student_file(folder / "seed_0").stat().st_size + 10_000


def test_checkpointed_blocks_and_half_precision_train_an_adapter(hub_run, tmp_path):
    settings, teacher, pairs, _ = hub_run
    config = settings.student.model_copy(update={"lora": LORA, "dtype": "bfloat16", "gradient_checkpointing": True})
    own = teacher_copy_for_training(teacher, config)
    student = start_student(own, config, seed=0)
    objective = build_objective(own, student, pairs, config, variant="gad", seed=0)
    prompts = encode_pair_prompts(teacher, pairs)
    states = list(train(student, objective, pairs, prompts, config, variant="gad", seed=0, folder=tmp_path))
    assert all(torch.isfinite(torch.tensor(list(state.terms.values()))).all() for state in states)
    assert {parameter.dtype for parameter in teacher.denoiser.network.parameters()} == {torch.float32}


def test_all_weights_learn_where_there_is_no_adapter_and_a_base_never_does(hub_run):
    _, teacher, _, _ = hub_run
    plain = teacher.denoiser.copied().network
    let_weights_learn(plain)
    assert all(parameter.requires_grad for parameter in plain.parameters())
    config, student, _ = prepared(hub_run)
    student.network.requires_grad_(True)  # as a notebook may have done
    let_weights_learn(student.network)
    asks = {name for name, parameter in student.network.named_parameters() if parameter.requires_grad}
    assert asks == set(adapter_weights(student.network))
    let_weights_learn(student.network, False)
    assert not any(parameter.requires_grad for parameter in student.network.parameters())


def test_the_weights_of_another_adapter_are_refused(hub_run):
    _, student, _ = prepared(hub_run)
    state = LearningWeights(student.network).state_dict()
    state.pop(next(iter(state)))
    with pytest.raises(ValueError, match="is a weight of one adapter and not of the other"):
        LearningWeights(student.network).load_state_dict(state)
