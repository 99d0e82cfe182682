"""The teacher stage: a point set, a pointer to a pretrained pipeline, or a trained emoji teacher."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from gad.config.teacher import TeacherConfig
from gad.data.emoji.backbones import build_backbone
from gad.data.emoji.latents import latent_set, latent_set_tokens, latent_training_batches
from gad.data.emoji.t5_pretraining import pretrain_t5
from gad.data.emoji.teacher_training import train_teacher
from gad.data.swiss_roll import make_swiss_roll
from gad.models.pipelines import FAMILIES, save_diffusers_pipeline
from gad.runtime.files import read_tensors, write_json, write_tensors
from gad.runtime.fingerprint import fingerprint
from gad.runtime.folder_lock import lock_folder
from gad.runtime.paths import ROOT

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline

READING_STEPS = 1000  # for T5, see ``t5_pretraining.py``


def make_teacher(section: TeacherConfig, folder: Path, vae_folder: Path) -> Iterator[dict]:
    """Write the teacher that the recipe's ``teacher`` section names; yields step and loss while one is trained."""
    if section.pretrained is not None:
        _write_pointer(section.pretrained, folder, section.revision)
    elif section.dataset == "swiss_roll":
        write_tensors(folder / "points.safetensors", {"points": make_swiss_roll(section.num_points, section.seed)})
    else:
        yield from _train_emoji_teacher(section, folder, vae_folder)


def _write_pointer(source: str, folder: Path, revision: str | None = None) -> None:
    """Name a pretrained pipeline and pin a local one by its hash. Raises ValueError for a class gad cannot use.

    ``source`` is a folder, absolute or seen from the project's root, or a name on the hub.
    """
    from diffusers import DiffusionPipeline  # here, since it takes seconds

    path = ROOT / source
    try:
        options = {} if path.is_dir() or not revision else {"revision": revision}
        name = DiffusionPipeline.load_config(path if path.is_dir() else source, **options)["_class_name"]
    except OSError as error:
        fetch = "make doctor RECIPE=... names the command that fetches it"
        raise ValueError(f"there is no diffusers pipeline at {source}, here or on a hub in reach: {fetch}") from error
    if name not in FAMILIES:
        raise ValueError(f"{name} is not a pipeline class that gad can use; it can use {', '.join(FAMILIES)}")
    pointer = {"source": source, "hash": fingerprint(path) if path.is_dir() else None}
    write_json(folder / "teacher.json", pointer | ({"revision": revision} if revision else {}))


def _train_emoji_teacher(section: TeacherConfig, folder: Path, vae_folder: Path) -> Iterator[dict]:
    """Train a teacher on emoji scenes and save it as a diffusers folder in float16; yields step and loss.

    A killed training goes on from its last checkpoint, in ``unfinished_teacher`` beside ``folder``.
    """
    from diffusers import AutoencoderKL  # here, since it takes seconds

    work = folder.parent / "unfinished_teacher"
    lock_folder(work, fingerprint(section.model_dump(), vae_folder))
    vae = AutoencoderKL.from_pretrained(vae_folder).eval().requires_grad_(False)
    pipeline = build_backbone(section.backbone, vae, seed=section.seed)
    latents = work / "latents.safetensors"
    if not latents.exists():
        write_tensors(latents, {"latents": latent_set(vae, section.num_scenes)})
    batch, empty = latent_training_batches(pipeline, read_tensors(latents)["latents"], section.batch_size)
    if section.backbone == "dit":
        captions = latent_set_tokens(pipeline, section.num_scenes)
        for _ in pretrain_t5(pipeline.text_encoder, *captions, num_steps=READING_STEPS, seed=section.seed):
            pass  # 50 seconds
    steps, lr, seed = section.num_steps, section.lr, section.seed
    yield from train_teacher(
        pipeline, batch, empty, num_steps=steps, lr=lr, seed=seed, checkpoint=work / "checkpoint.pt"
    )
    _save_half(pipeline, folder)
    shutil.rmtree(work)


def _save_half(pipeline: "DiffusionPipeline", folder: Path) -> None:
    """Save a pipeline in float16 (the pipeline itself is changed too); the folder appears whole or not at all."""
    for module in pipeline.components.values():
        if isinstance(module, nn.Module):
            module.half()
    save_diffusers_pipeline(pipeline, folder)
