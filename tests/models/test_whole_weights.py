"""A pipeline whose weights or settings are a little wrong is refused in one line, by its loader and by the doctor."""

import json
import logging
import re
import shutil

import hub_folders
import pytest
import torch
from damage import changed, emptied
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tiny import PROMPTS
from transformers import CLIPImageProcessor

from gad.config import ExternalStudent
from gad.data.emoji.teacher import make_teacher
from gad.models.external_pipeline import external_latent_shape, load_external_pipeline
from gad.models.model import load_model
from gad.models.pipeline_loading import load_pipeline
from gad.preflight.pipeline_folder import faults_of_pipeline

PARTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
FIRST = {"unet": "conv_in.bias", "vae": "decoder.conv_in.bias", "text_encoder": "encoder.layers.0.layer_norm1.bias"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "sd"
    hub_folders.save_teacher("sd21_ladd", folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "sd")


def reweighted(part: str, change):
    """The damage that a part's weights by name are what ``change`` makes of them."""

    def damage(folder):
        path = folder / part / f"{PARTS[part]}.safetensors"
        save_file(change(load_file(path)), path, metadata={"format": "pt"})

    return damage


def configured(part: str, **changes):
    def damage(folder):
        path = folder / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def sharded(part: str, drop: bool = False):
    """The damage that a part lies in two shards; with ``drop`` the index names a key that neither has."""

    def damage(folder):
        place, stem = folder / part, PARTS[part]
        tensors = load_file(place / f"{stem}.safetensors")
        (place / f"{stem}.safetensors").unlink()
        names = sorted(tensors)
        where = {key: f"{stem}-0000{1 + (i % 2)}-of-00002.safetensors" for i, key in enumerate(names)}
        for shard in set(where.values()):
            held = {k: v for k, v in tensors.items() if where[k] == shard and not (drop and k == FIRST[part])}
            save_file(held, place / shard, metadata={"format": "pt"})
        index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": where}
        (place / f"{stem}.safetensors.index.json").write_text(json.dumps(index))

    return damage


def lacking(part: str):
    return reweighted(part, lambda held: {key: value for key, value in held.items() if key != FIRST[part]})


def prefixed(part: str, prefix: str = "_orig_mod."):
    return reweighted(part, lambda held: {prefix + key: value for key, value in held.items()})


def with_more(part: str):
    return reweighted(part, lambda held: held | {"further.weight": torch.ones(2)})


def reshaped(part: str):
    return reweighted(part, lambda held: held | {FIRST[part]: torch.ones(3)})


FAULTS = {}
for part, first in FIRST.items():
    FAULTS |= {
        f"{part} lacks a key": (lacking(part), f"{part}: its weights lack {first};"),
        f"{part} compiled": (prefixed(part), f"{part}: the keys of its weights begin with _orig_mod. .*torch.compile"),
        f"{part} has more": (with_more(part), f"{part}: its weights hold what .* has not: further.weight"),
        f"{part} has another shape": (reshaped(part), f"{part}: .*{first}"),
        f"{part} lacks a key in its shards": (sharded(part, drop=True), f"{part}: .*{first}"),
    }
FAULTS |= {
    "unet through DDP": (prefixed("unet", "module."), "begin with module. .*DistributedDataParallel.*network.module"),
    "unet wants class labels": (configured("unet", num_class_embeds=3), "unet: its weights lack class_embedding"),
    "inpainting": (configured("vae", latent_channels=3), "vae: "),
    "not square": (configured("unet", sample_size=[8, 12]), r"sample_size: \[8, 12\]; gad needs one number"),
    "no size": (configured("unet", sample_size=None), "sample_size: None; gad needs one number"),
    "no words": (emptied("tokenizer"), "the tokenizer has no words|tokenizer/ has no"),
    "no such class": (changed(vae=["diffusers", "NoVae"]), "`diffusers` has no class `NoVae`"),
    "no such library": (changed(vae=["nolibrary", "NoVae"]), "No module named 'nolibrary'|vae/ has neither"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), FAULTS.values(), ids=FAULTS)
def test_loader_and_doctor_refuse_what_is_not_whole_in_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    (fault,) = faults_of_pipeline(folder)
    assert re.search(message, fault[0]) and "\n" not in fault[0] and fault[1]


@pytest.mark.parametrize("name", ["unet lacks a key", "text_encoder compiled", "not square"])
def test_the_teacher_stage_and_an_external_student_refuse_the_same(folder, tmp_path, name, smoke):
    damage, message = FAULTS[name]
    damage(folder)
    section = smoke.teacher.model_copy(update={"dataset": "prompts", "pretrained": str(folder)})
    with pytest.raises(ValueError, match=message):
        list(make_teacher(section, tmp_path / "teacher", tmp_path / "no_vae"))
    assert not (tmp_path / "teacher").exists()
    student = ExternalStudent(name="mine", source=str(folder), num_steps=4)
    with pytest.raises(ValueError, match=f"^mine: .*{message}") as error:
        external_latent_shape(load_external_pipeline(student), student)
    assert "\n" not in str(error.value)


def test_weights_in_shards_load(folder, whole):
    for part in PARTS:
        sharded(part)(folder)
    one, other = load_pipeline(folder), load_pipeline(whole)
    assert torch.equal(one.unet.conv_in.weight, other.unet.conv_in.weight)
    assert list(faults_of_pipeline(folder)) == []


def test_a_square_list_is_one_number(folder, whole):
    configured("unet", sample_size=[8, 8])(folder)
    model, plain = load_model(folder), load_model(whole)
    assert model.latent_shape == plain.latent_shape == (4, 8, 8)
    assert torch.equal(model.condition(PROMPTS).prompt_embeds, plain.condition(PROMPTS).prompt_embeds)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_cond_proj_dim": 8}, r"wants its guidance as an embedding \(time_cond_proj_dim: 8\)"),
        ({"num_class_embeds": 3}, r"wants class labels \(num_class_embeds: 3\)"),
        ({"in_channels": 9}, r"wants further channels \(in_channels: 9, the autoencoder's latents have 4\)"),
    ],
)
def test_a_network_that_reads_more_than_prompts_is_refused_as_teacher_and_as_student(folder, changes, message):
    config = json.loads((folder / "unet" / "config.json").read_text())
    UNet2DConditionModel.from_config(config | changes).save_pretrained(folder / "unet")
    student = ExternalStudent(name="mine", source=str(folder), num_steps=4)
    for load in (lambda: load_model(folder), lambda: load_external_pipeline(student)):
        with pytest.raises(ValueError, match=message) as error:
            load()
        assert "\n" not in str(error.value)
    ((what, _),) = faults_of_pipeline(folder)
    assert re.search(message, what)


def test_an_old_name_that_the_loader_knows_is_no_fault(folder):
    CLIPImageProcessor().save_pretrained(folder / "feature_extractor")
    changed(feature_extractor=["transformers", "CLIPFeatureExtractor"])(folder)
    assert load_pipeline(folder).feature_extractor is not None and list(faults_of_pipeline(folder)) == []


def test_what_the_libraries_say_is_shown_unless_a_reason_is_named(folder):
    changed(another_part=["diffusers", "DDIMScheduler"])(folder)
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("diffusers").addHandler(handler)
    try:
        load_pipeline(folder, shapes_only=True)
    finally:
        logging.getLogger("diffusers").removeHandler(handler)
    assert any("another_part" in record for record in records)
