"""What can be chosen about a run's pictures."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt


@dataclass(frozen=True, kw_only=True)
class FiguresConfig:
    """The `figures` group.

    Args:
        palette: "default" stays readable in grey and for the colour-blind; "seed" is the seed notebook's
            colour maps (brg for classes, gnuplot2 for the manifold).
        manifold_size: images along each axis of the final manifold.
        epoch_manifold_size: the same for the manifold drawn after every epoch; 0 draws none.
        max_points: codes in a scatter plot, and images encoded for all the pictures together.
        max_traversals: latent dimensions traversed, the most active ones first.
        explorer: also make explorer.html, a page in which the decoder runs as the pointer moves over the codes.
        film: keep what every epoch's manifold and codes look like, and make film.gif of it.
        seed: which images are picked and which latents are drawn; the same for every run, so that runs
            can be compared picture by picture.
    """

    palette: Literal["default", "seed"] = "default"
    manifold_size: Annotated[int, Ge(2), Le(100)] = 40
    epoch_manifold_size: Annotated[int, Ge(0), Le(100)] = 20
    max_points: Annotated[int, Ge(1)] = 10_000
    max_traversals: Annotated[int, Ge(1), Le(100)] = 10
    explorer: bool = True
    film: bool = True
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
