"""What a stage made or found, in the line with which its page begins."""

from gad.runtime.files import read_json
from gad.runtime.paths import metrics_file


def stage_outcome(recipe: str, stage: str) -> str:
    """A stage's outcome in Markdown, from its metrics file; ``stage`` is "student-gad" for a student."""
    found = read_json(metrics_file(recipe, stage))
    name, _, variant = stage.partition("-")
    made = {"dataset": _dataset, "teacher": _teacher, "noise_pairs": _noise_pairs, "student": _student}
    if name in made:
        return f"**Outcome:** {f'{variant}, ' if variant else ''}{made[name](found)}."
    from gad.report.verdict import analysis_outcome  # here, since it imports pandas and scipy

    return f"**Outcome:** {analysis_outcome(name, found)}"


def _dataset(found: dict) -> str:
    shares = ", ".join(f"{name} {found[name]['object_accuracy']:.1%}" for name in ("rendered", "reconstructed"))
    return f"autoencoder {found['psnr_db']:.1f} dB; object accuracy of {found['num_scenes']} scenes: {shares}"


def _teacher(found: dict) -> str:
    if "num_points" in found:
        return f"the exact denoiser of {found['num_points']} points of the Swiss roll"
    if "object_accuracy" not in found:
        return "the teacher of another recipe, measured there"
    return f"object accuracy {found['object_accuracy']:.1%} over {found['num_captions']} test captions, one teacher"


def _noise_pairs(found: dict) -> str:
    return (
        f"{found['num_pairs']} noise pairs in {found['num_trajectories']} sampling trajectories of the teacher; "
        f"its response has a mean square of {found['jvp_power']:.2g}"
    )


def _student(found: dict) -> str:
    last, seeds = found["final"], len(found["seeds"])
    cosine = last.get("monitor_jvp_cosine")
    response = "" if cosine is None else f"; JVP cosine {cosine:.2g} on training pairs"
    return f"{seeds} seed{'s' * (seeds > 1)} trained for {last['step']:.0f} steps{response}"
