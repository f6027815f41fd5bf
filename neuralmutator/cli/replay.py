"""``neuralmutator replay RUN``: a video of the champion playing, beside its live activations."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from neuralmutator.envs import action_names, observation_names
from neuralmutator.fitness.host import record
from neuralmutator.plots.replay import replay_video
from neuralmutator.runs.config import build_policy
from neuralmutator.runs.folder import RunFolder


@dataclass(frozen=True)
class Replay:
    """Film the champion of a run in Gymnasium's renderer: the game on the left, its activations on the right."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    output: Path | None = None
    """The film; replay.mp4 in the run folder if not given (a GIF where there is no encoder)."""
    seed: int = 10_000
    """Seed of the episode."""
    max_steps: int | None = None
    """Ends the film early."""
    fps: int = 30


def replay(options: Replay) -> int:
    """Runs the command; exit status 0."""
    for name in ("max_steps", "fps"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if options.output is not None and options.output.suffix not in (".mp4", ".gif"):
        raise ValueError(f"output must end in .mp4 or .gif, got {options.output}")
    folder = RunFolder(options.run)
    config, champion = folder.config, folder.load_champion()
    recording = record(config.env, build_policy(config), champion, options.seed, options.max_steps)
    output = options.output or folder.path / "replay.mp4"
    names = observation_names(config.env, recording.observations[0].size)
    actions = action_names(config.env, recording.activations[-1].shape[1])
    print(replay_video(recording, names, actions, config.env, output, fps=options.fps))
    return 0
