"""Models that this project did not make get the same rows as our students."""

import re

import pandas as pd
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from ruamel.yaml import YAML
from safetensors.torch import save_file
from tiny import PROMPTS

from gad.config import ExternalStudent, RecipeError, load_recipe
from gad.config.layout import LayoutConfig
from gad.data.emoji.text_encoders import clip_text
from gad.evaluation.control.layout.attention import cross_attention
from gad.evaluation.control.layout.prompts import emoji_layouts
from gad.evaluation.control.layout.steering import steering_energy, steering_plan
from gad.evaluation.sensitivity.end_to_end import measure_end_to_end, summarise_end_to_end
from gad.models.external import as_external, load_external, load_external_student
from gad.models.external_sampler import external_sampler_steps
from gad.models.model import Model
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipelines import pipeline_denoiser, pipeline_family, pipeline_network
from gad.models.sampler import Sampler
from gad.models.shared_parts import share_equal_parts
from gad.models.text_encoding import text_encoding_of_prompts
from gad.runtime.files import read_json
from gad.runtime.paths import RECIPES, ROOT

GUIDE = ROOT / "docs" / "howto" / "model.md"
NOISE = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def foreign(vae, tmp_path_factory):
    """A random StableDiffusionPipeline, put together and written by diffusers alone; it predicts eps."""
    folder = tmp_path_factory.mktemp("foreign") / "sd"
    with torch.random.fork_rng():
        torch.manual_seed(7)
        tokenizer, text_encoder = clip_text()
        unet = UNet2DConditionModel(
            sample_size=16, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=96, norm_num_groups=8,
            attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                              steps_offset=1)  # fmt: skip
    parts = {"vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "unet": unet, "scheduler": scheduler}
    StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def teacher(pipelines):
    """The untrained SD-class teacher."""
    return Model(pipeline_denoiser(pipelines["unet"]), (4, 16, 16), pipelines["unet"])


def entry(folder, **changes) -> ExternalStudent:
    return ExternalStudent(**{"name": "foreign", "source": str(folder), "num_steps": 2} | changes)


def recipe_of(*students):
    recipe = load_recipe("emoji_quick")
    pairs = recipe.noise_pairs.model_copy(update={"teacher_steps": 2, "guidance_scale": 1.0})
    small = recipe.sensitivity.model_copy(
        update={"num_noises": 2, "num_directions": 1, "directions": ["isotropic"], "finite_step": None}
    )
    return recipe.model_copy(update={"noise_pairs": pairs, "sensitivity": small, "external_models": list(students)})


def test_a_folder_that_diffusers_wrote_gets_its_row_against_a_teacher(foreign, teacher):
    settings = as_external(recipe_of(entry(foreign)))
    rows = measure_end_to_end(teacher, load_external(settings, teacher), settings)
    table = summarise_end_to_end(pd.concat(rows))
    assert table[["variant", "seed"]].values.tolist() == [["foreign", 0]]
    assert -1 < table["jvp_cosine"].item() < 1 and table["pointwise_mse"].item() > 0
    assert table.drop(columns=["variant", "directions"]).notna().all(axis=None)


def test_the_guides_ten_lines_give_a_foreign_folder_its_row(foreign, teacher, capsys):
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S) if "mine" in block]
    assert sum(map(bool, lines.splitlines())) == 10
    changes = {
        'load_model(stage_dir("emoji_unet", "teacher"))': "small_teacher",
        'load_recipe("emoji_unet")': "small_recipe",
        "models/mine": str(foreign),
    }
    for old, new in changes.items():
        assert old in lines
        lines = lines.replace(old, new)
    exec(lines, {"small_teacher": teacher, "small_recipe": recipe_of()})
    shown = capsys.readouterr().out
    assert re.search(r"^variant +mine$", shown, re.M) and re.search(r"^jvp_cosine +-?0\.\d+$", shown, re.M)


SAMPLERS = [
    (None, {"num_steps": 3}),
    (None, {"num_steps": 2, "guidance_scale": 3.0}),
    ({"class": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}, {"num_steps": 1}),
    ({"class": "LCMScheduler"}, {"num_steps": 3}),
    ({"class": "TCDScheduler"}, {"num_steps": 2, "eta": 0.3}),
    ({"class": "DPMSolverMultistepScheduler"}, {"num_steps": 3}),
    ({"class": "DDPMScheduler"}, {"num_steps": 1, "timesteps": [999]}),
]


