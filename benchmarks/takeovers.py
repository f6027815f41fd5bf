"""Do replicators take a soup over? Planted ones, a palindrome beside them, and ones that arise by themselves.

    python benchmarks/takeovers.py
    python benchmarks/takeovers.py --paper 4     # the paper's language at its size: 15 minutes or more a seed

All random numbers are those of the reference program, so that any line can be checked with it.
"""

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from scipy import stats

import neuralmutator as nm
from neuralmutator import life, measures

ENGINE = np.frombuffer(bytes([0, 0x40]) + b"[].>}[.>}]" + b" " * 52, np.uint8)
"""A replicator of 12 bytes in `bff`: it copies itself and any body to the other half, until it reads its own null."""

PALINDROME = np.frombuffer(b"[[{.>]-]" + b" " * 48 + b"]-]>.{[[", np.uint8)
"""It copies what stands on its left, in `bff_noheads`: mostly not itself."""


@dataclass(frozen=True)
class Options:
    """What is measured."""

    programs: int = 8192
    planted: int = 5
    """Seeds with the planted engine."""
    copies: int = 1
    """Of the engine; a single one is sometimes overwritten before it has met anybody whom it can copy itself to."""
    palindromes: int = 10
    """Seeds with the planted palindrome."""
    natural: int = 8
    """Seeds of the language of four bits, without anything planted."""
    paper: int = 0
    """Seeds of the paper's language with 131,072 programs."""
    epochs: int = 600
    """Of the natural soups at most."""
    paper_epochs: int = 16_000
    engine: str = "auto"


def interval(successes: int, trials: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    low, high = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    return f"{successes} of {trials} [{low:.2f}, {high:.2f}]"


def takeover(soup: life.Soup, state: life.Programs, epochs: int, every: int = 8) -> tuple[int | None, float]:
    """The first measured epoch with an entropy above `life.TAKEOVER`, and the last entropy."""
    key = jax.random.key(0)
    run = jax.jit(lambda state: nm.rollout(soup.step, key, state, every)[0])
    entropy = 0.0
    while int(state.epoch) < epochs:
        state = run(state)
        entropy = life.high_order_entropy(state.bytes).high_order
        if entropy > life.TAKEOVER:
            return int(state.epoch), entropy
    return None, entropy


def main(options: Options) -> None:
    console, key = Console(), jax.random.key(0)

    def started(language: str, seed: int, programs: int = options.programs) -> tuple[life.Soup, life.Programs]:
        soup = life.soup(language, programs, stream=life.cubff(seed), engine=options.engine)
        return soup, soup.init(key)

    table = Table("soup", "seed", "outcome", "CPU seconds", title="Takeovers")
    for seed in range(1, options.planted + 1):
        begin = time.process_time()
        soup, state = started("bff", seed)
        state = life.plant(state, ENGINE, range(options.copies))
        state = jax.jit(lambda state, soup=soup: nm.rollout(soup.step, key, state, 40)[0])(state)
        scores = jax.jit(lambda programs, soup=soup: life.replication(soup.language, programs))(state.bytes)
        count = int(jnp.sum(scores >= life.REPLICATES))
        planted = f"bff, {options.copies} engine(s) planted"
        table.add_row(planted, str(seed), f"{count} replicators at epoch 40", _since(begin))
    for name, seeds, epochs, programs in (
        ("bff_noheads, palindrome planted", options.palindromes, 257, options.programs),
        ("bff_noheads_4bit", options.natural, options.epochs, options.programs),
        ("bff_noheads", options.paper, options.paper_epochs, 131_072),
    ):
        found = []
        for seed in range(1, seeds + 1):
            begin = time.process_time()
            soup, state = started(name.split(",")[0], seed, programs)
            if "palindrome" in name:
                state = life.plant(state, PALINDROME)
            epoch, entropy = takeover(soup, state, epochs, 64 if programs > options.programs else 8)
            found.append(epoch)
            said = f"entropy {entropy:.2f} at epoch {epoch}" if epoch else f"none by {epochs}, entropy {entropy:.2f}"
            table.add_row(name, str(seed), said, _since(begin))
        if seeds:
            table.add_row(name, "all", interval(sum(epoch is not None for epoch in found), seeds), "")
    console.print(table)
    console.print(replicators(key))


def replicators(key: jax.Array) -> Table:
    """What the measures of replication say of 256 programs each."""
    table = Table("programs", "bytes kept", "heredity", "variation", title="Who copies, how truly, with what spread")
    bff = life.get_language("bff")
    first, second, key = jax.random.split(key, 3)
    noise = jax.random.bits(first, (256, 64), jnp.uint8)
    bodies = jax.random.randint(second, (256, 64), 126, 256).astype(jnp.uint8)
    step = jax.jit(life.replicate(bff))
    engines = jnp.concatenate([jnp.broadcast_to(ENGINE[:12], (256, 12)), bodies[:, 12:]], axis=1)
    for name, parents in (("random", noise), ("the engine with 256 bodies", engines)):
        children, _ = step(key, parents)
        siblings, _ = step(key, jnp.broadcast_to(parents[0], parents.shape))
        kept = float(jnp.mean(measures.fidelity(parents, children)))
        heredity, variation = float(measures.heredity(parents, children)), float(measures.variation(siblings))
        table.add_row(name, f"{kept:.3f}", f"{heredity:.3f}", f"{variation:.3f}")
    return table


def _since(begin: float) -> str:
    return f"{time.process_time() - begin:.1f}"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
