"""An evolution as data: nested dataclasses, which become the options of the command and config.json."""

import dataclasses
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import tyro

from neuralmutator.runs.errors import UserError
from neuralmutator.runs.serialise import check_types


@dataclass(frozen=True)
class PolicyConfig:
    """The network that acts."""

    kind: Literal["auto", "flexible", "mlp", "recurrent", "cnn"] = "auto"
    """flexible: evolving layers and neurons; mlp: fixed; recurrent: with memory; cnn: for images of at least 16 x 16
    pixels; auto: cnn for such images, else flexible with the dual mutators and mlp with all others."""
    hidden: tuple[int, ...] = (32,)
    """mlp: widths of the hidden layers; recurrent: the first is the size of the memory."""
    max_layers: int = 2
    """flexible: most hidden layers."""
    max_width: int = 64
    """flexible: most neurons in a hidden layer."""


@dataclass(frozen=True)
class MutatorConfig:
    """Details of the mutator."""

    positive: bool = True
    """dual mutators: keep strategy scales positive (log space)."""
    scale: float = 1.0
    """dual mutators: factor on the correction and exploration scales of a fresh genome."""
    scale_rate: float = 0.0
    """dual mutators: log-normal mutation of the strategy genes, needs `positive`."""
    p_gauss: float = 0.95
    """dual-mixture: probability of the Gaussian escape in a fresh genome."""
    gauss_scale: float = 1.0
    """dual-mixture: std of the Gaussian escape in a fresh genome."""
    meta_rate: float = 0.1
    """dual mutators: share of its rewriting of itself that a child takes."""
    chunk_size: int = 64
    """dual mutators: numbers rewritten together."""
    std: float | None = None
    """All but the dual mutators: (first) step size; the mutator's own default if not given."""
    learning_rate: float = 0.3
    """self-adaptive: std of the log step size's own mutation."""
    spread: float | None = None
    """heavy-tailed, remembering: std of the log of a birth's step size; the mutator's own default if not given."""
    slots: int = 8
    """remembering: how many ancestors a genome remembers."""
    keep: float = 0.01
    """remembering: probability that a parent is remembered."""
    leap: float = 0.1
    """remembering: probability that a child is a fresh policy; its parent is remembered."""
    back: float = 0.1
    """remembering: probability that a child is a policy that its parent remembers."""
    exponent: float = 0.25
    """auto, safe: how much the weights on which the outputs depend most are spared."""
    inertia: float = 0.5
    """auto, safe, perceptive, momentum: share of its parent's own last change that a child adds."""
    rate: float = 0.3
    """perceptive, layerwise, derandomised: of the heritable shape's own change."""
    fixed: Literal["weights", "outputs"] = "weights"
    """perceptive: what the size of a change is measured by: the weights, or the outputs of the policy."""
    factor: float = 0.5
    """differential: where a child of two parents starts, 0 being the first and 1 the second."""


@dataclass(frozen=True)
class SpeciesConfig:
    """Details of the learned speciation."""

    threshold: float = 0.5
    """Two tags closer than this times sqrt(16) are alike."""
    target: int | None = None
    """Wanted number of species; steers the threshold."""
    sharing: Literal["ranks", "fitness", "none"] = "ranks"
    """What crowding costs: rank or fitness over sqrt(species size), or nothing."""
    warm_start_steps: int = 300
    """Adam steps that the first compatibility net is trained for."""


@dataclass(frozen=True)
class MigrationConfig:
    """What goes from island to island."""

    every: int = 20
    """Generations from one migration to the next; 0: never."""
    migrants: int = 1
    """Members that leave an island, copies of its best."""
    topology: Literal["ring", "random"] = "ring"
    """Where they go to: the next island, or one as far away as is drawn for all."""


