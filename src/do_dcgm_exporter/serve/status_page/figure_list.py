"""Draw the figures to be read from across the room, and the chart of a machine's only GPU."""

from __future__ import annotations

from do_dcgm_exporter.dcgm.topology import Gpu
from do_dcgm_exporter.explain.figures import Figure, figures
from do_dcgm_exporter.explain.view import View
from do_dcgm_exporter.serve.status_page.markup import bar, metric, text
from do_dcgm_exporter.serve.status_page.sparkline import Sparklines, axis


def figure_list(view: View) -> str:
    """Return the figures, empty if there are none."""
    drawn = "".join(map(_drawn, figures(view)))
    return f'<dl class="figures">{drawn}</dl>' if drawn else ""


def _drawn(figure: Figure) -> str:
    share = "" if figure.share is None else bar(figure.share, figure.warns)
    notes = "".join(f"<dd>{text(note)}</dd>" for note in figure.notes)
    name = metric(figure.name, figure.metric)
    kind = ' class="warns"' if figure.warns else ""
    number, _, unit = figure.value.rpartition(" ")
    value = f"<b>{text(number)} <small>{text(unit)}</small></b>"
    return f"<div{kind}><dt>{name}</dt><dd>{value}{share}</dd>{notes}</div>"


def only_gpu(view: View) -> Gpu | None:
    """Return the GPU of a machine that has one, if it is whole and there."""
    machine = view.machine
    gpus = machine.roster.gpus
    if len(gpus) != 1 or machine.lost_gpus or machine.roster.devices != (gpus[0].entity,):
        return None
    return gpus[0]


def chart(view: View, gpu: Gpu, lines: Sparklines) -> str:
    """Return the recent utilization of ``gpu`` across the whole page."""
    name = f"GPU {gpu.id}"
    identity = " ".join(filter(None, (gpu.uuid, gpu.pci_bus_id and f"at {gpu.pci_bus_id}")))
    summary = lines.summary(gpu.entity)
    told = f'<p class="quiet">Utilization over {lines.minutes}: {summary}</p>' if summary else ""
    return (
        f'<section class="chart" aria-labelledby="gpu"><h2 id="gpu">{name}'
        f' <span class="quiet">{text(identity)}</span></h2>'
        f'<div class="plot">{lines.of(gpu.entity, name)}</div>{axis(lines)}{told}</section>'
    )
