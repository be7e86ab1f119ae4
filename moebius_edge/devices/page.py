"""Write the HTML report: one file without links or scripts; the same findings give the same bytes."""

from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from statistics import median

from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.checking.efficiency import EfficiencyRow
from moebius_edge.common.timing import busy_sentence
from moebius_edge.devices.findings import Findings, Place, Times, places
from moebius_edge.devices.sizes import SizeRow
from moebius_edge.devices.summary import ENDS
from moebius_edge.devices.svg import SERIES, Bar, Chart, Line, bars, lines, number

NOTHING = "-"
STEPS_HEIGHT = 170  # pixels of each place's own chart of its steps
POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # even if something slipped through the escaping


def render(findings: Findings) -> bytes:
    """Return the report as UTF-8 HTML."""
    style = resources.files("moebius_edge.devices").joinpath("style.css").read_text()
    name = escape(findings.sizes[0].name)
    body = "\n".join(_body(findings, places(findings)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Profile of {name}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    ).encode(errors="backslashreplace")  # the name of a folder need not be text


def _body(findings: Findings, where: Sequence[Place]) -> Iterator[str]:
    first = findings.sizes[0]
    yield f"<h1>Profile of {escape(first.name)}</h1>"
    yield (
        f'<p class="soft">{escape(f"{first.model}, {first.precision}, target {first.target}")}, '
        f"{first.megabytes:,.1f} MB</p>"
    )
    if not findings.ok:
        failed = ", ".join(p.name for p in where if p.device is not None and not p.device.selftest.ok)
        sentence = f"The self-test failed on {failed}: its times are those of wrong results."
        yield f'<p class="bad">{escape(sentence)}</p>'
    if findings.local is not None and findings.local.busy:
        yield f'<p class="bad">{escape(busy_sentence(findings.local.busy))}</p>'
    if where:
        yield from _where(where)
        yield from _latency(where)
        yield from _edits(where)
        yield from _heat(where)
        yield from _memory(where)
    yield from _sizes(findings.sizes)
    if findings.local is not None:
        yield from _efficiency(findings.local.efficiency, findings.local.efficiency_note)


def _where(where: Sequence[Place]) -> Iterator[str]:
    yield "<h2>Where</h2>"
    rows = [
        (place.name, place.system, place.processor, place.engine, _number(place.threads), place.selftest)
        for place in where
    ]
    yield _table("Machines", ("place", "system", "processor", "engine", "threads", "self-test"), rows, text=4)


def _latency(where: Sequence[Place]) -> Iterator[str]:
    yield "<h2>One run of each graph</h2>" + _legend(where)
    groups = [
        (
            name,
            [
                Bar(i, times.p50_ms, f"{number(times.p50_ms)} ({number(times.p95_ms)})", times.p95_ms)
                for i, place in enumerate(where)
                if (times := place.graphs.get(name))
            ],
        )
        for name in GRAPH_NAMES
    ]
    about = "A bar for each graph and place; the numbers are in the table below."
    yield bars(
        Chart(
            "Latency of each graph", about, "ms: the median, and the 95th percentile (whisker, in brackets)"
        ),
        groups,
    )
    rows = [
        (name, place.name, *_times(times))
        for name in GRAPH_NAMES
        for place in where
        if (times := place.graphs.get(name))
    ]
    heads = ("graph", "place", "p50", "p95", "cold load", "warm load")
    yield _table("Milliseconds; loading is less a usual run", heads, rows, text=2)


def _edits(where: Sequence[Place]) -> Iterator[str]:
    measured = [place for place in where if place.edit is not None]
    if not measured:
        return
    yield "<h2>Whole edits</h2>" + _legend(where)
    rows = [
        (
            place.name,
            str(place.denoiser_runs),
            str(len(edit.times_ms)),
            number(edit.p50_ms),
            number(edit.p95_ms),
        )
        for place in measured
        if (edit := place.edit)
    ]
    heads = ("place", "steps run", "edits", "p50, ms", "p95, ms")
    yield _table("Photo to photo", heads, rows, text=1)
    for i, place in enumerate(where):
        if place.steps_ms:
            about = "The time of each step of an edit; on a device its median over the edits."
            chart = Chart(f"Steps, {place.name}", about, "step", f"ms, {place.name}", height=STEPS_HEIGHT)
            yield lines(chart, [Line(i, [*enumerate(place.steps_ms, 1)])])


def _heat(where: Sequence[Place]) -> Iterator[str]:
    longest = max((len(place.edit.times_ms) for place in where if place.edit), default=0)
    if longest < 2:
        return
    yield "<h2>Heat</h2>" + _legend(where)
    curves = [Line(i, _slowdown(place.edit)) for i, place in enumerate(where) if place.edit]
    changes = [(place.name, change) for place in where if place.device for change in place.device.heat[1:]]
    several = len({name for name, _ in changes}) > 1
    marks = [(edits, f"{name}: {word}" if several else word) for name, (edits, word) in changes]
    about = f"The time of each edit over the median of the first {ENDS}; it rises where one slows down."
    label = f"time / median of the first {ENDS} edits"
    yield lines(Chart("Edit after edit", about, "edit", label, marks=marks), curves)
    warmth = [
        Line(i, [(n, value) for n, value in enumerate(place.celsius) if value is not None])
        for i, place in enumerate(where)
        if any(value is not None for value in place.celsius)
    ]
    if warmth:
        about = "The temperature before the first edit and after each."
        yield lines(Chart("Temperature", about, "edits done", "degrees Celsius", zero=False), warmth)
    yield _heat_table(where)


def _slowdown(edit: Times) -> list[tuple[float, float]]:
    first = median(edit.times_ms[:ENDS]) or 1.0
    return [(number, time / first) for number, time in enumerate(edit.times_ms, 1)]


def _heat_table(where: Sequence[Place]) -> str:
    rows = []
    for place in where:
        if place.device is None:
            continue
        found = place.device.throttling
        known = [value for value in found.celsius if value is not None]
        degrees = f"{known[0]:.1f} to {known[-1]:.1f}, highest {max(known):.1f}" if known else NOTHING
        ratio = NOTHING if found.ratio is None else f"{found.ratio:.2f}"
        rows.append((place.name, degrees, place.device.heat_words or NOTHING, ratio))
    if not rows:
        return ""
    heads = ("place", "degrees Celsius", "the system says", f"last {ENDS} edits / first {ENDS}")
    return _table("Throttling: above 1, the device became slower", heads, rows, text=3)


def _memory(where: Sequence[Place]) -> Iterator[str]:
    known = [(i, place) for i, place in enumerate(where) if place.peak_mb is not None]
    if not known:
        return
    yield "<h2>Memory</h2>"
    groups = [
        (_short(place.name), [Bar(i, place.peak_mb or 0, number(place.peak_mb or 0))]) for i, place in known
    ]
    yield bars(Chart("Peak memory", "A bar for each place.", "MB, largest memory of the process"), groups)


def _sizes(sizes: Sequence[SizeRow]) -> Iterator[str]:
    yield "<h2>Size and closeness to the FP32 reference</h2>"
    rows = [
        (row.name, row.precision, close.found, f"{row.megabytes:,.1f}", *map(_db, close.values()))
        for row in sizes
        for close in row.closeness
    ]
    heads = ("bundle", "precision", "found by", "MB", "encoder", "denoiser", "decoder", "hole")
    yield _table(
        "dB: each graph on the reference's inputs, and the finished picture in the hole", heads, rows, 3
    )
    points = [
        Line(i, [(row.megabytes, best)], text=f"{row.name}, {row.precision}")
        for i, row in enumerate(sizes)
        if (best := max((c.hole_db for c in row.closeness if c.hole_db is not None), default=None))
        is not None
    ]
    if len(points) > 1:
        about = "A point for each bundle: lower is farther from the reference, left is smaller."
        label = "dB in the hole, the best that was found"
        yield lines(Chart("Size and dB", about, "MB, all files", label, zero=False, whole=False), points)


def _efficiency(rows: Sequence[EfficiencyRow], note: str) -> Iterator[str]:
    yield "<h2>The columns of the paper's efficiency table</h2>"
    cells = [
        (
            row.model,
            row.measured,
            NOTHING if row.parameters_m is None else f"{row.parameters_m:,.2f}",
            NOTHING if row.tmacs is None else f"{row.tmacs:.4g}",
            NOTHING if row.ms_per_step is None else f"{row.ms_per_step:,.2f}",
            _number(row.steps),
            NOTHING if row.total_s is None else f"{row.total_s:,.2f}",
        )
        for row in rows
    ]
    heads = ("model", "measured", "parameters, M", "TMACs", "ms/step", "steps", "total, s")
    yield _table(note, heads, cells, text=2)


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], text: int) -> str:
    """Write a table; its first `text` columns hold words, and the first of them names its row."""

    def kind(column: int) -> str:
        return ' class="text"' if column < text else ""

    head = "".join(f'<th scope="col"{kind(i)}>{escape(name)}</th>' for i, name in enumerate(heads))
    body = "\n".join(
        "<tr>"
        + f'<th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{kind(i)}>{escape(cell)}</td>" for i, cell in enumerate(row[1:], 1))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _legend(where: Sequence[Place]) -> str:
    items = (f'<li><i class="s{i % SERIES}"></i>{escape(place.name)}</li>' for i, place in enumerate(where))
    return f'\n<ul class="legend">{"".join(items)}</ul>'


def _times(times: Times) -> list[str]:
    return [
        NOTHING if value is None else number(value)
        for value in (times.p50_ms, times.p95_ms, times.cold_ms, times.warm_ms)
    ]


def _number(value: int | None) -> str:
    return NOTHING if value is None else str(value)


def _db(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "identical" if value >= 200 else f"{value:.1f}"


def _short(name: str) -> str:
    return name if len(name) <= 19 else f"{name[:18]}…"
