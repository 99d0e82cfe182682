"""What the environment of a shell, a cluster or a container may not decide for a stage.

Nothing heavy is imported here: the scripts ask before they import anything else.
"""

import os
import re
import site
import sys
from pathlib import Path

PLACES = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")  # of a process in a launch
COARSE = (  # with these float32 products are computed in TF32 or bfloat16, without a word
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PERSONAL = ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONOPTIMIZE")  # for a shell of one's own, or to strip what is run
PACKAGES = (  # those that another folder of PYTHONPATH could replace unnoticed
    "torch", "numpy", "scipy", "pandas", "pyarrow", "safetensors", "diffusers", "transformers", "accelerate",
    "huggingface_hub", "pydantic", "ruamel", "papermill", "nbclient", "nbformat", "ipykernel", "jupyter_client", "dvc",
    "dvclive",
)  # fmt: skip


NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


def ignore_foreign_packages() -> list[str]:
    """Keep folders of the environment that hold packages of ours out of this process and those it starts.

    Such are ``PYTHONPATH``, as modules of a cluster set it, and packages of the user outside any environment. Returns a
    line for each.
    """
    own = [Path(folder) for folder in site.getsitepackages()]
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    lines = []
    for folder in dict.fromkeys([*named, site.getusersitepackages()]):
        found = next(
            (name for name in PACKAGES if any((at / name).exists() for at in own) and _holds(folder, name)), ""
        )
        if not found or Path(folder) in own or folder not in sys.path + named:
            continue
        sys.path[:] = [entry for entry in sys.path if entry != folder]
        named = [entry for entry in named if entry != folder]
        os.environ["PYTHONPATH"] = os.pathsep.join(named)
        os.environ["PYTHONNOUSERSITE"] = "1"
        lines.append(f"ignored: {folder} (PYTHONPATH or user's packages), whose {found} is not this environment's")
    return lines


def _holds(folder: str, name: str) -> bool:
    return Path(folder, name).is_dir() or Path(folder, f"{name}.py").is_file()


def ignore_coarse_products() -> list[str]:
    """Unset what makes float32 products coarser than float32; a line for each variable that was set."""
    return _unset(COARSE, "products of float32 stay float32")


def ignore_places_in_a_launch() -> list[str]:
    """Unset this process's place among several, which pods and launchers leave behind; a line where there was one.

    A stage is one process: with such a place it would wait for the others for ever.
    """
    return _unset(PLACES, "a stage is one process; several are started by: accelerate launch pipelines/parallel.py")


def _unset(names: tuple[str, ...], why: str) -> list[str]:
    found = {name: os.environ.pop(name) for name in names if name in os.environ}
    settings = " ".join(f"{name}={value}" for name, value in found.items())
    return [f"ignored: {settings}; {why}"] if found else []


def check_threads() -> None:
    """Raise ValueError, in one line, for a number of threads that is none, which libraries ignore each in its way."""
    for name in THREADS:
        value = os.environ.get(name, "1").strip()
        if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", value):
            raise ValueError(f"{name}={value} is no number of threads; set a whole number of at least 1, or unset it")


def prepare_environment(*, alone: bool) -> None:
    """Let neither shell nor cluster decide what this process and those it starts compute; ``alone``: no launch.

    What is ignored is told on stderr, a line each. Raises ValueError as :func:`check_threads`.
    """
    for name in PERSONAL:
        os.environ.pop(name, None)
    os.environ["PYTHONUTF8"] = "1"  # of processes to come: a locale may say otherwise
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # the locale may lack a letter
    for line in [*ignore_coarse_products(), *(ignore_places_in_a_launch() if alone else [])]:
        print(line, file=sys.stderr)
    check_threads()


def stage_environment() -> dict[str, str]:
    """This process's environment with its interpreter's folder first on the PATH, and with compiled modules kept."""
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    others = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    return others | {"PATH": os.pathsep.join(path)}


def keep_bytecode_in_environment() -> None:
    """Let this process and those it starts write compiled modules, whatever the environment says.

    Container images often forbid it; then every stage compiles torch and the rest anew, which doubles its time.
    """
    os.environ.pop(NO_BYTECODE, None)
    sys.dont_write_bytecode = False
