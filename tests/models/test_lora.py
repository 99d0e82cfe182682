"""Adapters of every spelling get the strength that peft and diffusers give them; all others are refused in one line."""

import json

import hub_folders
import peft
import pytest
import torch
from safetensors.torch import save_file

from gad.models.lora import merge_lora
from gad.models.pipeline_loading import load_pipeline

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT = "encoder.layers.0.self_attn.q_proj"
KOHYA = "lora_unet_" + LAYER.replace(".", "_")
RANK, WIDTH = 4, 8


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    hub_folders.save_teacher("sd21_ladd", folder / "sd")
    hub_folders.save_teacher("pixart_tdm", folder / "dit")
    return folder


@pytest.fixture
def pipeline(base):
    return load_pipeline(base / "sd")


def product(width: int = WIDTH, rank: int = RANK) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rank, width, generator=generator), torch.randn(width, rank, generator=generator)


def written(folder, tensors, *, config: dict | None = None, header: dict | None = None):
    metadata = None if header is None else {"lora_adapter_metadata": json.dumps(header)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "lora.safetensors", metadata)
    if config is not None:
        plain = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": [LAYER]}
        (folder / "adapter_config.json").write_text(json.dumps(plain | config))
    return folder / "lora.safetensors"


def pair(name: str, down: str = ".lora_A.weight", up: str = ".lora_B.weight") -> dict[str, torch.Tensor]:
    return dict(zip((name + down, name + up), product(), strict=True))


PEFT, OURS = pair(f"base_model.model.{LAYER}"), pair(f"unet.{LAYER}")
OLD = pair(f"unet.{LAYER.replace('.to_q', '.processor.to_q_lora')}", ".down.weight", ".up.weight")
SPELLINGS = {
    "diffusers": (OURS, {}, 1.0),
    "diffusers of old": (OLD, {}, 1.0),
    "without a prefix": (pair(LAYER), {}, 1.0),
    "down and up with alpha": (
        pair(f"unet.{LAYER}", ".lora.down.weight", ".lora.up.weight") | {f"unet.{LAYER}.alpha": torch.tensor(8.0)},
        {},
        2.0,
    ),
    "kohya": (pair(KOHYA, ".lora_down.weight", ".lora_up.weight") | {f"{KOHYA}.alpha": torch.tensor(1.0)}, {}, 0.25),
    "kohya without alpha": (pair(KOHYA, ".lora_down.weight", ".lora_up.weight"), {}, 1.0),
    "peft": (PEFT, {"config": {"lora_alpha": 16}}, 4.0),
    "names of diffusers with peft's settings": (OURS, {"config": {"lora_alpha": 16}}, 4.0),
    "name of the adapter in the keys": (
        pair(f"base_model.model.{LAYER}", ".lora_A.default.weight", ".lora_B.default.weight"),
        {"config": {"lora_alpha": 2}},
        0.5,
    ),
    "rslora": (PEFT, {"config": {"lora_alpha": 16, "use_rslora": True}}, 8.0),
    "rank and alpha patterns": (
        PEFT,
        {"config": {"r": 2, "rank_pattern": {"attn1.to_q": RANK}, "alpha_pattern": {"attn1.to_q": 12}}},
        3.0,
    ),
    "header of diffusers": (
        OURS,
        {"header": {"unet.r": RANK, "unet.lora_alpha": 16, "unet.target_modules": [LAYER]}},
        4.0,
    ),
}


@pytest.mark.parametrize(("tensors", "settings", "strength"), SPELLINGS.values(), ids=SPELLINGS)
def test_an_adapter_has_the_strength_that_its_settings_give_it(pipeline, tmp_path, tensors, settings, strength):
    weight = pipeline.unet.get_submodule(LAYER).weight
    before, names = weight.clone(), pipeline.unet.state_dict().keys()
    assert merge_lora(pipeline, written(tmp_path, tensors, **settings), scale=0.5) == 1
    down, up = product()
    after = pipeline.unet.get_submodule(LAYER).weight
    assert torch.allclose(after - before, 0.5 * strength * up @ down, atol=1e-5)
    assert pipeline.unet.state_dict().keys() == names and not hasattr(pipeline.unet, "peft_config")


def test_what_peft_itself_saves_comes_out_as_peft_merges_it(base, tmp_path):
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=["to_q", "to_v", "proj_in"], use_dora=True)
    theirs = peft.get_peft_model(load_pipeline(base / "sd").unet, config)
    torch.manual_seed(0)
    for name, parameter in theirs.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_()
    theirs.save_pretrained(tmp_path)
    ours = load_pipeline(base / "sd")
    changed = merge_lora(ours, tmp_path / "adapter_model.safetensors")
    merged = theirs.merge_and_unload().state_dict()
    assert changed > 3
    assert all(torch.allclose(value, merged[key], atol=1e-5) for key, value in ours.unet.state_dict().items())


def test_layers_without_an_alpha_keep_strength_1_beside_others_with_one(pipeline, tmp_path):
    other = LAYER.replace("to_q", "to_k")
    before = [pipeline.unet.get_submodule(name).weight.clone() for name in (LAYER, other)]
    tensors = pair(f"unet.{LAYER}") | pair(f"unet.{other}") | {f"unet.{LAYER}.alpha": torch.tensor(8.0)}
    assert merge_lora(pipeline, written(tmp_path, tensors)) == 2
    down, up = product()
    for name, weight, strength in zip((LAYER, other), before, (2.0, 1.0), strict=True):
        assert torch.allclose(pipeline.unet.get_submodule(name).weight - weight, strength * up @ down, atol=1e-5)


