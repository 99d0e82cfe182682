"""Full scale without a hub: local folders as diffusers writes them, published sizes, options of memory and speed."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from gad.config import InversionConfig, NegativePromptsConfig, PromptsConfig, RecipeError, SeedsConfig, load_recipe
from gad.config.lora import LoraConfig
from gad.config.sample_ids import ANALYSIS, FIDELITY, NEGATIVE_PROMPTS, SEEDS, task_sample_ids
from gad.data.prompts import prompt_of
from gad.data.text_embeddings import encode_pair_prompts
from gad.distillation.batch_source import draw_batch
from gad.distillation.network_setup import prepare_network_precision
from gad.distillation.objective import build_objective
from gad.distillation.optimizer import make_student_optimizer
from gad.distillation.train_students import train_student_seeds
from gad.distillation.trainable import teacher_copy_for_training
from gad.distillation.training_loop import train
from gad.evaluation.sensitivity.end_to_end import measure_end_to_end
from gad.models.model import load_model
from gad.models.pipelines import pipeline_network
from gad.models.students import start_student, student_seed_dir
from gad.preflight import dry_run
from gad.preflight.architectures import (
    ARCHITECTURES,
    architecture_image_tokens,
    architecture_network_parameters,
    architecture_of,
    build_architecture,
)
from gad.preflight.cost import cost_utilisation
from gad.preflight.dry_run_counts import dry_run_flops
from gad.preflight.flops import step_flops
from gad.runtime.devices import can_compile
from gad.runtime.paths import RECIPES as RECIPES_FOLDER


@pytest.mark.parametrize(
    "name, published",
    [
        ("sd21", 865_910_724),
        ("sdxl", 2_567_463_684),  # "2.6 B" in its paper's table 1
        ("pixart", 610_856_096),
        ("sana_600m", 591_747_872),
        ("sana_1600m", 1_604_462_752),
        ("flux_dev", 11_901_408_320),  # "12 B" on its card
        ("flux_schnell", 11_891_178_560),
    ],
)
def test_a_dry_runs_network_has_the_published_number_of_parameters(name, published):
    assert architecture_network_parameters(build_architecture(ARCHITECTURES[name], device="meta")) == published


@pytest.mark.parametrize(
    "name, parameters, card",
    [
        ("sd3_medium", 2_028_328_000, 2.1e9),  # "2 billion" on its card
        ("sd35_medium", 2_243_171_520, 2.5e9),  # "2.5 billion"
        ("sd35_large", 8_056_627_520, 8.1e9),  # "8.1 billion"
    ],
)
def test_sd3_networks_are_as_large_as_their_cards_say_with_their_table_of_positions(name, parameters, card):
    network = build_architecture(ARCHITECTURES[name], device="meta")
    assert architecture_network_parameters(network) == parameters
    stored = parameters + sum(buffer.numel() for buffer in network.buffers())
    assert round(stored / 1e9, 1) == card / 1e9


def test_the_text_encoders_of_sdxl_sd3_and_flux_have_the_parameters_that_estimates_take():
    small = {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    large = {"num_hidden_layers": 32, "hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20}
    t5 = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 32128}
    with torch.device("meta"):
        clip = CLIPTextModel(CLIPTextConfig(**small))
        projected = CLIPTextModelWithProjection(CLIPTextConfig(**small, projection_dim=768))
        giant = CLIPTextModelWithProjection(CLIPTextConfig(**large, projection_dim=1280))
        xxl = T5EncoderModel(T5Config(**t5, feed_forward_proj="gated-gelu"))
    clip, projected, giant, xxl = map(architecture_network_parameters, (clip, projected, giant, xxl))
    assert ARCHITECTURES["sdxl"].text_parameters == clip + giant
    assert ARCHITECTURES["sd35_medium"].text_parameters == projected + giant + xxl
    assert ARCHITECTURES["flux_dev"].text_parameters == clip + xxl


@pytest.mark.parametrize("name", ["sdxl", "sd35_medium", "flux_dev"])
def test_a_reduced_network_keeps_the_published_widths(name):
    whole, reduced = (
        build_architecture(ARCHITECTURES[name], depth=depth, size=16, device="meta") for depth in (None, 1)
    )
    assert architecture_network_parameters(reduced) < architecture_network_parameters(whole) / 4
    for key in ("attention_head_dim", "cross_attention_dim", "joint_attention_dim", "pooled_projection_dim"):
        wide, narrow = whole.config.get(key), reduced.config.get(key)
        assert narrow == wide or narrow == wide[:1]


def test_the_published_teachers_of_the_recipes_are_known():
    known = {"sd21_ladd": "sd21", "pixart_tdm": "pixart", "sdxl_tdm": "sdxl", "sd35_sid": "sd35_medium"}
    known |= {"flux_ladd": "flux_dev"}
    found = {name: architecture_of(load_recipe(name).teacher.pretrained) for name in known}
    assert found == {name: ARCHITECTURES[architecture] for name, architecture in known.items()}
    sides = {"sd21": 4096, "pixart": 1024, "sana_600m": 256, "sdxl": 16384, "sd35_medium": 4096, "flux_dev": 4096}
    assert {name: architecture_image_tokens(ARCHITECTURES[name]) for name in sides} == sides
    assert architecture_image_tokens(ARCHITECTURES["flux_dev"], 64) == 1024
    with pytest.raises(ValueError, match="no published architecture is known for 'someone/other'"):
        architecture_of("someone/other")


def test_a_published_teacher_in_a_local_folder_is_known_by_its_config(tmp_path):
    tuple_free = json.loads(json.dumps(ARCHITECTURES["sd21"].config))
    (tmp_path / "teacher" / "unet").mkdir(parents=True)
    config = tmp_path / "teacher" / "unet" / "config.json"
    config.write_text(json.dumps(tuple_free | {"_class_name": "UNet2DConditionModel", "dropout": 0.0}))
    assert architecture_of(str(tmp_path / "teacher")) is ARCHITECTURES["sd21"]
    config.write_text(json.dumps(tuple_free | {"_class_name": "UNet2DConditionModel", "layers_per_block": 1}))
    with pytest.raises(ValueError, match="no published architecture is known"):
        architecture_of(str(tmp_path / "teacher"))


def test_a_hub_folder_goes_through_pairs_student_and_analysis(hub_run, tmp_path):
    settings, teacher, pairs, root = hub_run
    options = {"folder": tmp_path / "gad", "live": tmp_path / "live", "cache": tmp_path / "embeds"}
    states = list(train_student_seeds(teacher, pairs, settings.student, variant="gad", **options))
    assert [state.step for _, state in states] == [1, 2]
    assert len(list((tmp_path / "embeds").glob("*.safetensors"))) == 1
    student = load_model(student_seed_dir(tmp_path / "gad", 0), side=teacher.latent_shape[-1])
    assert type(student.pipeline) is type(teacher.pipeline)
    found = list(measure_end_to_end(teacher, [("gad", 0, student)], settings))
    assert found[0]["jvp_cosine"].notna().all()


def test_kept_embeddings_are_the_encoders_own(hub_run, tmp_path):
    _, teacher, pairs, _ = hub_run
    for _ in range(2):  # written, then read
        kept = encode_pair_prompts(teacher, pairs, cache=tmp_path)
        plain = encode_pair_prompts(teacher, pairs)
        assert kept.tensors.keys() == plain.tensors.keys()
        assert all(torch.equal(tensor, plain.tensors[name]) for name, tensor in kept.tensors.items())
    assert (plain.pooled_prompt_embeds is None) == (type(teacher.pipeline).__name__ in ("StableDiffusionPipeline",
                                                    "PixArtAlphaPipeline", "SanaPipeline"))  # fmt: skip
    half = encode_pair_prompts(teacher, pairs, cache=tmp_path, dtype="bfloat16")
    assert half.prompt_embeds.dtype == torch.bfloat16 and len(list(tmp_path.iterdir())) == 1  # the old ones went


def raises(words):
    raise RuntimeError(words)


def prepared(hub_run, **changes):
    settings, teacher, pairs, _ = hub_run
    config = settings.student.model_copy(update=changes)
    student = start_student(teacher, config, seed=0)
    objective = build_objective(
        teacher_copy_for_training(teacher, config), student, pairs, config, variant="gad", seed=0
    )
    return config, student, objective


def test_half_precision_keeps_learning_weights_differences_and_the_teacher_whole(hub_run, tmp_path):
    settings, teacher, pairs, _ = hub_run
    config, student, objective = prepared(hub_run, dtype="bfloat16")
    before = [p.clone() for p in student.network.parameters()]
    prompts = encode_pair_prompts(teacher, pairs, cache=tmp_path / "embeds", dtype="bfloat16")
    assert prompts.prompt_embeds.dtype == torch.bfloat16
    states = list(train(student, objective, pairs, prompts, config, variant="gad", seed=0, folder=tmp_path))
    assert all(torch.isfinite(torch.tensor(state.terms["total"])) for state in states)
    assert {p.dtype for p in student.network.parameters()} == {torch.float32}
    assert any(not torch.equal(p, old) for p, old in zip(student.network.parameters(), before, strict=True))
    assert {p.dtype for p in pipeline_network(teacher.pipeline).parameters()} == {torch.float32}
    inner = getattr(objective.teacher, "denoiser", objective.teacher)
    assert {p.dtype for p in inner.network.parameters()} == {torch.bfloat16}


def test_half_precision_answers_in_float32_and_close_to_the_whole(hub_run):
    _, teacher, pairs, _ = hub_run
    config, student, objective = prepared(hub_run, dtype="bfloat16")
    prompts, noise = encode_pair_prompts(teacher, pairs), pairs.trajectories(torch.arange(4), 0)[:, 0]
    t = torch.full((4,), 0.5)
    with torch.no_grad():
        whole = student(noise, t, prompts)
        prepare_network_precision(student, objective, config, torch.device("cpu"))
        half = student(noise, t, prompts)
    assert half.dtype == torch.float32 and not torch.equal(half, whole)
    assert (half - whole).norm() < 0.05 * whole.norm()


def test_checkpointing_gives_the_same_gradients(hub_run):
    _, teacher, pairs, _ = hub_run
    prompts = encode_pair_prompts(teacher, pairs)
    gradients = []
    for changes in ({"gradient_checkpointing": False}, {"gradient_checkpointing": True}):
        changes["channels_last"] = False
        config, student, objective = prepared(hub_run, **changes)
        prepare_network_precision(student, objective, config, torch.device("cpu"))
        student.network.train().requires_grad_(True)
        noise = pairs.trajectories(torch.arange(4), 0)[:, 0]
        student(noise, torch.full((4,), 0.7), prompts).square().mean().backward()
        gradients.append([p.grad for p in student.network.parameters() if p.grad is not None])
    for plain, checkpointed in zip(*gradients, strict=True):
        assert torch.allclose(plain, checkpointed, atol=1e-6)


def test_flops_of_a_step_are_those_of_its_matrix_products(smoke, point_teacher, point_pairs):
    config = smoke.student.model_copy(update={"batch_size": 16, "accumulate": 2})
    student = start_student(point_teacher, config, seed=0)
    objective = build_objective(point_teacher, student, point_pairs, config, variant="gad", seed=0)
    batch = draw_batch(point_pairs, None, student.schedule, variant="gad", batch_size=16, key=(0, 0))
    widths = [(layer.in_features, layer.out_features) for layer in student.network.modules() if hasattr(layer, "bias")]
    each = [a * b for a, b in widths]
    forward, to_weights, to_inputs = sum(each), sum(each), sum(each[1:])  # nobody asks for the gradient of the noise
    found = step_flops(student, objective, batch.split(2)[0], config)
    assert found == 2 * 16 * (forward + to_weights + to_inputs)


@pytest.mark.slow_for("sdxl_tdm", "sd35_sid", "sd21_ladd", "sana_sid", "flux_ladd")
def test_recomputation_is_not_counted_and_a_call_more_is(hub_run):
    _, teacher, pairs, _ = hub_run
    prompts, found = encode_pair_prompts(teacher, pairs), []
    for changes in ({"gradient_checkpointing": False}, {"gradient_checkpointing": True}, {"gad_weight": 0.0}):
        config, student, objective = prepared(hub_run, **changes, channels_last=False, dtype="bfloat16")
        prepare_network_precision(student, objective, config, torch.device("cpu"))
        options = {"variant": "gad", "batch_size": 2, "key": (0, 0)}
        found.append(step_flops(student, objective, draw_batch(pairs, prompts, student.schedule, **options), config))
    free = pairs.config.student_steps == 1 or config.paradigm == "ladd" and config.target == "end_to_end"
    assert found[0] == found[1] and (found[2] == found[0] if free else found[2] < found[0])


@pytest.mark.slow_for("sdxl_tdm", "sd35_sid", "sd21_ladd", "sana_sid", "flux_ladd")
def test_a_step_of_a_lora_saves_the_gradients_of_its_bases_weights(hub_run):
    settings, teacher, pairs, _ = hub_run
    prompts, found = encode_pair_prompts(teacher, pairs), []
    for lora in (None, LoraConfig(rank=1)):
        config = settings.student.model_copy(update={"lora": lora, "dtype": "bfloat16"})
        own = teacher_copy_for_training(teacher, config)  # counted on the device "meta"
        student = start_student(own, config, seed=0)
        objective = build_objective(own, student, pairs, config, variant="gad", seed=0)
        options = {"variant": "gad", "batch_size": 2, "key": (0, 0)}
        found.append(step_flops(student, objective, draw_batch(pairs, prompts, student.schedule, **options), config))
    # PyTorch's counter takes the weights' gradients of SANA's grouped convolutions for those of whole ones
    assert 1 / 3 * found[0] < found[1] < 0.97 * found[0]
    assert not any(parameter.is_meta for parameter in teacher.denoiser.network.parameters())


def test_options_that_a_network_does_not_have_are_refused_in_one_line(smoke, point_teacher, point_pairs):
    for name, told in (("gradient_checkpointing", "is for diffusers networks"), ("channels_last", "is for UNets")):
        config = smoke.student.model_copy(update={name: True})
        student = start_student(point_teacher, config, seed=0)
        objective = build_objective(point_teacher, student, point_pairs, config, variant="gad", seed=0)
        with pytest.raises(ValueError, match=told):
            prepare_network_precision(student, objective, config, torch.device("cpu"))


def test_training_goes_on_without_a_compiler_and_says_so_in_one_line(hub_run, monkeypatch):
    _, teacher, pairs, _ = hub_run
    config, student, objective = prepared(hub_run, compile=True)
    monkeypatch.setattr(torch, "compile", lambda function: raises("no compiler\nand a long story"))
    with pytest.warns(UserWarning, match="^torch.compile does not work here, going on without: no compiler$"):
        prepare_network_precision(student, objective, config, torch.device("cpu"))
    assert student.network._compiled_call_impl is None


def test_a_compiled_network_answers_as_the_plain_one(smoke, point_teacher, point_pairs):
    config = smoke.student.model_copy(update={"compile": True})
    student = start_student(point_teacher, config, seed=0)
    objective = build_objective(point_teacher, student, point_pairs, config, variant="gad", seed=0)
    if not can_compile(torch.device("cpu")):
        pytest.skip("torch.compile does not work here")
    x_t, t = point_pairs.trajectories(torch.arange(8), 0)[:, 0], torch.full((8,), 0.7)
    with torch.no_grad():
        plain = student(x_t, t, None)
        prepare_network_precision(student, objective, config, torch.device("cpu"))
        assert student.network._compiled_call_impl is not None
        assert torch.allclose(student(x_t, t, None), plain, atol=1e-5)


def test_an_optimiser_that_is_not_installed_is_told_with_its_command(smoke):
    config = smoke.student.model_copy(update={"optimizer": "adamw_8bit"})
    with pytest.raises(ValueError, match="^optimizer adamw_8bit needs bitsandbytes; run: pip install bitsandbytes$"):
        make_student_optimizer([torch.nn.Parameter(torch.zeros(1))], config, lr=1e-3, betas=(0.9, 0.999))


def test_prompts_of_pairs_and_analysis_come_from_both_ends(tmp_path):
    (tmp_path / "p.csv").write_text("caption\none\ntwo\n\nthree\n")
    source = PromptsConfig(file=str(tmp_path / "p.csv"), column="caption")
    assert prompt_of([0, 1, 2, 3], source) == ["one", "two", "three", "one"]
    for start in (ANALYSIS, SEEDS, NEGATIVE_PROMPTS):
        assert prompt_of([start, start + 1], source) == ["three", "two"]


def test_no_analysis_sees_a_training_prompt_where_the_file_is_long_enough(tmp_path):
    lines = [f"a cat number {i}" for i in range(21000)]
    (tmp_path / "p.txt").write_text("\n".join([*lines[:10], *lines]))  # ten come twice
    source = PromptsConfig(file=str(tmp_path / "p.txt"))
    learned = set(prompt_of(range(20000), source))
    assert len(learned) == 20000
    for start in (ANALYSIS, SEEDS, FIDELITY, NEGATIVE_PROMPTS):
        seen = set(prompt_of(task_sample_ids(start, 1000), source))
        assert len(seen) == 1000 and not seen & learned
    assert set(prompt_of([FIDELITY + 1000], source)) <= learned  # one more than the file has room for


def test_the_doctor_counts_the_prompts_of_the_largest_analysis():
    config = load_recipe("sana_sid").sensitivity
    seeds = SeedsConfig(num_seeds=2, train_prompts=30, val_prompts=10, test_prompts=20)
    absent = dict.fromkeys(("seeds", "fidelity", "negative_prompts", "inversion"))
    small = config.model_copy(update={"num_noises": 8} | absent)
    assert small.num_held_out_prompts == 8
    assert small.model_copy(update={"seeds": seeds}).num_held_out_prompts == 60
    assert (
        small.model_copy(update={"negative_prompts": NegativePromptsConfig(num_samples=70)}).num_held_out_prompts == 70
    )
    assert small.model_copy(update={"inversion": InversionConfig(num_samples=50)}).num_held_out_prompts == 50


def test_a_recipe_with_prompts_in_the_wrong_world_is_refused(tmp_path):
    odd, text = tmp_path / "odd.yaml", (RECIPES_FOLDER / "sana_sid.yaml").read_text()
    odd.write_text(text.replace("dataset: prompts", "dataset: emoji"))
    with pytest.raises(RecipeError, match="noise_pairs.prompts belongs to teacher.dataset prompts"):
        load_recipe("odd", tmp_path)
    odd.write_text(text.replace("    column: prompt", "    colunm: prompt"))
    with pytest.raises(RecipeError, match="unknown key noise_pairs.prompts.colunm; did you mean column?"):
        load_recipe("odd", tmp_path)


TINY = {"num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 8, "cross_attention_dim": 16}


def test_a_dry_run_counts_a_step_and_its_flops(monkeypatch, tmp_path):
    published = ARCHITECTURES["pixart"]
    tiny = replace(published, config=published.config | TINY | {"sample_size": 8, "caption_channels": 32}, width=32)
    monkeypatch.setattr(dry_run, "architecture_of", lambda name: tiny)
    recipe = load_recipe("pixart_tdm")
    cpu, every = {"device": "cpu", "dtype": "float32"}, {"gad_batch_stride": 1, "gad_fraction": 1.0}
    student = recipe.student.model_copy(update=cpu | {"batch_size": 4, "accumulate": 2} | every)
    pairs = recipe.noise_pairs.model_copy(update=cpu | {"batch_size": 2})
    settings = recipe.model_copy(update={"student": student, "noise_pairs": pairs})
    options = {"steps": 1, "depth": None, "size": None}
    costs = {
        part: dry_run.dry_run_part(settings, part, tmp_path / part, **options)
        for part in ("noise_pairs", "baseline", "gad", "folder", "sensitivity", "control")
    }
    folder = costs.pop("folder")
    assert folder.seconds > 0 and folder.tokens == 0 and folder.unit == "folder of 0.00 GB"
    assert all(cost.seconds > 0 and cost.tokens > 0 and cost.peak > 0 for cost in costs.values())
    assert costs["sensitivity"].tokens == (1 + 4) * 4 * 8 * 16 and costs["control"].tokens == 8 * 16
    assert costs["baseline"].tokens == 4 * 16 and costs["gad"].flops > costs["baseline"].flops > 0
    assert cost_utilisation(costs["gad"], "CPU", "float32") is None
    measured = cost_utilisation(replace(costs["gad"], seconds=1.0, flops=98.9e12), "NVIDIA H100 80GB", "bfloat16")
    assert measured == pytest.approx(0.1)
    whole = dry_run_flops(settings, "gad", tmp_path / "counted", depth=None, size=None)
    assert whole == costs["gad"].flops
