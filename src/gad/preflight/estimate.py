"""What a recipe will need, from its numbers alone: disk of its pairs and students, memory of its networks."""

from gad.config import Recipe
from gad.preflight.architectures import Architecture, count_architecture_parameters

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def estimate_disk_bytes(settings: Recipe, architecture: Architecture, num_variants: int = 2) -> dict[str, int]:
    """Bytes on disk by what they are for; students of ``num_variants`` variants."""
    pairs, student, config = settings.noise_pairs, settings.student, architecture.config
    latent = config["in_channels"] * config["sample_size"] ** 2
    trajectories = pairs.num_pairs * (1 + 2 * pairs.directions_per_noise)
    network = 4 * count_architecture_parameters(architecture)
    embeds = pairs.num_pairs * architecture.tokens * architecture.width * BYTES[student.dtype]
    copies = num_variants * len(student.seeds)
    return {
        "noise pairs": 4 * trajectories * (pairs.student_steps + 1) * latent,
        "prompt embeddings": embeds,
        "students": copies * (network + 4 * architecture.text_parameters),  # each a whole pipeline, float32
        "checkpoint": network * (8 if student.paradigm in ("tdm", "sid") else 4),
    }


def estimate_memory_bytes(settings: Recipe, architecture: Architecture) -> dict[str, int]:
    """Bytes on the device by network while a student trains, without activations.

    Weights that learn: float32, with gradient and AdamW's two moments (a byte each in 8 bits), the student's moving
    average besides; the teacher's weights are in the recipe's dtype.
    """
    student = settings.student
    count = count_architecture_parameters(architecture, depth=settings.dry_run_depth)
    learning = count * (8 + (2 if student.optimizer == "adamw_8bit" else 8))
    needs = {"student": learning + 4 * count}
    if student.paradigm != "matching":
        needs["teacher"] = count * BYTES[student.dtype]
    if student.paradigm in ("tdm", "sid"):
        needs["fake score"] = learning
    return needs


def estimate_host_bytes(settings: Recipe, architecture: Architecture, processes: int = 1) -> int:
    """Bytes of RAM that training takes at most beside what lies on the GPU, float32.

    Each of a machine's ``processes`` reads the teacher's pipeline and starts a student; then either one of them encodes
    all prompts, or all read a checkpoint.
    """
    count, disk = count_architecture_parameters(architecture), estimate_disk_bytes(settings, architecture)
    each = 4 * (2 * count + architecture.text_parameters)
    return processes * each + max(disk["prompt embeddings"], processes * disk["checkpoint"])