@pytest.mark.parametrize(("scheduler", "options"), SAMPLERS)
def test_every_sampler_ends_where_the_stock_pipeline_does(foreign, teacher, scheduler, options):
    student = load_external_student(entry(foreign, scheduler=scheduler, **options), teacher)
    ours = student.denoiser(NOISE, torch.ones(2), student.condition(PROMPTS))
    stock = {"num_inference_steps": options["num_steps"], "guidance_scale": options.get("guidance_scale", 1.0)}
    stock |= {name: options[name] for name in ("timesteps", "eta") if name in options}
    theirs = student.pipeline(
        PROMPTS, latents=NOISE, output_type="latent", **stock,
        generator=[torch.Generator().manual_seed(0) for _ in range(2)],
    ).images  # fmt: skip
    assert torch.allclose(ours, theirs, atol=1e-4 * theirs.abs().max().item())


@pytest.mark.parametrize(("told", "cut"), [({}, False), ({"clip_sample": True}, True)])
def test_a_scheduler_that_takes_anothers_config_cuts_no_latents_unless_told(foreign, teacher, tmp_path, told, cut):
    pipeline = load_pipeline(foreign)
    pipeline.scheduler = DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02)  # as PixArt-alpha's
    pipeline.save_pretrained(tmp_path / "dpm")
    scheduler = {"class": "DDPMScheduler"} | told
    student = load_external_student(entry(tmp_path / "dpm", scheduler=scheduler, num_steps=1, timesteps=[400]), teacher)
    assert student.pipeline.scheduler.config.clip_sample is cut
    noise = 5 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    x0 = student.denoiser(noise, torch.ones(2), student.condition(PROMPTS))
    assert (x0.abs().max() <= 1) == cut


def test_every_family_ends_where_the_stock_pipeline_does(pipeline):
    conditioning = text_encoding_of_prompts(pipeline, PROMPTS)
    *_, (_, ours) = external_sampler_steps(pipeline, NOISE, conditioning, num_steps=2)
    theirs = pipeline(
        PROMPTS, latents=NOISE, num_inference_steps=2, guidance_scale=1.0, output_type="latent", height=64, width=64,
        **pipeline_family(pipeline).sample_options,
    ).images  # fmt: skip
    assert torch.allclose(ours, theirs, atol=1e-4 * theirs.abs().max().item())


def test_a_stochastic_sampler_is_a_function_of_the_noise_and_depends_on_no_batch(foreign, teacher):
    student = load_external_student(entry(foreign, scheduler={"class": "LCMScheduler"}, num_steps=3), teacher)
    together = student.denoiser(NOISE, torch.ones(2), student.condition(PROMPTS))
    alone = student.denoiser(NOISE[1:], torch.ones(1), student.condition(PROMPTS[1:]))
    assert torch.allclose(together[1:], alone, atol=1e-4 * alone.abs().max().item())
    other = load_external_student(entry(foreign, scheduler={"class": "LCMScheduler"}, num_steps=3, seed=1), teacher)
    assert not torch.allclose(other.denoiser(NOISE, torch.ones(2), student.condition(PROMPTS)), together, atol=1e-2)


def test_layout_control_makes_the_first_calls_alone_of_a_map_with_its_own_sampler(foreign, teacher):
    student = load_external_student(entry(foreign, num_steps=3), teacher)
    sampler = Sampler("foreign", 0, student, num_steps=1)
    layouts = emoji_layouts(2)
    with cross_attention(student.denoiser.network) as recorded:
        energy = steering_energy(
            sampler, steering_plan(sampler, layouts, 64), LayoutConfig(num_prompts=2, attention_steps=2), recorded
        )
        values, _ = energy(NOISE)
        assert {len(calls) for calls in recorded.layers.values()} == {2} and values.isfinite().all()
    conditioning = student.condition([layout.caption for layout in layouts])
    whole = student.denoiser(NOISE, torch.ones(2), conditioning)
    assert torch.equal(student.denoiser.begin(NOISE, conditioning, calls=3), whole)


def test_the_teacher_brought_from_outside_answers_like_the_teacher(pipelines, teacher, tmp_path):
    pipelines["unet"].save_pretrained(tmp_path / "copy")
    settings = as_external(recipe_of(entry(tmp_path / "copy", name="copy")))
    table = summarise_end_to_end(pd.concat(measure_end_to_end(teacher, load_external(settings, teacher), settings)))
    assert table["jvp_cosine"].item() == pytest.approx(1, abs=1e-3)
    assert table["jacobian_norm_ratio"].item() == pytest.approx(1, abs=1e-3)


