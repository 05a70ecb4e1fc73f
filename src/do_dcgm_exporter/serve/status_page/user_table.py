"""Draw the table of those who use the GPUs."""

from __future__ import annotations

from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.view import View
from do_dcgm_exporter.serve.status_page.markup import NOTHING, headings, text
from do_dcgm_exporter.usage_report import Use, WorkloadKind

_KINDS = {
    WorkloadKind.UNIT: "",
    WorkloadKind.CONTAINER: "container ",
    WorkloadKind.SLURM_JOB: "Slurm job ",
}


def user_table(view: View) -> str:
    """Return the table; empty unless somebody looks for the users of the GPUs."""
    uses = view.status.gpu_uses
    if uses is None:
        return ""
    rows = "".join(_row(gpu, use) for gpu, its_uses in uses.items() for use in its_uses)
    if not rows:
        nobody = '<p class="quiet">No process uses one.</p>'
        return f"<section><h2>Who uses the GPUs</h2>{nobody}</section>"
    return (
        "<table><caption>Who uses the GPUs</caption>"
        f"{headings('Device', 'Workload', 'User', 'Processes', 'Memory')}"
        f"<tbody>{rows}</tbody></table>"
    )


def _row(gpu: int, use: Use) -> str:
    device = f"GPU {gpu}" + ("" if use.instance is None else f" instance {use.instance}")
    workload = _KINDS[use.workload.kind] + use.workload.name
    memory = NOTHING if use.memory is None else f"{words.gibibytes(use.memory / (1 << 20))} GiB"
    return (
        f'<tr><th scope="row">{device}</th><td class="wide">{text(workload)}</td>'
        f"<td>{text(use.user)}</td><td>{use.processes}</td><td>{memory}</td></tr>"
    )
