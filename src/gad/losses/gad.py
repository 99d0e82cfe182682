"""The geometric alignment term, as a function of responses. It knows no network."""

from gad.response import Response
from gad.shapes import PerSample


def gad_response_loss(student: Response, teacher: Response) -> PerSample:
    r"""Gap between the student's and the teacher's responses, ``[B]`` per unit of h and element. Eq. (6) and (8).

    .. math:: \frac{1}{d} \big\| J_S v - \mathrm{sg}\, J_T v \big\|_2^2

    Zero when both move alike; blind to a constant offset between them; lower is better. The paper's loss on
    differences is h² d times this one.
    """
    error = student.jvp - teacher.jvp.detach()  # the teacher is a target, not a learner
    return error.square().flatten(1).mean(dim=1)
