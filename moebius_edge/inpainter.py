"""Fill holes in photos: `Inpainter` takes a photo and a mask and returns the photo with the hole filled."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.listed_solver import Listed
from moebius_edge.inpaint.loop import Draws, OnProgress, OnStep
from moebius_edge.inpaint.noise import NoiseSource, PortableNoise, TorchNoise
from moebius_edge.inpaint.options import OPTION_NAMES, InpaintOptions
from moebius_edge.inpaint.passes import Settings, run_passes
from moebius_edge.inpaint.portable import PortableEdits
from moebius_edge.inpaint.published import PublishedEdit
from moebius_edge.inpaint.runtime import Runtime
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solving.protocol import Solver, make_schedule
from moebius_edge.inpaint.solving.table import Schedule, refining
from moebius_edge.photos.masks import Mask
from moebius_edge.photos.options import MaskOptions
from moebius_edge.photos.reading import Source, read_mask, read_photo
from moebius_edge.runtimes import open_runtime

__all__ = ["InpaintOptions", "Inpainter"]


class Inpainter:
    """A model that fills holes in photos by its three graphs.

    `resolution` and `latent_size` are H = W of the graphs in pixels and latents. `solver` None: DDIM on the
    published noise schedule. `low_memory` releases each graph before the next is loaded; switch it off to
    keep all three between calls.

    >>> from moebius_edge import Inpainter
    >>> inpainter = Inpainter.load("small.moebius")
    >>> picture = inpainter("photo.jpg", "mask.png", steps=4, seed=1)
    >>> picture.size, picture.mode  # as the photo
    ((1252, 704), 'RGB')
    >>> from PIL import Image
    >>> picture.getpixel((0, 0)) == Image.open("photo.jpg").getpixel((0, 0))  # outside the mask
    True
    >>> inpainter.defaults.steps, inpainter.defaults.guidance
    (20, 2.0)
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        resolution: int,
        latent_size: int,
        solver: Solver | None = None,
        defaults: InpaintOptions | None = None,
        low_memory: bool = True,
    ) -> None:
        self.runtime = runtime
        self.resolution, self.latent_size = resolution, latent_size
        self.solver = solver or DDIM()
        self.defaults = defaults or InpaintOptions()
        self.low_memory = low_memory

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        runtime: str | None = None,
        threads: int | None = None,
        *,
        low_memory: bool = True,
    ) -> "Inpainter":
        """Open a bundle folder with a runtime, and take its default options.

        `runtime`: a name of `moebius_edge.runtimes`; None: the bundle's own. `threads`: of the engine on the
        CPU; None: all cores. Raises BundleError for a damaged bundle and RuntimeUnavailable when its engine
        is not installed.
        """
        opened = Bundle.open(bundle)
        return cls.of(opened.manifest, open_runtime(opened, runtime, threads), low_memory=low_memory)

    @classmethod
    def of(
        cls, manifest: Manifest, runtime: Runtime, *, solver: Solver | None = None, low_memory: bool = True
    ) -> "Inpainter":
        """Make an `Inpainter` of a runtime that is open already.

        Its solver (None: the manifest's own) and default options are those of a bundle's manifest.
        """
        spec, defaults = manifest.scheduler, manifest.defaults
        listed = Schedule(spec.start, spec.coefficients)
        return cls(
            runtime,
            resolution=manifest.resolution,
            latent_size=manifest.latent_size,
            solver=solver or Listed(spec.solver, spec.noise(), listed, defaults.steps, defaults.strength),
            defaults=InpaintOptions(**asdict(defaults)),
            low_memory=low_memory,
        )

    def __call__(
        self,
        photo: Source,
        mask: Source | Mask,
        *,
        progress: OnProgress | None = None,
        noise: NoiseSource | None = None,
        **options: Any,
    ) -> Image.Image:
        """Fill the mask of one photo.

        `photo`, `mask`: a path, the bytes of a file, a Pillow image or a uint8 array, of equal size. The
        photo may also be one that `read_photo` gave, for one edit: its pixels are written into.
        `options` are the fields of `InpaintOptions`. `progress(done, total)` counts graph runs; returning
        False stops with Cancelled. `noise` replaces the seeded generator. Returns a picture of the photo's
        size (published mode: the model's) and kind (L, LA, RGB, RGBA). Raises InvalidInput for input that
        cannot be used.
        """
        return self.batch([photo], [mask], progress=progress, noise=noise, **options)[0]

    def batch(
        self,
        photos: Sequence[Source],
        masks: Sequence[Source | Mask],
        *,
        progress: OnProgress | None = None,
        noise: NoiseSource | None = None,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> list[Image.Image]:
        """Fill several photos with one set of options, each graph loaded once a pass for all of them.

        Portable: every photo gets what it would get alone. Published: one batch, its draws made together.
        `on_step(index, latents)` sees the latents after each step, one hole after another; second passes
        (`refine`) come last. The rest is as for one photo.
        """
        chosen = self.options(**options)
        if len(photos) != len(masks) or not photos:
            raise InvalidInput(f"got {len(photos)} photos and {len(masks)} masks; expected as many of each")
        kind = PublishedEdit if chosen.mode == "published" else PortableEdits
        plans: list[PublishedEdit | PortableEdits] = []
        for source, mask in zip(photos, masks, strict=True):
            photo = read_photo(source)
            hole = read_mask(mask, photo, MaskOptions(chosen.polarity)).hole
            plans.append(kind.plan(photo, hole, (self.resolution, self.latent_size), chosen))
        edits = [edit for plan in plans for edit in plan.edits]
        draws = self._draws(len(edits), chosen, noise)
        first = make_schedule(self.solver, chosen.steps, chosen.strength)
        second = refining(first, self.solver.noise.alpha_bar(), chosen.refine)
        settings = Settings(first, second, chosen.guidance, self.low_memory)
        ends = iter(run_passes(self.runtime, edits, draws, settings, progress, on_step))
        return [plan.finish([next(ends) for _ in plan.edits]) for plan in plans]

    def _draws(self, batch: int, options: InpaintOptions, noise: NoiseSource | None) -> Draws:
        """Draw the noise of a batch.

        Published: over the whole batch. Portable: the same numbers for every hole, and for both encodes.
        """
        if options.mode == "published":
            source = noise or TorchNoise(options.seed)
            return Draws.take(source, batch, self.latent_size, options.noise_offset)
        source = noise or PortableNoise(options.seed)
        draws = Draws.take(source, 1, self.latent_size, options.noise_offset)
        return replace(draws, image=draws.masked_image).repeated(batch)

    def options(self, **options: Any) -> InpaintOptions:
        """Return the defaults with these fields replaced.

        Raises InvalidInput for an unknown or impossible one.
        """
        for name in options:
            if name not in OPTION_NAMES:
                raise InvalidInput(f"there is no option {name!r}; options are {', '.join(OPTION_NAMES)}")
        return replace(self.defaults, **options)
