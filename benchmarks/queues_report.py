"""The table and the plot of `queues.py`, in `docs/performance.md` and `docs/performance-queues.svg`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from queues import Figures

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- queues -->\n", "<!-- end of queues -->\n"
OURS = "k9ops"
WIDTH, LABEL, BAR, ROW, TITLE = 760, 130, 520, 20, 34


def write_report(found: dict[str, Figures], rounds: int) -> None:
    """Replace the section of the document, and the plot.

    Raises:
        ValueError: The document lacks the marks.
    """
    path = DOCS / "performance.md"
    document = path.read_text(encoding="utf-8")
    before, has_begin, rest = document.partition(BEGIN)
    _, has_end, after = rest.partition(END)
    if not has_begin or not has_end:
        raise ValueError(f"{path} has no section for queues")
    path.write_text(f"{before}{BEGIN}{render_table(found, rounds)}\n{END}{after}", encoding="utf-8")
    (DOCS / "performance-queues.svg").write_text(render_plot(found), encoding="utf-8")


def render_table(found: dict[str, Figures], rounds: int) -> str:
    """Return Markdown: the figures of each, and how k9ops stands to each."""
    lines = [
        (
            f"Measured on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores that the servers share, medians of"
            f" {rounds} rounds in turn; load of the machine at the end {os.getloadavg()[1]:.1f}."
            "\n\n"
            "| | sent one by one, /s | sent together, /s | done, /s | CPU of workers, ms a job"
            " | CPU of servers, ms a job"
            " | idle: commands to Redis, /s and process"
            " | start latency p50 / p95 / p99, ms | the same after 2.5 to 3 s |\n"
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        )
    ]
    for name, figures in found.items():
        together = "" if figures.send_many is None else f"{figures.send_many:,.0f}"
        lines.append(
            f"| {name} | {figures.send:,.0f} | {together} | {figures.drain:,.0f} | {figures.worker_cpu_ms:.2f}"
            f" | {figures.server_cpu_ms:.2f} | {figures.idle_commands:.1f} | {_join(figures.warm_ms)}"
            f" | {_join(figures.cold_ms)} |"
        )
    ours = found[OURS]
    lines += [
        "",
        "k9ops in multiples of each:",
        "",
        "| | sent one by one | done | CPU a job, workers and servers | start latency p50 | the same after 2.5 to 3 s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, figures in found.items():
        if name == OURS:
            continue
        cpu = (ours.worker_cpu_ms + ours.server_cpu_ms) / (figures.worker_cpu_ms + figures.server_cpu_ms)
        lines.append(
            f"| {name} | {ours.send / figures.send:.2f} | **{ours.drain / figures.drain:.2f}** | {cpu:.2f}"
            f" | {ours.warm_ms[0] / figures.warm_ms[0]:.2f} | {ours.cold_ms[0] / figures.cold_ms[0]:.2f} |"
        )
    return "\n".join(lines)


def render_plot(found: dict[str, Figures]) -> str:
    """Return an SVG with a row of bars for each figure that people choose a queue by."""
    panels = [
        ("Jobs done by two processes, a second", {name: each.drain for name, each in found.items()}, "{:,.0f}"),
        (
            "CPU of workers and servers, milliseconds a job",
            {name: each.worker_cpu_ms + each.server_cpu_ms for name, each in found.items()},
            "{:.2f}",
        ),
        ("Start latency after a pause, p50, milliseconds", {n: each.cold_ms[0] for n, each in found.items()}, "{:.1f}"),
    ]
    parts, top = [], 10
    for title, values, form in panels:
        parts.append(f'<text x="10" y="{top + 16}" font-weight="bold">{escape(title)}</text>')
        top += TITLE - 8
        largest = max(values.values())
        for name, value in values.items():
            length = max(1.0, BAR * value / largest)
            colour = "#1f6f54" if name.startswith(OURS) else "#9aa5a0"
            parts.append(f'<text x="{LABEL}" y="{top + 14}" text-anchor="end">{escape(name)}</text>')
            parts.append(
                f'<rect x="{LABEL + 8}" y="{top + 3}" width="{length:.1f}" height="{ROW - 6}" fill="{colour}"/>'
            )
            parts.append(f'<text x="{LABEL + 14 + length:.1f}" y="{top + 14}">{form.format(value)}</text>')
            top += ROW
        top += 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}"'
        ' font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{top}" fill="white"/>', *parts, "</svg>", ""])


def _join(values: tuple[float, float, float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)