def test_a_network_that_wants_its_guidance_as_an_embedding_is_refused(foreign, teacher, tmp_path):
    pipeline = load_pipeline(foreign)
    pipeline.unet.register_to_config(time_cond_proj_dim=8)
    pipeline.save_pretrained(tmp_path / "lcm")
    config = tmp_path / "lcm" / "unet" / "config.json"
    assert read_json(config)["time_cond_proj_dim"] == 8
    built = UNet2DConditionModel.from_config(read_json(config))  # has a layer for the embedding
    built.save_pretrained(tmp_path / "lcm" / "unet")
    with pytest.raises(ValueError, match="foreign: .*lcm: its network wants its guidance as an embedding") as told:
        load_external_student(entry(tmp_path / "lcm"), teacher)
    assert "\n" not in str(told.value)


def test_what_students_have_in_common_is_held_once(foreign, teacher):
    one, two = (
        model.pipeline for _, _, model in load_external(recipe_of(entry(foreign), entry(foreign, name="b")), teacher)
    )
    assert one.vae is teacher.pipeline.vae is two.vae  # the fixture's autoencoder is the teacher's
    assert one.text_encoder is two.text_encoder and one.unet is not two.unet
    assert one.text_encoder is not teacher.pipeline.text_encoder  # of the same shape, with other weights


def test_parts_of_equal_weights_that_are_used_otherwise_are_not_shared(foreign, teacher):
    pipeline = load_pipeline(foreign)
    pipeline.vae.register_to_config(scaling_factor=2 * pipeline.vae.config.scaling_factor)
    own = pipeline.vae
    share_equal_parts(pipeline, [teacher.pipeline])
    assert pipeline.vae is own


def test_a_whole_map_is_not_asked_in_the_middle(foreign, teacher):
    student = load_external_student(entry(foreign), teacher)
    with pytest.raises(ValueError, match="foreign is a noise-to-image map and has no prediction"):
        student.denoiser(NOISE, torch.full((2,), 0.5), student.condition(PROMPTS))


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_a_bare_network_takes_everything_else_from_its_base(foreign, teacher, tmp_path, safe):
    network = pipeline_network(load_pipeline(foreign))
    with torch.no_grad():
        network.conv_out.bias += 0.5
    network.save_pretrained(tmp_path / "unet", safe_serialization=safe)
    whole = load_external_student(entry(foreign), teacher)
    bare = load_external_student(entry(tmp_path / "unet", kind="network", base=str(foreign)), teacher)
    answers = [model.denoiser(NOISE, torch.ones(2), model.condition(PROMPTS)) for model in (whole, bare)]
    assert not torch.allclose(*answers, atol=1e-2)
    assert bare.pipeline.unet.conv_out.bias.tolist() == network.conv_out.bias.tolist()


@pytest.mark.parametrize("name", ["weights.bin", "weights.safetensors"])
def test_a_file_of_weights_alone_goes_into_the_bases_network(foreign, teacher, tmp_path, name):
    weights = pipeline_network(load_pipeline(foreign)).state_dict()
    weights["conv_out.bias"] = weights["conv_out.bias"] + 0.5
    (save_file if name.endswith("safetensors") else torch.save)(weights, tmp_path / name)
    options = {"kind": "network", "base": str(foreign), "weights": name}
    bare = load_external_student(entry(tmp_path, **options), teacher)
    assert bare.pipeline.unet.conv_out.bias.tolist() == weights["conv_out.bias"].tolist()
    del weights["conv_out.bias"]
    (save_file if name.endswith("safetensors") else torch.save)(weights, tmp_path / name)
    for changes in ({}, {"weights": "none.bin"}):
        with pytest.raises(ValueError, match="foreign: cannot load a network from .*") as told:
            load_external_student(entry(tmp_path, **options | changes), teacher)
        assert "\n" not in str(told.value)


def test_code_in_a_bin_file_is_refused_and_not_run(foreign, teacher, tmp_path):
    network = pipeline_network(load_pipeline(foreign))
    network.save_pretrained(tmp_path / "unet", safe_serialization=False)
    torch.save(network.state_dict() | {"trap": Trap()}, tmp_path / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="foreign: cannot load a network"):
        load_external_student(entry(tmp_path / "unet", kind="network", base=str(foreign)), teacher)


