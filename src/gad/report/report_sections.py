"""The sections of a recipe's report: figures and tables from what the stages before have written."""

import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from gad.config.variants import VARIANTS
from gad.distillation.train_students import LOG
from gad.distillation.validation_log import CURVES
from gad.metrics.convergence import convergence_of_curves
from gad.models.model import load_model
from gad.report import differences, figures, paper
from gad.report.committed_results import beside_committed_results, changed_since_committed_results, committed_results
from gad.report.control_differences import control_gains
from gad.report.differences import difference_table
from gad.report.page_tables import folded_page_table, styled_page_table
from gad.report.primary_contrasts import contrast_table, primary_contrasts
from gad.runtime.files import read_tensors
from gad.runtime.paths import stage_dir

RESPONSE = {
    "pointwise_mse": "map error ↓",
    "jvp_cosine": "JVP cosine ↑",
    "jacobian_norm_ratio": "Jacobian norm ratio → 1",
}


def same_noises_report_section(recipe: str) -> Figure:
    """What every model makes of the same noises."""
    teacher, folder = load_model(stage_dir(recipe, "teacher")), stage_dir(recipe, "control")
    outputs = read_tensors(folder / "outputs.safetensors")
    outputs = {name: outputs[name] for name in figures.PALETTE if name in outputs}
    samples = pd.read_parquet(folder / "diversity.parquet")
    title = samples["caption"].iloc[0] if "caption" in samples else "the same noises"
    return figures.output_grid(outputs, reference=teacher.points, title=title)


def sensitivity_report_section(recipe: str) -> Figure:
    """Table 1 as bars: a dot per seed, mean and 95 % interval."""
    table = pd.read_csv(stage_dir(recipe, "sensitivity") / "table.csv")
    kinds = "directions" if table["directions"].nunique() > 1 else None
    return figures.metric_bars(table, RESPONSE, hue=kinds, title=f"{recipe}: response to the noise")


def response_report_section(recipe: str) -> Figure:
    """How far the output moves along a direction."""
    along = pd.read_csv(stage_dir(recipe, "sensitivity") / "response.csv")
    return figures.response_curves(along, title=f"{recipe}: change of the output")


def training_report_section(recipe: str) -> Figure:
    """Training curves of every variant and seed."""
    present = [name for name in VARIANTS if (stage_dir(recipe, "student", name) / LOG).exists()]
    logs = [pd.read_csv(stage_dir(recipe, "student", name) / LOG).assign(variant=name) for name in present]
    return figures.training_curves(pd.concat(logs), title=recipe)


def primary_contrasts_report_section(recipe: str) -> tuple[pd.DataFrame, str]:
    """A row per outcome, a column per reference, and the table's caption."""
    contrasts = primary_contrasts(recipe)
    sizes = sorted({f"{row['n']} seeds, {row['samples']} noises or prompts" for row in contrasts})
    caption = f"Difference [adjusted 95 % interval]; {'; '.join(sizes)}"
    return contrast_table(
        contrasts
    ), caption if contrasts else "No contrast: fewer than two seeds have GAD and another variant"


def _held_out_curves(recipe: str) -> pd.DataFrame:
    """The held-out curves of every variant that has some."""
    paths = {name: stage_dir(recipe, "student", name) / CURVES for name in VARIANTS}
    found = [pd.read_csv(path).assign(variant=name) for name, path in paths.items() if path.exists()]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def validation_report_section(recipe: str) -> Figure | None:
    """Held-out curves of every variant while it trained; None for a recipe without validation."""
    return figures.validation_curves(_held_out_curves(recipe), title=f"{recipe}: held-out noises and prompts")


def convergence_section(recipe: str) -> pd.DataFrame:
    """A row per variant with held-out curves: whether it counts as trained, and if not, why; empty without any."""
    curves, rows = _held_out_curves(recipe), []
    for variant in curves["variant"].unique() if len(curves) else []:
        own = curves[curves["variant"] == variant]
        found = convergence_of_curves(own)
        verdict = {"verdict": "trained" if found.trained else "not converged", "reason": "; ".join(found.reasons)}
        rows.append({"model": variant, "steps": own["step"].max(), "seeds": own["seed"].nunique()} | verdict)
    return pd.DataFrame(rows)


def beside_paper_report_section(metrics: dict[str, dict]) -> list[pd.DataFrame]:
    """The paper's tables beside this recipe's numbers, those that the recipe measures."""
    tables = [paper.response_beside_ours(metrics["sensitivity"])]
    if "seeds" in metrics["sensitivity"]:
        tables.append(paper.image_seeds_beside_ours(metrics["sensitivity"]["seeds"]))
    if "fidelity" in metrics["fidelity"]:
        tables.append(paper.fidelity_beside_ours(metrics["fidelity"]["fidelity"]))
    control = (paper.layout_beside_ours, paper.noise_query_beside_ours, paper.diversity_beside_ours)
    return tables + [table for table in (compare(metrics["control"]) for compare in control) if len(table)]


def foldable_report_section_table(title: str, table: pd.DataFrame, *, fold: bool) -> HTML | Styler:
    """The table as it is read, or folded under its title."""
    return HTML(folded_page_table(f"{len(table)} {title}", table)) if fold else styled_page_table(table)


def differences_report_section(metrics: dict[str, dict], *, one_seed: bool) -> list[HTML | Styler]:
    """The main differences, folded where one seed leaves nothing to quote, and all others, always folded."""
    main, others = difference_table(metrics), differences.further_differences(metrics)
    return [
        foldable_report_section_table("main differences", main, fold=one_seed),
        foldable_report_section_table("further differences", others, fold=True),
    ]


def control_gains_report_section(recipe: str) -> pd.DataFrame:
    """A row per model, a column per task: the gain of optimised or retrieved noise; empty where no task gives any."""
    found = control_gains(stage_dir(recipe, "control"))
    if found.empty:
        return found
    order = found["variant"].unique()
    table = found.pivot(index="variant", columns="task", values="gain").reindex(order).fillna("")
    return table.astype(str).rename_axis(columns=None).reset_index(names="model")


def beside_long_run_report_section(recipe: str, metrics: dict[str, dict], facts: dict) -> tuple[str, pd.DataFrame]:
    """What the committed long run is and which sections of the recipe have changed since, and both runs' numbers."""
    committed = committed_results(recipe)
    if committed is None:
        return "No long run of this recipe is committed.", pd.DataFrame()
    made = committed["provenance"]
    by = ", ".join([*([f"revision {made['revision']}"] if made["revision"] else []), made["device"]])
    line = f"committed: {by}\n{changed_since_committed_results(facts, committed)}"
    return line, beside_committed_results(metrics, committed)