@pytest.mark.parametrize("names", [f"text_encoder.text_model.{TEXT}", "lora_te_text_model_" + TEXT.replace(".", "_")])
def test_an_adapter_of_the_text_encoder_is_merged_for_sd(pipeline, tmp_path, names):
    down, up = product(96)
    kohya = names.startswith("lora_te")
    ends = (".lora_down.weight", ".lora_up.weight") if kohya else (".lora_A.weight", ".lora_B.weight")
    before = pipeline.text_encoder.get_submodule(TEXT).weight.clone()
    tensors = dict(zip((names + end for end in ends), (down, up), strict=True))
    unet = pair(KOHYA if kohya else f"unet.{LAYER}", *ends)
    assert merge_lora(pipeline, written(tmp_path, tensors | unet)) == 2
    assert torch.allclose(pipeline.text_encoder.get_submodule(TEXT).weight - before, up @ down, atol=1e-5)


def test_an_adapter_of_a_convolution_keeps_its_kernel(pipeline, tmp_path):
    down, up = torch.randn(2, 4, 3, 3), torch.randn(8, 2, 1, 1)
    before, x, conv = pipeline.unet.conv_in.weight.clone(), torch.randn(1, 4, 8, 8), torch.nn.functional.conv2d
    tensors = {"unet.conv_in.lora.down.weight": down, "unet.conv_in.lora.up.weight": up}
    assert merge_lora(pipeline, written(tmp_path, tensors)) == 1
    assert torch.allclose(conv(x, pipeline.unet.conv_in.weight), conv(x, before) + conv(conv(x, down), up), atol=1e-4)


def test_a_transformers_adapter_is_merged_though_diffusers_has_no_loader_for_it(base, tmp_path):
    pipeline, layer = load_pipeline(base / "dit"), "transformer_blocks.0.attn1.to_q"
    before = pipeline.transformer.get_submodule(layer).weight.clone()
    down, up = product(16)
    name = "lora_transformer_" + layer.replace(".", "_")
    tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(2.0)}
    assert merge_lora(pipeline, written(tmp_path, tensors)) == 1
    assert torch.allclose(pipeline.transformer.get_submodule(layer).weight - before, 0.5 * up @ down, atol=1e-5)


A, B = f"unet.{LAYER}.lora_A.weight", f"unet.{LAYER}.lora_B.weight"
NOT_FINITE = {A: OURS[A], B: torch.full((WIDTH, RANK), float("nan"))}
FAULTS = {
    "empty": ({}, {}, "lora.safetensors holds no weights"),
    "unknown layer": (pair("unet.nowhere"), {}, "'nowhere', which UNet2DConditionModel does not have"),
    "a bias": ({"unet.conv_in.bias": torch.ones(8)}, {}, "is no LoRA weight that gad can merge"),
    "no B": ({A: OURS[A]}, {}, "holds only lora_A.weight of the layer"),
    "no A": ({B: OURS[B]}, {}, "holds only lora_B.weight of the layer"),
    "a wrong width": (OURS | {A: torch.ones(RANK, 5)}, {}, "does not fit the unet .*size mismatch"),
    "not finite": (NOT_FINITE, {}, "does not fit the unet .*NaN"),
    "kohya's DoRA": (OURS | {f"{KOHYA}.dora_scale": torch.ones(8)}, {}, "kohya's DoRA, which diffusers does not read"),
    "peft without settings": (PEFT, {}, "is of peft, whose adapter_config.json is not beside it"),
    "alpha twice": (OURS | {f"unet.{LAYER}.alpha": torch.tensor(1.0)}, {"config": {}}, "says alpha twice"),
    "an unknown type": (PEFT, {"config": {"peft_type": "NOTHING"}}, "peft cannot read .*adapter_config.json"),
    "settings of more layers": (PEFT, {"config": {"target_modules": ["to_q"]}}, "no weights for .*lora_A.weight"),
    "settings of another rank": (PEFT, {"config": {"r": 2, "target_modules": [LAYER]}}, "size mismatch"),
    "settings of another layer": (PEFT, {"config": {"target_modules": ["conv_in"]}}, "no (weights|place) for"),
    "an unknown option": (OURS, {"header": {"unet.r": 4, "unet.rank_of": 1}}, "peft cannot read the header"),
}


@pytest.mark.parametrize(("tensors", "settings", "message"), FAULTS.values(), ids=FAULTS)
def test_what_is_no_whole_adapter_is_refused_in_one_line(pipeline, tmp_path, tensors, settings, message):
    path = written(tmp_path, tensors, **settings)
    with pytest.raises(ValueError, match=message) as error:
        merge_lora(pipeline, path)
    assert "\n" not in str(error.value)


def test_an_adapter_of_a_text_encoder_that_diffusers_does_not_load_is_refused(base, tmp_path):
    with pytest.raises(ValueError, match="changes the text_encoder .*for SD alone"):
        merge_lora(load_pipeline(base / "dit"), written(tmp_path, pair(f"text_encoder.{TEXT}")))


def test_settings_that_are_no_json_are_refused_by_the_name_of_their_file(pipeline, tmp_path):
    path = written(tmp_path, PEFT)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(ValueError, match="adapter_config.json") as error:
        merge_lora(pipeline, path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["empty", "unknown layer", "a wrong width", "settings of more layers"])
def test_shapes_alone_are_enough_to_refuse_an_adapter(base, tmp_path, name):
    tensors, settings, message = FAULTS[name]
    with pytest.raises(ValueError, match=message):
        merge_lora(load_pipeline(base / "sd", shapes_only=True), written(tmp_path, tensors, **settings))


def test_shapes_alone_are_enough_to_accept_one(base, tmp_path):
    assert merge_lora(load_pipeline(base / "sd", shapes_only=True), written(tmp_path, OURS)) == 1
