"""What a recipe will need, from its numbers alone: disk of its pairs and students, memory of its networks."""

from gad.config import Recipe, StudentConfig
from gad.preflight.architectures import Architecture, count_architecture_adapter, count_architecture_parameters

GPUS = (24, 48, 80)  # GB of common cards
RESERVE = 1.5e9  # bytes of a card that CUDA itself and the gaps between tensors take
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def estimate_disk_bytes(settings: Recipe, architecture: Architecture, num_variants: int = 2) -> dict[str, int]:
    """Bytes on disk by what they are for; students of ``num_variants`` variants."""
    pairs, student = settings.noise_pairs, settings.student
    side = settings.teacher.latent_side or architecture.side
    latent = architecture.family.latent_channels(architecture.config) * side**2
    trajectories = pairs.num_pairs * (1 + 2 * pairs.directions_per_noise)
    network = 4 * count_architecture_parameters(architecture)
    width = architecture.tokens * architecture.width + (architecture.pooled or 0)
    embeds = pairs.num_pairs * width * BYTES[student.dtype]
    copies = num_variants * len(student.seeds)
    learning, whole = network, network + 4 * architecture.text_parameters  # a whole pipeline, float32
    if student.lora is not None:
        learning = whole = 4 * count_architecture_adapter(architecture, student.lora)
    return {
        "noise pairs": 4 * trajectories * (pairs.student_steps + 1) * latent,
        "prompt embeddings": embeds,
        "students": copies * whole,
        "checkpoint": learning * (8 if student.paradigm in ("tdm", "dmd2", "sid") else 4),
    }


def training_memory_bytes(parameters: int, student: StudentConfig, adapter: int | None = None) -> dict[str, int]:
    """Bytes on the device by network while a student of so many ``parameters`` trains, without activations.

    Weights that learn: float32, with gradient and AdamW's two moments (a byte each in 8 bits), the student's moving
    average besides; the teacher's weights are in the recipe's dtype. With ``adapter``, the parameters of a LoRA, the
    base is there once, in that dtype and for all networks, and the adapters alone learn.
    """
    count = parameters if adapter is None else adapter
    learning = count * (8 + (2 if student.optimizer == "adamw_8bit" else 8))
    names = ("student", "fake score") if adapter is None else ("student's adapter", "fake score's adapter")
    needs = {} if adapter is None else {"shared base": parameters * BYTES[student.dtype]}
    needs[names[0]] = learning + 4 * count
    if student.paradigm != "matching" and adapter is None:
        needs["teacher"] = parameters * BYTES[student.dtype]
    if student.paradigm in ("tdm", "dmd2", "sid"):
        needs[names[1]] = learning
    return needs


def estimate_memory_bytes(settings: Recipe, architecture: Architecture) -> dict[str, int]:
    """:func:`training_memory_bytes` of a recipe's student of a published network."""
    depth, lora = settings.dry_run_depth, settings.student.lora
    adapter = None if lora is None else count_architecture_adapter(architecture, lora, depth=depth)
    return training_memory_bytes(count_architecture_parameters(architecture, depth=depth), settings.student, adapter)


def estimate_host_bytes(settings: Recipe, architecture: Architecture, processes: int = 1) -> int:
    """Bytes of RAM that training takes at most beside what lies on the GPU, float32.

    Each of a machine's ``processes`` reads the teacher's pipeline and starts a student, a copy of its network unless
    that is an adapter in float32; then either one of them encodes all prompts, or all read a checkpoint.
    """
    count, disk = count_architecture_parameters(architecture), estimate_disk_bytes(settings, architecture)
    shared = settings.student.lora is not None and settings.student.dtype == "float32"
    each = 4 * ((1 if shared else 2) * count + architecture.text_parameters)
    return processes * each + max(disk["prompt embeddings"], processes * disk["checkpoint"])


def smallest_gpu(needed: int | float) -> int | None:
    """The smallest card of ``GPUS`` that ``needed`` bytes fit, in GB, ``RESERVE`` left free; None where none does.

    A GB is 1e9 bytes here. Cards have 5 to 7 % more, GiB: that is left to the workspaces of kernels.
    """
    return next((size for size in GPUS if needed + RESERVE <= size * 1e9), None)
