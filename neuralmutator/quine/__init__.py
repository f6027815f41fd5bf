"""Networks that output their own weights."""

from neuralmutator.quine.classifier import Auxiliary, Images, auxiliary, paper_epoch, scale_free_epoch
from neuralmutator.quine.measures import Replication, margin, quotient, replication
from neuralmutator.quine.network import (
    Encoding,
    Quine,
    fourier_features,
    from_network,
    leaky_relu,
    random_projection,
    raw_coordinate,
    vanilla,
    weightwise,
)
from neuralmutator.quine.numbering import Numbered, best_numbering, numbered
from neuralmutator.quine.population import soup
from neuralmutator.quine.replication_fitness import fitness
from neuralmutator.quine.search import Exact, continued, exact, homeostatic, in_place, newton, plain
from neuralmutator.quine.stability import (
    FixedPoint,
    Kind,
    distance_after,
    fixed_point,
    noisy,
    radial_multiplier,
    shuffled,
    spectrum,
    zeroed,
)
from neuralmutator.quine.training import OPTIMIZERS, Learning, gradient, hill_climb, learning, regeneration, start

__all__ = [
    "OPTIMIZERS",
    "Auxiliary",
    "Encoding",
    "Exact",
    "FixedPoint",
    "Images",
    "Kind",
    "Learning",
    "Numbered",
    "Quine",
    "Replication",
    "auxiliary",
    "best_numbering",
    "continued",
    "distance_after",
    "exact",
    "fitness",
    "fixed_point",
    "fourier_features",
    "from_network",
    "gradient",
    "hill_climb",
    "homeostatic",
    "in_place",
    "leaky_relu",
    "learning",
    "margin",
    "newton",
    "noisy",
    "numbered",
    "paper_epoch",
    "plain",
    "quotient",
    "radial_multiplier",
    "random_projection",
    "raw_coordinate",
    "regeneration",
    "replication",
    "scale_free_epoch",
    "shuffled",
    "soup",
    "spectrum",
    "start",
    "vanilla",
    "weightwise",
    "zeroed",
]
