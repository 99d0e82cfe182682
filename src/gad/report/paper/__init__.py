"""What the paper reports, beside what we measure, and whether the two can be compared.

Numbers from Huang et al., Restoring Initial Noise Sensitivity in Text-to-Image Distillation via Geometric Alignment
(ICML 2026, arXiv:2606.01651); single runs without intervals.
"""

from gad.report.paper.ablation_rows import paper_ablation
from gad.report.paper.control import diversity_beside_ours, layout_beside_ours, noise_query_beside_ours
from gad.report.paper.images import fidelity_beside_ours, image_seeds_beside_ours
from gad.report.paper.response import response_beside_ours

__all__ = [
    "diversity_beside_ours",
    "fidelity_beside_ours",
    "layout_beside_ours",
    "noise_query_beside_ours",
    "paper_ablation",
    "response_beside_ours",
    "image_seeds_beside_ours",
]
