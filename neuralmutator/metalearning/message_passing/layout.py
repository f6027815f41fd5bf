"""How the parameters of rules lie in one vector, in the published order."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Loss = Literal["squared", "cross-entropy"]
Tree = dict[str, dict[str, jax.Array]]
Layers = tuple[jax.Array, ...]

Start = Callable[[jax.Array], tuple[Layers, Layers]]
"""``(key) -> weights f32[in, out] and biases f32[out] of every layer``."""

FIXED = ("norm", "mean", "zero")  # measured once by `Agents.calibrate`, not trained


class Plan(NamedTuple):
    """What shapes the program."""

    sizes: tuple[int, ...]
    activation: str
    loss: Loss
    message: int
    memory: dict[str, int]  # of each agent
    rule: dict[str, str]  # whose rule each agent follows
    shapes: dict[tuple[str, str], tuple[int, ...]]  # of every array, in the published order
    std: float
    start: Start


def lay_out(
    sizes: tuple[int, ...],
    activation: str,
    loss: Loss,
    shared: bool,
    message: int,
    hidden: int,
    widths: tuple[int, int],
    std: float,
    start: Start,
) -> Plan:
    """Where the arrays of all agents lie, for the arguments of `agents`."""
    shapes: dict[tuple[str, str], tuple[int, ...]] = {}
    memory, rules = {}, {}

    def rule(name: str, seen: int, size: int) -> None:
        arrays: dict[str, tuple[int, ...]] = {}
        for gate in "ur":
            arrays |= {gate + "x": (seen, size), gate + "c": (size, size), gate + "b": (size,)}
        arrays["b"] = (size,)
        for part, width in (("f", seen), ("g", size)):
            arrays |= {part + "1": (width, widths[0]), part + "1b": (widths[0],), part + "2": widths}
            arrays |= {part + "2b": (widths[1],), part + "3": (widths[1], size)}
        shapes.update({(f"rule {name}", array): shape for array, shape in arrays.items()})

    def agent(name: str, kind: str, looks: int, incoming: int, changes: bool = False) -> None:
        """One that looks at so many numbers beside a message of `incoming`; `kind` is whose rule it follows."""
        shapes.update({(name, array): (looks + 1,) for array in ("norm", "mean")})
        memory[name], rules[name] = changes + hidden + message, f"rule {kind}"
        # Rules that weights and biases share stand at the end, others with the first agent that follows them.
        if not (shared and changes) and (f"rule {kind}", "b") not in shapes:
            rule(kind, looks + incoming, memory[name])
        if changes:
            shapes.update({(name, "scale"): (), (name, "zero"): ()})

    layers = len(sizes) - 1
    for layer in range(layers):
        for kind in ("weights", "biases"):
            agent(f"{kind} {layer}", kind if shared else f"{kind} {layer}", 2, message, changes=True)
        if layer < layers - 1:
            agent(f"activation {layer}", "activation" if shared else f"activation {layer}", 1, message)
    if loss == "cross-entropy":
        agent("softmax", "softmax", 4, message)
    agent("loss", "loss", 3, 1)
    if shared:
        for kind in ("weights", "biases"):
            rule(kind, 2 + message, 1 + hidden + message)
    return Plan(sizes, activation, loss, message, memory, rules, shapes, std, start)


def unpack(plan: Plan, params: jax.Array) -> Tree:
    """Arrays by agent and name, of parameters f32[P].

    Raises:
        ValueError: if there are more or fewer parameters.
    """
    lengths = [math.prod(shape) for shape in plan.shapes.values()]
    if params.shape != (sum(lengths),):
        raise ValueError(f"params must have shape ({sum(lengths)},), got {params.shape}")
    tree: Tree = {}
    parts = jnp.split(params, np.cumsum(lengths)[:-1])
    for ((agent, name), shape), part in zip(plan.shapes.items(), parts, strict=True):
        tree.setdefault(agent, {})[name] = part.reshape(shape)
    return tree


def pack(plan: Plan, tree: Tree) -> jax.Array:
    """The inverse of `unpack`: f32[P]."""
    return jnp.concatenate([tree[agent][name].ravel() for agent, name in plan.shapes])


def fresh(plan: Plan, key: jax.Array) -> Tree:
    """Glorot's uniform matrices from one draw; gates closed for the past (biases -1), as published."""
    noise = unpack(plan, jax.random.uniform(key, (sum(map(math.prod, plan.shapes.values())),), minval=-1.0))
    constants = {"norm": 1.0, "ub": -1.0, "rb": -1.0, "scale": plan.std / 5}
    for agent, name in plan.shapes:
        array = noise[agent][name]
        scale = math.sqrt(6 / sum(array.shape)) if array.ndim == 2 else 0.0
        noise[agent][name] = array * scale if scale else jnp.full_like(array, constants.get(name, 0.0))
    return noise


def fused_rules(plan: Plan, tree: Tree) -> Tree:
    """The same rules in fewer, larger matrices: what is multiplied by one array stands side by side."""
    fused = dict(tree)
    for name in set(plan.rule.values()):
        rule = tree[name]
        fused[name] = dict(
            x=jnp.concatenate([rule["ux"], rule["rx"], rule["f1"]], axis=1),
            b=jnp.concatenate([rule["ub"], rule["rb"], rule["f1b"]]),
            gates=jnp.concatenate([rule["uc"], rule["rc"]], axis=1),
            out=jnp.concatenate([rule["f3"], rule["g3"]]),
            out_b=rule["b"],
            **{part: rule[part] for part in ("f2", "f2b", "g1", "g1b", "g2", "g2b")},
        )
    return fused
