"""``neuralmutator replay RUN``: a video of the champion playing, beside its live activations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from neuralmutator.cli.options import OUTPUT, prepare_jax
from neuralmutator.runs.errors import UserError, construction


@dataclass(frozen=True)
class Replay:
    """Film the champion of a run: the game on the left, its activations on the right.

    Gymnasium draws, or MuJoCo for the tasks of brax and MuJoCo Playground.
    """

    run: tyro.conf.Positional[Path]
    """The run folder."""
    output: Annotated[Path | None, OUTPUT] = None
    """The film; replay.mp4 in the run folder if not given (a GIF where there is no encoder). For tasks of brax it may
    end in .html: a page to be turned with the mouse."""
    seed: int = 10_000
    """Seed of the episode."""
    max_steps: int | None = None
    """Ends the film early."""
    fps: int = 30
    """Frames per second."""


def replay(options: Replay) -> int:
    """Runs the command; exit status 0."""
    for name, least in (("max_steps", 1), ("fps", 1), ("seed", 0)):
        if (value := getattr(options, name)) is not None and value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
    page = options.output is not None and options.output.suffix == ".html"
    if options.output is not None and options.output.suffix not in (".mp4", ".gif", ".html"):
        raise UserError(f"output must end in .mp4 or .gif, or in .html for tasks of brax, got {options.output}")
    prepare_jax()
    from neuralmutator.envs import action_names, is_simulation, observation_names
    from neuralmutator.fitness.host import record
    from neuralmutator.plots.replay import replay_video
    from neuralmutator.runs.builders import build_policy
    from neuralmutator.runs.champion import read_champion
    from neuralmutator.runs.config import Config
    from neuralmutator.runs.folder import RunFolder, write_text
    from neuralmutator.runs.simulation import record_simulation, simulation_page

    folder = RunFolder(options.run)
    config = folder.config(Config, "evolution")
    with construction():
        policy = build_policy(config)
    champion = read_champion(folder, policy)
    output = options.output or folder.path / "replay.mp4"
    wanted = config.env, policy, champion, options.seed, options.max_steps
    with construction():
        if page:
            write_text(output, simulation_page(*wanted))
            print(output)
            return 0
        recording = (record_simulation if is_simulation(config.env) else record)(*wanted)
    names = observation_names(config.env, recording.observations[0].size)
    actions = action_names(config.env, recording.activations[-1].shape[1])
    print(replay_video(recording, names, actions, config.env, output, fps=options.fps))
    return 0
