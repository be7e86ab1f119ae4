"""The manifest of a bundle: what it was made of, by what, and how it is run."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata

from moebius_edge import __version__
from moebius_edge.bundle.manifest import Defaults, GraphSpec, Manifest, ModelInfo, SchedulerSpec
from moebius_edge.checkpoints.checkpoint import Checkpoint, parameter_count, weights_sha256
from moebius_edge.common.errors import ExportError, InvalidInput
from moebius_edge.export.onnx.graph_specs import resolution_of
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.self_test import CAPSULE
from moebius_edge.export.targets.registry import find_target
from moebius_edge.inpaint.known_solvers import find_solver
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.solving.protocol import NoiseSchedule, make_schedule
from moebius_edge.precisions import PRECISIONS

TOOLS = ("torch", "diffusers", "onnx", "onnxscript", "onnxsim")


def make_manifest(
    checkpoint: Checkpoint,
    options: ExportOptions,
    graphs: dict[str, GraphSpec],
    made_by: Mapping[str, str],
) -> Manifest:
    """Write down what a bundle is, but for the list of its files.

    `graphs`: as the target's artifacts have them; `made_by`: versions of tools that no table names.
    """
    target, defaults = find_target(options.target), _defaults(checkpoint)
    return Manifest(
        model=_model(checkpoint),
        target=target.name,
        runtime=target.runtime,
        precision=options.precision,
        graph=options.graph,
        resolution=resolution_of(checkpoint),
        latent_size=checkpoint.config.latent_size,
        graphs=graphs,
        scheduler=_scheduler(options.solver, defaults),
        defaults=defaults,
        capsule=CAPSULE,
        settings=options.all_settings(),
        tools={**_tools(options), **made_by},
    )


def _model(checkpoint: Checkpoint) -> ModelInfo:
    return ModelInfo(
        name=checkpoint.name,
        license=checkpoint.license,
        source=checkpoint.source,
        parameters=parameter_count(checkpoint.model),
        config=checkpoint.config,
        vae=checkpoint.vae_config,
        weights_sha256=weights_sha256(checkpoint),
        origins=dict(checkpoint.origins),
    )


def _defaults(checkpoint: Checkpoint) -> Defaults:
    options = InpaintOptions(guidance=checkpoint.guidance, strength=checkpoint.strength)
    return Defaults(
        steps=options.steps,
        guidance=options.guidance,
        strength=options.strength,
        noise_offset=options.noise_offset,
    )


def check_defaults(checkpoint: Checkpoint, options: ExportOptions) -> None:
    """Raise ExportError, before the work begins, where the solver cannot run the checkpoint's defaults.

    Raises InvalidInput for a solver that is not known.
    """
    solver, defaults = find_solver(options.solver, NoiseSchedule()), _defaults(checkpoint)
    try:
        make_schedule(solver, defaults.steps, defaults.strength)
    except InvalidInput as error:
        raise ExportError(
            f"{checkpoint.name} asks for strength {defaults.strength:g} in its config.json, and no edit can "
            f"be run like that: {error}"
        ) from error


def _scheduler(name: str, defaults: Defaults) -> SchedulerSpec:
    noise = NoiseSchedule()
    solver = find_solver(name, noise)
    schedule = make_schedule(solver, defaults.steps, defaults.strength)
    return SchedulerSpec(
        **asdict(noise), solver=solver.name, coefficients=schedule.steps, start=schedule.start
    )


def _tools(options: ExportOptions) -> dict[str, str]:
    """Versions of what shaped the graphs and the artifacts."""
    tools = (*TOOLS, *find_target(options.target).tools, *PRECISIONS[options.graph_precision].tools)
    return {
        "moebius-edge": __version__,
        "python": platform.python_version(),
        **{tool: metadata.version(tool) for tool in tools},
    }
