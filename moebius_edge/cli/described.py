"""Help that lists what the registries know, filled in when it is shown: finding plug-ins takes time."""

from collections.abc import Callable, Iterable
from typing import Any

from typer.core import TyperCommand


class Described(TyperCommand):
    """A command whose help texts hold words of FILLERS, like `{targets}`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill the words in, then show the help."""
        self.help = fill(self.help)
        for parameter in self.params:
            if getattr(parameter, "help", None):
                parameter.help = fill(parameter.help)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


def fill(text: str | None) -> str | None:
    """Replace the words of FILLERS by what they stand for."""
    for word, say in FILLERS.items():
        if text and word in text:
            text = text.replace(word, say())
    return text


def listed(words: Iterable[str], last: str = "or") -> str:
    """Join words as in a sentence: a, b or c."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def _targets() -> str:
    from moebius_edge.export.targets.registry import targets  # noqa: PLC0415

    return listed(f"{target.name} ({target.runs_on})" for target in targets().values())


def _precisions() -> str:
    from moebius_edge.precisions import PRECISIONS  # noqa: PLC0415

    return ", ".join(PRECISIONS)


def _searched() -> str:
    from moebius_edge.precisions import having  # noqa: PLC0415

    return listed(having("searched"))


def _dbs() -> str:
    from moebius_edge.calibration.int8.mixed import TARGETS_DB  # noqa: PLC0415

    return listed((f"{bound:g}" for bound in TARGETS_DB), "to")


def _observers() -> str:
    from moebius_edge.calibration.activations.observers import ABOUT, OBSERVERS  # noqa: PLC0415

    return listed(f"{name} ({ABOUT[name]})" for name in OBSERVERS)


def _defaults() -> str:
    """Say the default precisions: "fp32, of coreml and tensorrt fp16"."""
    from moebius_edge.export.targets.registry import targets  # noqa: PLC0415

    usual, *_ = (target.default for target in targets().values())
    others = dict[str, list[str]]()
    for target in targets().values():
        if target.default != usual:
            others.setdefault(target.default, []).append(target.name)
    return "".join([usual, *(f", of {listed(names, 'and')} {name}" for name, names in others.items())])


def _settings() -> str:
    """Say what `--set` takes, target by target; the default of each setting comes first."""
    from moebius_edge.export.targets.registry import targets  # noqa: PLC0415
    from moebius_edge.precisions import PRECISIONS  # noqa: PLC0415

    lines = list[str]()
    for target in targets().values():
        own = [_values(target.settings)] if target.settings else []
        for key, values in target.only.items():  # of a precision, or of all that need something
            names = [name for name in target.precisions if key in {name, *PRECISIONS[name].needs}]
            own.append(f"with {listed(names)} {_values(values)}")
        if own:
            lines.append(f"{target.name}: {'; '.join(own)}.")
    return " ".join(lines)


def _values(settings: Any) -> str:
    return ", ".join(f"{name}={listed(values)}" for name, values in settings.items())


def _kits() -> str:
    from moebius_edge.export.targets.registry import targets  # noqa: PLC0415

    return listed(target.name for target in targets().values() if target.kit)


def _doctors() -> str:
    from moebius_edge.export.targets.registry import targets  # noqa: PLC0415

    known = [target for target in targets().values() if target.doctor]
    return "; ".join(f"for {target.name} {target.doctor_help}" for target in known)


def _runtimes() -> str:
    from moebius_edge.runtimes import runtimes  # noqa: PLC0415

    return listed(runtimes())


def _solvers() -> str:
    from moebius_edge.inpaint.known_solvers import known_solvers  # noqa: PLC0415

    return listed(known_solvers())


def _kinds() -> str:
    from moebius_edge.devices.kinds import KINDS  # noqa: PLC0415

    return listed(f"{row.name} ({row.by})" for row in KINDS.values())


def _platforms() -> str:
    from moebius_edge.packaging.platforms import PLATFORMS, targets_of  # noqa: PLC0415

    return listed(f"{row.name} (bundles of {', '.join(targets_of(row))})" for row in PLATFORMS.values())


FILLERS: dict[str, Callable[[], str]] = {
    "{targets}": _targets,
    "{precisions}": _precisions,
    "{searched}": _searched,
    "{dbs}": _dbs,
    "{observers}": _observers,
    "{defaults}": _defaults,
    "{settings}": _settings,
    "{kits}": _kits,
    "{doctors}": _doctors,
    "{runtimes}": _runtimes,
    "{solvers}": _solvers,
    "{kinds}": _kinds,
    "{platforms}": _platforms,
}
