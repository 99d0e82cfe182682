"""Encoded captions of the noise pairs: made once, cached on disk where a recipe has its own prompts, memory-mapped."""

from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from gad.data.noise_pairs import NoisePairs
from gad.data.prompts import prompt_of
from gad.diffusion.conditioning import Conditioning
from gad.models.model import Model
from gad.runtime.devices import own_device
from gad.runtime.distributed import distributed_wait_until, rank_and_world_size
from gad.runtime.files import read_tensors, write_tensors
from gad.runtime.fingerprint import fingerprint

ENCODED = 256  # prompts that are encoded at once before they are cast


def encode_pair_prompts(
    teacher: Model, pairs: NoisePairs, *, cache: Path | None = None, dtype: str = "float32", device: str = "cpu"
) -> Conditioning | None:
    """The encoded captions of all sample ids, in order.

    With a ``cache`` folder those of a recipe with its own prompts are encoded once, in ``dtype``, and read from there
    afterwards, memory-mapped; it holds the latest ones alone. The text encoder is on the device only while it works.
    """
    prompts = prompt_of(range(len(pairs)), pairs.config.prompt_source)
    if cache is None or pairs.config.prompts is None:
        return teacher.condition(prompts)
    parts = [field.name for field in fields(Conditioning)]  # files of an older form are not read
    path = cache / f"{fingerprint(pairs.fingerprint, dtype, prompts, parts)}.safetensors"
    if rank_and_world_size()[0] == 0 and not path.exists():
        with teacher.text_encoder_on(own_device(device)):
            whole = _encode(teacher, prompts, getattr(torch, dtype))
        for old in cache.glob("*.safetensors"):  # of other pairs or another dtype: they are as large
            old.unlink()
        write_tensors(path, whole.tensors)
        del whole  # it is read back from the file
    distributed_wait_until(path.exists)
    return Conditioning(**read_tensors(path))


def _encode(teacher: Model, prompts: list[str], dtype: torch.dtype) -> Conditioning:
    """All of them in ``dtype``, some at a time into one tensor: it may be as large as the memory allows."""
    whole: dict[str, Tensor] = {}
    for start in range(0, len(prompts), ENCODED):
        part = teacher.condition(prompts[start : start + ENCODED])
        assert part is not None, "prompts are read by pipelines alone"
        for name, tensor in part.embeds_in(dtype).tensors.items():
            if start == 0:
                whole[name] = tensor.new_empty(len(prompts), *tensor.shape[1:])
            whole[name][start : start + len(part)] = tensor
    return Conditioning(**whole)
