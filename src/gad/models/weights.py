"""Networks by their own libraries, refused unless all of their weights are there and used.

diffusers and transformers load what they find: a weight that is missing is drawn at random, one that fits nowhere is
left out. Both report it (``output_loading_info``), and it is an error here.
"""

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import safe_open
from torch import nn

from gad.runtime.files import read_json

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import ModelMixin
    from transformers import PreTrainedModel

    Network = TypeVar("Network", bound=ModelMixin | PreTrainedModel)

LIBRARIES = ("diffusers", "transformers")
NOT_SHOWN = {  # messages of the libraries, and why each is not shown
    r"LOAD REPORT": "said in one line by weights_fault",
    r"not (initialized from|used when initializing)": "said in one line by weights_fault",
    r"kept in float32: \[\]": "the list is empty",
    r"encoder_block_out_channels.*passed to AutoencoderKL": "SanaPipeline reads its factor there",
    r"(vae|AutoencoderKL).*AutoencoderDC": "a SanaPipeline works with an AutoencoderKL, which has the same methods",
}
MISMATCH = re.compile(r"^(\S+) +\| MISMATCH", re.M)  # in transformers' report, which alone names the key
NAMED = 3  # keys that a message names; the others are counted
WRAPPERS = {  # prefixes of all keys, by what the network was wrapped in when it was saved
    "_orig_mod.": ("torch.compile", "network._orig_mod"),
    "module.": ("DistributedDataParallel", "network.module"),
    "_fsdp_wrapped_module.": ("FSDP", "the network under summon_full_params"),
}


class WeightsError(ValueError):
    """Weights that are not those of the network, in one line."""


def weights_fault(
    kind: str, missing: Collection[str], unexpected: Collection[str], mismatched: Collection[str] = ()
) -> str | None:
    """What is wrong with a network's weights, in one line that names the first keys; None where nothing is."""
    for prefix, (wrapper, inner) in WRAPPERS.items():
        if unexpected and all(key.startswith(prefix) for key in unexpected):
            return f"the keys of its weights begin with {prefix} (saved through {wrapper}); save {inner} instead"
    found = {"lack": missing, f"hold what {kind} has not:": unexpected, "have another shape in": mismatched}
    told = [f"{words} {_first(keys)}" for words, keys in found.items() if keys]
    return f"its weights {', and '.join(told)}; fetch or save it again" if told else None


def _first(keys: Collection[str]) -> str:
    named = sorted(keys)[:NAMED]
    return ", ".join(named) + (f" and {len(keys) - NAMED} more" if len(keys) > NAMED else "")


@contextmanager
def weights_library_messages() -> Iterator[list[str]]:
    """All that diffusers and transformers log in the block. It is shown, but for what ``NOT_SHOWN`` has a reason for.

    Bars are off: a pipeline has seven parts, and each would draw one.
    """
    import diffusers  # here, since it takes seconds
    import transformers

    heard: list[str] = []
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]

    def shown(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        heard.append(message)
        asked = record.levelno >= levels[LIBRARIES.index(record.name.partition(".")[0])]
        return asked and not any(re.search(pattern, message) for pattern in NOT_SHOWN)

    handlers = [handler for logger in loggers for handler in logger.handlers]
    bars = (diffusers.utils.logging, transformers.utils.logging)
    drawn = [library.is_progress_bar_enabled() for library in bars]
    try:
        for logger, library in zip(loggers, bars, strict=True):
            logger.setLevel(min(logger.level, logging.WARNING))  # to hear it, whatever is shown
            library.disable_progress_bar()
        for handler in handlers:
            handler.addFilter(shown)
        yield heard
    finally:
        for handler in handlers:
            handler.removeFilter(shown)
        for logger, level, library, on in zip(loggers, levels, bars, drawn, strict=True):
            logger.setLevel(level)
            if on:
                library.enable_progress_bar()


def one_line(error: Exception) -> str:
    """An error's first line, or its class where it says nothing; at most 300 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def load_whole_weights(
    kind: "type[Network]",
    source: str | Path,
    *,
    fresh: Collection[str] = (),
    lacking: set[str] | None = None,
    unused: bool = False,
    shapes_only: bool = False,
    **options: Any,
) -> "Network":
    """A network as ``kind.from_pretrained(source, **options)`` loads it, in float32 unless ``options`` say other.

    ``fresh`` are modules that may be missing, since they are trained or left out here; what is missing of them is added
    to ``lacking``. ``unused`` allows weights of modules that the network has not, such as the head of another task.
    ``shapes_only`` puts the network on the device "meta": the same checks, but no weight is read. Raises WeightsError,
    in one line, for weights that are not whole, and what the library raises for files that are missing.
    """
    from diffusers import ModelMixin  # here, since it takes seconds

    where = {"device_map": {"": "meta"} if issubclass(kind, ModelMixin) else "meta"} if shapes_only else {}
    with weights_library_messages() as heard:
        try:
            network, info = kind.from_pretrained(
                str(source), output_loading_info=True, **{"dtype": torch.float32} | options | where
            )
        except RuntimeError as error:
            fault = weights_fault(kind.__name__, (), (), MISMATCH.findall("\n".join(heard)))
            raise WeightsError(fault or one_line(error)) from error
    absent = {key for key in info["missing_keys"] if key.partition(".")[0] in fresh}
    missing = [key for key in info["missing_keys"] if key not in absent]
    missing += _lost_in_shards(Path(source) / (options.get("subfolder") or ""))
    if lacking is not None:
        lacking |= absent
    own = {name for name, _ in network.named_children()} | {prefix.removesuffix(".") for prefix in WRAPPERS}
    unexpected = [key for key in info["unexpected_keys"] if not unused or key.partition(".")[0] in own]
    mismatched = [str(entry[0] if isinstance(entry, tuple) else entry) for entry in info["mismatched_keys"]]
    fault = weights_fault(type(network).__name__, missing, unexpected, mismatched)
    if fault or info["error_msgs"]:
        raise WeightsError(fault or one_line(RuntimeError(info["error_msgs"][0])))
    return network


def _lost_in_shards(folder: Path) -> list[str]:
    """Keys that an index of shards names and no shard holds: diffusers believes the index."""
    lost: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        if (folder / index.name.removesuffix(".index.json")).is_file():  # whole beside it: which is read differs
            continue
        places: dict[str, str] = read_json(index)["weight_map"]
        for shard in {*places.values()}:
            with safe_open(folder / shard, framework="pt") as file:
                lost |= {key for key, place in places.items() if place == shard} - {*file.keys()}
    return sorted(lost)


def load_weights_whole(network: nn.Module, state: object) -> None:
    """Put weights by name into ``network``, in its own dtype. Raises WeightsError, in one line, unless all fit.

    A network on the device "meta" is only compared with them.
    """
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(
            f"a file of weights holds tensors by their names, this one a {type(state).__name__} of others"
        )
    own = network.state_dict()
    missing, unexpected = own.keys() - state.keys(), state.keys() - own.keys()
    mismatched = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    fault = weights_fault(type(network).__name__, missing, unexpected, mismatched)
    if fault:
        raise WeightsError(fault)
    if not any(tensor.is_meta for tensor in own.values()):
        network.load_state_dict(state)
