"""What accelerate's environment asks for, and what of it holds here: devices and processes, and nothing else."""

import os

YES, NO = {"1", "true", "yes", "y", "t", "on"}, {"0", "false", "no", "n", "f", "off"}
REFUSED = {  # by variable: what accelerate would do
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor or context parallelism",
    "ACCELERATE_USE_SAGEMAKER": "SageMaker",
}
IGNORED = {  # by variable: the values that ask for nothing, and what decides instead
    "ACCELERATE_MIXED_PRECISION": ({"no"}, "student.dtype decides"),
    "ACCELERATE_DYNAMO_BACKEND": ({"no"}, "student.compile decides"),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ({"1"}, "student.accumulate decides"),
    "ACCELERATE_TORCH_DEVICE": (set(), "the recipe's device decides"),
    "ACCELERATE_DOWNCAST_BF16": ({"no", "false", "0"}, "student.dtype decides"),
}


def check_launcher() -> None:
    """Raise ValueError, in one line, where accelerate is told to train in a way that this project does not."""
    for name, what in REFUSED.items():
        if os.environ.get(name, "").lower() in YES:
            do = "unset it or launch without; student.shard: true shards weights over processes"
            raise ValueError(f"{name}={os.environ[name]} asks accelerate for {what}, which is not used here: {do}")
    flag = os.environ.get("ACCELERATE_USE_CPU", "").lower()
    if flag and flag not in YES | NO:
        raise ValueError(f"ACCELERATE_USE_CPU={flag} is neither true nor false; unset it")


def ignore_launch_settings() -> list[str]:
    """Unset what the recipe decides; a line for each variable that asked for something."""
    lines = []
    for name, (nothing, decides) in IGNORED.items():
        value = os.environ.pop(name, "")
        if value and value.lower() not in nothing:
            lines.append(f"ignored: {name}={value}; {decides}")
    return lines
