"""LoRA students on the disk: a folder of the adapter alone, as stock diffusers reads it, and its scheduler beside it.

Where diffusers' pipeline class reads adapters the folder is its own (``pipe.load_lora_weights(folder)``); for PixArt,
whose class does not, it is peft's (``PeftModel.from_pretrained(pipe.transformer, folder)``).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from gad.diffusion.denoiser import NetworkDenoiser
from gad.models.adapter import NAME, adapter_settings, student_with_adapter
from gad.models.lora_files import CONFIG, PEFT, read_lora_files
from gad.models.pipelines import pipeline_family, pipeline_network
from gad.models.saved_folders import make_saved_folder_portable
from gad.models.weights import one_line
from gad.runtime.atomic import atomic_write_path
from gad.runtime.files import write_json, write_tensors

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, SchedulerMixin

DIFFUSERS, OF_PEFT = "pytorch_lora_weights.safetensors", "adapter_model.safetensors"
SCHEDULER = "scheduler"  # folder of the scheduler that walks the student's times


def lora_student_file(folder: Path) -> Path | None:
    """The weights in a LoRA student's folder; None for a folder of another kind."""
    return next((folder / name for name in (DIFFUSERS, OF_PEFT) if (folder / name).is_file()), None)


def reads_adapters(pipeline: "DiffusionPipeline") -> bool:
    """Whether a pipeline's class has ``load_lora_weights``."""
    return hasattr(pipeline, "load_lora_weights")


def save_lora_student(
    student: NetworkDenoiser, pipeline: "DiffusionPipeline", scheduler: "SchedulerMixin", folder: Path
) -> None:
    """Write the adapter of a student of ``pipeline``'s network, and ``scheduler``; whole or not at all."""
    from peft import get_peft_model_state_dict  # here, since it takes seconds

    name = pipeline_family(pipeline).network
    settings = adapter_settings(student.network).to_dict()
    settings = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
    settings |= {"inference_mode": True}
    weights = get_peft_model_state_dict(student.network, adapter_name=NAME)
    weights = {key: weights[key].cpu().contiguous() for key in sorted(weights)}
    with atomic_write_path(folder) as partial:
        if reads_adapters(pipeline):
            pipeline.save_lora_weights(
                partial, **{f"{name}_lora_layers": weights}, save_function=_writer(name, settings)
            )
        else:
            partial.mkdir()
            write_tensors(partial / OF_PEFT, {PEFT + key: value for key, value in weights.items()})
            write_json(partial / CONFIG, settings, digits=17)
        scheduler.save_pretrained(partial / SCHEDULER)
        make_saved_folder_portable(partial)


def _writer(name: str, settings: dict) -> Callable[[dict[str, Tensor], str], None]:
    """A function that writes weights with the adapter's settings in the file's header, where diffusers looks for them.

    diffusers' own writes a second entry beside them, and the library puts two in any order: other bytes each time.
    """
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY  # here, since it takes seconds
    from safetensors.torch import save_file

    said = json.dumps({f"{name}.{key}": value for key, value in settings.items()}, indent=2, sort_keys=True)
    return lambda weights, path: save_file(weights, path, metadata={LORA_ADAPTER_METADATA_KEY: said})


def lora_student_denoiser(path: Path, base: NetworkDenoiser, pipeline: "DiffusionPipeline") -> NetworkDenoiser:
    """The adapter of a file on the weights of ``base``, the network of ``pipeline``, which it shares.

    Raises ValueError, in one line, for a file that does not fit.
    """
    name = pipeline_family(pipeline).network
    adapter = read_lora_files(path, {name: pipeline_network(pipeline)})[name]
    try:
        return student_with_adapter(base, adapter)
    except (ValueError, RuntimeError) as error:  # torch raises the latter for other shapes
        raise ValueError(f"{path} does not fit the {name}: {one_line(error)}") from error


def lora_student_scheduler(folder: Path, pipeline: "DiffusionPipeline") -> "SchedulerMixin":
    """The scheduler in a LoRA student's folder, of the class that its config names; else the pipeline's own one."""
    from gad.config.schedulers import scheduler_class  # here, since it imports diffusers
    from gad.runtime.files import read_json

    place = folder / SCHEDULER / "scheduler_config.json"
    if not place.is_file():
        return pipeline.scheduler
    return scheduler_class(read_json(place)["_class_name"]).from_pretrained(folder, subfolder=SCHEDULER)
