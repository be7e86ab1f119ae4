"""Measure how long each step of an edit takes here."""

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checking import capsule
from moebius_edge.checking.first_run import Stopwatch, graph_inputs
from moebius_edge.checking.profile import ProfileOptions
from moebius_edge.inpainter import Inpainter
from moebius_edge.runtimes import open_runtime


def steps_here(bundle: Bundle, options: ProfileOptions) -> tuple[float, ...]:
    """Return the milliseconds of each step of one edit of the capsule's photo.

    A run that loads the denoiser comes first and is not counted. Raises RuntimeUnavailable when the engine
    cannot run, BundleError for a capsule that cannot be used.
    """
    manifest = bundle.manifest
    tensors = capsule.checked(bundle.capsule(), manifest.resolution, manifest.latent_size)
    watch = Stopwatch(open_runtime(bundle, options.runtime, options.threads))
    watch.runtime.run("denoiser", graph_inputs(tensors)["denoiser"])
    edit = Inpainter.of(manifest, watch, low_memory=False)
    steps = options.steps or manifest.defaults.steps
    edit(tensors["photo"], tensors["mask"], steps=steps, strength=manifest.defaults.strength)
    return tuple(round(time, 3) for time in watch.times["denoiser"])
