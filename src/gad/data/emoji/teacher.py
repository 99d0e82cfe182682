"""The teacher stage: a point set, a pointer to a pretrained pipeline, or a trained emoji teacher."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from gad.config.teacher import TeacherConfig
from gad.data.emoji.backbones import build_backbone
from gad.data.emoji.caption_split import training_split_captions
from gad.data.emoji.latents import latent_set, latent_set_tokens, latent_training_batches
from gad.data.emoji.t5_pretraining import pretrain_t5
from gad.data.emoji.teacher_training import train_teacher
from gad.data.swiss_roll import make_swiss_roll
from gad.models.pipeline_loading import check_teacher_pipeline, load_pipeline_index
from gad.models.saved_folders import save_diffusers_pipeline
from gad.models.weights import load_whole_weights
from gad.runtime.atomic import remove_folder
from gad.runtime.files import read_tensors, write_json, write_tensors
from gad.runtime.fingerprint import fingerprint
from gad.runtime.folder_lock import lock_folder
from gad.runtime.paths import project_path

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline

READING_STEPS = 1000  # for T5, see ``t5_pretraining.py``


def make_teacher(section: TeacherConfig, folder: Path, vae_folder: Path) -> Iterator[dict]:
    """Write the teacher that the recipe's ``teacher`` section names; yields step and loss while one is trained."""
    if section.pretrained is not None:
        _write_pointer(section.pretrained, folder, section.revision, section.latent_side)
    elif section.dataset == "swiss_roll":
        write_tensors(folder / "points.safetensors", {"points": make_swiss_roll(section.num_points, section.seed)})
    else:
        yield from _train_emoji_teacher(section, folder, vae_folder)


def _write_pointer(source: str, folder: Path, revision: str | None = None, latent_side: int | None = None) -> None:
    """Name a pretrained pipeline and pin a local one by its hash. Raises ValueError, in one line, for a class that
    gad cannot use, and for a local folder that is not whole or makes no latents of that side.

    ``source`` is a folder, absolute or seen from the project's root, or a name on the hub.
    """
    path = project_path(source)
    if path.is_dir():
        check_teacher_pipeline(path, side=latent_side)
    else:
        load_pipeline_index(source, revision=revision)
    pointer = {"source": source, "hash": fingerprint(path) if path.is_dir() else None}
    said = {"revision": revision, "latent_side": latent_side}
    write_json(folder / "teacher.json", pointer | {name: value for name, value in said.items() if value})


def _train_emoji_teacher(section: TeacherConfig, folder: Path, vae_folder: Path) -> Iterator[dict]:
    """Train a teacher on emoji scenes and save it as a diffusers folder in float16; yields step and loss.

    A killed training goes on from its last checkpoint, in ``unfinished_teacher`` beside ``folder``.
    """
    from diffusers import AutoencoderKL  # here, since it takes seconds

    work = folder.parent / "unfinished_teacher"
    lock_folder(work, fingerprint(section.model_dump(), vae_folder))
    vae = load_whole_weights(AutoencoderKL, vae_folder).eval().requires_grad_(False)
    pipeline = build_backbone(section.backbone, vae, seed=section.seed)
    latents, accept = work / "latents.safetensors", training_split_captions(section.captions)
    if not latents.exists():
        write_tensors(latents, {"latents": latent_set(vae, section.num_scenes, accept=accept)})
    stored = read_tensors(latents)["latents"]
    batch, empty = latent_training_batches(pipeline, stored, section.batch_size, accept=accept)
    if section.backbone == "dit":
        captions = latent_set_tokens(pipeline, section.num_scenes, accept=accept)
        for _ in pretrain_t5(pipeline.text_encoder, *captions, num_steps=READING_STEPS, seed=section.seed):
            pass  # 50 seconds
    steps, lr, seed = section.num_steps, section.lr, section.seed
    yield from train_teacher(
        pipeline, batch, empty, num_steps=steps, lr=lr, seed=seed, checkpoint=work / "checkpoint.pt"
    )
    _save_half(pipeline, folder)
    remove_folder(work, keep_link=True)


def _save_half(pipeline: "DiffusionPipeline", folder: Path) -> None:
    """Save a pipeline in float16 (the pipeline itself is changed too); the folder appears whole or not at all."""
    for module in pipeline.components.values():
        if isinstance(module, nn.Module):
            module.half()
    save_diffusers_pipeline(pipeline, folder)