@dataclass(frozen=True)
class Config:
    """A run of the Neural Mutator; the defaults are the default preset."""

    env: tyro.conf.Positional[str]
    """Name of an environment of ours or of gymnax; `neuralmutator envs` lists them."""
    population_size: int = 80
    """Members of the population; of all islands together."""
    islands: int = 1
    """Populations side by side, which send each other their best now and then."""
    generations: int = 50
    """Length of the run."""
    episodes: int = 5
    """Episodes per evaluation."""
    max_steps: int | None = None
    """A time limit shorter than the environment's own."""
    algorithm: str | None = None
    """An algorithm of evosax instead of mutators, with its settings: SNES, 'SAMR_GA?std_init=0.3'; its policies have a
    fixed topology, and what is said of mutators, selection and species is not used."""
    mutator: Literal[
        "auto",
        "dual-mixture",
        "dual-corrector",
        "gaussian",
        "self-adaptive",
        "heavy-tailed",
        "remembering",
        "safe",
        "perceptive",
        "momentum",
        "layerwise",
        "derandomised",
        "differential",
    ] = "auto"
    """What rewrites a genome. auto: safe, or where that cannot be (images, a policy with memory or of evolving
    topology, Gymnasium) gaussian. In order: a network in the genome with (dual-mixture) or without (dual-corrector) a
    Gaussian escape; Gaussian noise; noise with a heritable step size; noise of heavy tails, also with a memory of
    ancestors that a lineage can go back to; noise that spares sensitive weights, and a lineage's momentum; the same,
    but a network in the genome says which weights are spared; momentum alone; a heritable shape by layer or by weight;
    the difference of two parents."""
    speciation: bool = False
    """Whether genomes decide by their own compatibility net whom they cross with."""
    crossover_rate: float = 0.3
    """Probability that a child has two parents, where they are compatible."""
    complexity_cost: float = 0.0
    """Fitness that an active policy parameter costs."""
    elites: int = 5
    """Best members that go on unchanged."""
    tournament: int = 3
    """Members that compete to become a parent."""
    truncation: float | None = None
    """Instead of tournaments: share of the population, the best, that parents are drawn from, each as often."""
    structural_rate: float = 0.05
    """First probability of a structural mutation; heritable."""
    final_decay: float = 0.03
    """Share of a rewriting that a child takes in the last generation; in the first it is 1."""
    decay: Literal["linear", "geometric"] = "linear"
    """Whether this share falls by the same amount or by the same factor in every generation."""
    ablation: Literal["none", "shuffled", "frozen", "mean"] = "none"
    """How the heredity of mutators is broken, to see what it is worth: every member gets another's mutator, its
    founder's, or the mean of all."""
    recombine: int | None = None
    """Children rewrite the weighted mean of the best so many members, instead of parents that are selected and crossed;
    for policies of fixed topology."""
    host: bool = False
    """Play in Gymnasium instead of JAX: for environments that have no JAX version."""
    common_random_numbers: bool = True
    """Whether all members of a generation play the same episodes."""
    hall: int = 8
    """Members of the hall of fame, re-evaluated every generation; 0: the champion is the luckiest evaluation."""
    hall_episodes: int | None = None
    """Episodes per re-evaluation in the hall of fame; 20 if not given, but no more than `episodes` where they are seen
    as images, which cost a thousand times as much."""
    hall_centre: bool = False
    """Whether the mean of the hall of fame is a candidate for the champion, too."""
    seed: int = 0
    """Seed of everything random in the run."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    mutation: MutatorConfig = field(default_factory=MutatorConfig)
    species: SpeciesConfig = field(default_factory=SpeciesConfig)
    migration: MigrationConfig = field(default_factory=MigrationConfig)


MOST_NEURONS, MOST_WEIGHTS = 2**16, 2**26  # of a policy; beyond lies what was mistyped
DUAL = {"positive", "scale", "scale_rate", "meta_rate", "chunk_size"}
MUTATION: dict[str, set[str]] = {
    "auto": {"std", "exponent", "inertia"},
    "dual-mixture": DUAL | {"p_gauss", "gauss_scale"},
    "dual-corrector": DUAL,
    "gaussian": {"std"},
    "self-adaptive": {"std", "learning_rate"},
    "heavy-tailed": {"std", "spread"},
    "remembering": {"std", "spread", "slots", "keep", "leap", "back"},
    "safe": {"std", "exponent", "inertia"},
    "perceptive": {"std", "rate", "inertia", "fixed"},
    "momentum": {"std", "inertia"},
    "layerwise": {"std", "rate"},
    "derandomised": {"std", "rate"},
    "differential": {"std", "factor"},
}
"""Fields of `MutatorConfig` that each mutator uses."""

ALGORITHM = {
    *("env", "population_size", "generations", "episodes", "max_steps", "host", "common_random_numbers", "seed"),
    *("hall", "hall_episodes", "hall_centre", "policy", "algorithm", "islands", "migration"),
}
"""Fields of `Config` that an algorithm of evosax uses."""

POLICY: dict[str, set[str]] = {
    "flexible": {"max_layers", "max_width"},
    "mlp": {"hidden"},
    "recurrent": {"hidden"},
    "cnn": set(),
}
"""Fields of `PolicyConfig` that each kind of policy uses; auto is one of the others, see `usual_kind`."""


def usual_kind(config: Config) -> Literal["flexible", "mlp"]:
    """The kind of policy that `auto` is where no images are seen: the dual mutators alone evolve a topology."""
    return "flexible" if config.algorithm is None and config.mutator.startswith("dual") else "mlp"


def check(config: Config) -> None:
    """Sees whether a configuration can be one, before anything is built.

    Raises:
        UserError: naming the field, its value and what is allowed; also for an option that would be ignored.
    """
    check_types(config)
    for name, value, low, high in (
        ("generations", config.generations, 1, None),
        ("islands", config.islands, 1, None),
        ("seed", config.seed, 0, 2**32 - 1),
        ("final_decay", config.final_decay, 0, 1),
    ):
        if not low <= value or (high is not None and value > high):
            allowed = f"be at least {low}" if high is None else f"lie between {low} and {high}"
            raise UserError(f"{name} must {allowed}, got {value}")
    if config.population_size % config.islands:
        raise UserError(
            f"population_size must be a multiple of the {config.islands} islands, got {config.population_size}"
        )
    if config.tournament < 1:
        raise UserError(f"tournament must be at least 1, got {config.tournament}")
    if config.truncation is not None and not 0 < config.truncation <= 1:
        raise UserError(f"truncation must lie in (0, 1], got {config.truncation}")
    if config.hall < 0 or config.hall == 1:
        raise UserError(f"hall must be 0 or at least 2, got {config.hall}")
    if config.decay == "geometric" and config.final_decay == 0:
        raise UserError("decay must be linear, or geometric with a final_decay above 0, got 'geometric'")
    kind = usual_kind(config) if config.policy.kind == "auto" else config.policy.kind
    ignored = [
        *_ignored("mutation", config.mutation, MUTATION[config.mutator], f"mutator {config.mutator}"),
        *_ignored("policy", config.policy, POLICY[kind] | {"kind"}, f"policy.kind {config.policy.kind}"),
    ]
    if not config.speciation:
        ignored += _ignored("species", config.species, set(), "a run without speciation")
    if config.islands == 1:
        ignored += _ignored("migration", config.migration, set(), "a run without islands")
    if config.recombine is not None:
        others = {field.name for field in dataclasses.fields(Config)} - {"tournament", "truncation", "crossover_rate"}
        ignored += _ignored("", config, others, f"recombine {config.recombine}", Config(config.env))
    if config.algorithm is not None:
        ignored += _ignored("", config, ALGORITHM, f"algorithm {config.algorithm}", Config(config.env))
    if ignored:
        raise UserError(ignored[0])


def check_size(policy: PolicyConfig) -> None:
    """Sees whether the policy's layers have a size that can be built.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    for name, widths in (("hidden", policy.hidden), ("max_width", (policy.max_width,) * min(policy.max_layers, 2))):
        if any(width > MOST_NEURONS for width in widths) or sum(a * b for a, b in pairwise(widths)) > MOST_WEIGHTS:
            raise UserError(
                f"policy.{name} must be at most {MOST_NEURONS:,} neurons in a layer and {MOST_WEIGHTS:,} weights "
                f"between two, got {getattr(policy, name)}"
            )


def without_unused(config: Config, preset: Config) -> Config:
    """The configuration with details of the preset's mutator left out that another mutator has no use for."""
    used = MUTATION.get(config.mutator, set())
    mutation: dict[str, Any] = {
        field.name: field.default
        for field in dataclasses.fields(MutatorConfig)
        if field.name not in used and getattr(config.mutation, field.name) == getattr(preset.mutation, field.name)
    }
    unused = not config.speciation and config.species == preset.species
    species: dict[str, Any] = {"species": SpeciesConfig()} if unused else {}
    return dataclasses.replace(config, mutation=dataclasses.replace(config.mutation, **mutation), **species)


def _ignored(prefix: str, details: Any, used: set[str], by: str, plain: Any = None) -> list[str]:
    """What is said of options that differ from the plain ones (by default the defaults) and are not used."""
    plain = type(details)() if plain is None else plain
    return [
        f"{prefix}{'.' if prefix else ''}{field.name} {getattr(details, field.name)!r} would be ignored: "
        f"{by} does not use it"
        for field in dataclasses.fields(details)
        if field.name not in used and getattr(details, field.name) != getattr(plain, field.name)
    ]