def test_a_student_of_another_size_is_asked_for_the_teachers_latents(foreign, pipelines, tmp_path):
    larger = Model(pipeline_denoiser(pipelines["unet"]), (4, 24, 24), pipelines["unet"])
    student = load_external_student(entry(foreign, latent_side=24), larger)
    noise = torch.randn(1, 4, 24, 24, generator=torch.Generator().manual_seed(6))
    assert student.denoiser(noise, torch.ones(1), student.condition(PROMPTS[:1])).shape == noise.shape


def test_what_cannot_be_compared_with_the_teacher_is_refused_in_one_line(foreign, pipelines, teacher, tmp_path):
    flow = Model(pipeline_denoiser(pipelines["flow"]), (4, 16, 16), pipelines["flow"])
    wider = Model(teacher.denoiser, (4, 32, 32), teacher.pipeline)
    faults = [
        (entry(foreign), flow, "foreign reads prompts with another text encoder .*CLIPTextModel.*Gemma2Model"),
        (entry(foreign), wider, r"foreign has latents of \(4, 16, 16\), the teacher of \(4, 32, 32\)"),
        (entry(tmp_path / "nowhere"), teacher, "cannot load a diffusers pipeline from .*nowhere"),
        (entry(tmp_path, kind="lora", base=str(foreign)), teacher, "should hold one safetensors file"),
    ]
    for settings, other, message in faults:
        with pytest.raises(ValueError, match=message) as error:
            load_external_student(settings, other)
        assert "\n" not in str(error.value)


ENTRY = {"name": "x", "source": "a/b", "num_steps": 1}
FAULTS = [
    ([ENTRY | {"nam_steps": 2}], r"unknown key external_models\.0\.nam_steps; did you mean num_steps\?"),
    ([ENTRY, ENTRY], "names of external models repeat"),
    ([ENTRY | {"name": "teacher"}], "an external model cannot be named teacher"),
    ([ENTRY | {"name": "gad_anchor"}], "an external model cannot be named gad_anchor"),
    ([ENTRY | {"timesteps": [999, 500]}], "num_steps is 1, but 2 times are given"),
    ([ENTRY | {"kind": "lora"}], "kind lora needs a base"),
    ([ENTRY | {"base": "c/d"}], "kind full has no base"),
    ([ENTRY | {"scheduler": {"class": "NoScheduler"}}], "x: scheduler: diffusers has no scheduler 'NoScheduler'"),
    (
        [ENTRY | {"scheduler": {"class": "EulerDiscretScheduler"}}],
        "has no scheduler 'EulerDiscretScheduler'; did you mean EulerDiscreteScheduler",
    ),
    ([ENTRY | {"scheduler": {"class": "UNet2DConditionModel"}}], "diffusers has no scheduler 'UNet2DConditionModel'"),
    (
        [ENTRY | {"scheduler": {"class": "DDIMScheduler", "timestep_spacng": "trailing"}}],
        r"DDIMScheduler has no option 'timestep_spacng'; did you mean timestep_spacing\?",
    ),
    (
        [ENTRY | {"scheduler": {"class": "LCMScheduler", "use_karras_sigmas": True}}],
        "LCMScheduler has no option 'use_karras_sigmas'",
    ),
    ([ENTRY | {"scheduler": {"class": "DDIMScheduler"}, "timesteps": [999]}], "DDIMScheduler takes no timesteps"),
    ([ENTRY | {"scheduler": {"class": "LCMScheduler"}, "sigmas": [1.0]}], "LCMScheduler takes no sigmas"),
    ([ENTRY | {"scheduler": {"class": "LCMScheduler"}, "eta": 0.3}], "LCMScheduler takes no eta"),
]


@pytest.mark.parametrize(("students", "message"), FAULTS)
def test_an_impossible_entry_is_refused_in_one_line(tmp_path, students, message):
    yaml = YAML(typ="safe", pure=True)
    values = yaml.load(RECIPES / "emoji_quick.yaml")
    yaml.dump(values | {"external_models": students}, tmp_path / "edited.yaml")
    with pytest.raises(RecipeError, match=message) as error:
        load_recipe("edited", tmp_path)
    assert "\n" not in str(error.value)
