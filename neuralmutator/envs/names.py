"""What the numbers of an environment mean: names of observations and actions, for pictures."""

NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "CarRacing-v3": (
        (),  # a picture
        ("steering", "gas", "brake"),
    ),
    "CarRacingDiscrete-v3": (
        (),
        ("coast", "right", "left", "gas", "brake"),
    ),
    "CartPole-v1": (
        ("cart position", "cart velocity", "pole angle", "pole velocity"),
        ("left", "right"),
    ),
    "Acrobot-v1": (
        ("cos θ₁", "sin θ₁", "cos θ₂", "sin θ₂", "velocity θ₁", "velocity θ₂"),
        ("torque −1", "torque 0", "torque +1"),
    ),
    "Pendulum-v1": (
        ("cos θ", "sin θ", "velocity θ"),
        ("torque",),
    ),
    "MountainCar-v0": (
        ("position", "velocity"),
        ("left", "coast", "right"),
    ),
    "MountainCarContinuous-v0": (
        ("position", "velocity"),
        ("force",),
    ),
    "LunarLander-v3": (
        ("x", "y", "velocity x", "velocity y", "angle", "spin", "left leg", "right leg"),
        ("coast", "left engine", "main engine", "right engine"),
    ),
    "LunarLanderContinuous-v3": (
        ("x", "y", "velocity x", "velocity y", "angle", "spin", "left leg", "right leg"),
        ("main engine", "side engines"),
    ),
}


def observation_names(env_id: str, size: int) -> list[str]:
    """Names of `size` inputs; x0, x1, … where `NAMES` has none that fit."""
    names = NAMES.get(env_id, ((), ()))[0]
    return list(names) if len(names) == size else [f"x{i}" for i in range(size)]


def action_names(env_id: str, size: int) -> list[str]:
    """Names of `size` outputs; a0, a1, … where `NAMES` has none that fit."""
    names = NAMES.get(env_id, ((), ()))[1]
    return list(names) if len(names) == size else [f"a{i}" for i in range(size)]
