"""The film of an episode: as many frames as steps, the game on the left, the network on the right."""

import subprocess

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence

from neuralmutator.envs import action_names, observation_names
from neuralmutator.envs.registry import ROWS
from neuralmutator.fitness.host import Recording
from neuralmutator.plots.replay import WIDTH, replay_video

STEPS = 7


def make_recording(steps=STEPS, discrete=True, layers=((11,), (9,)), observation=(4,), outputs=2):
    random = np.random.default_rng(0)
    frames = np.full((steps, 80, 120, 3), 255, np.uint8)
    for t in range(steps):
        frames[t, 20:60, 10 * t : 10 * t + 30] = (200, 30, 30)  # something that moves
    activations = tuple(random.normal(size=(steps, *shape)).astype(np.float32) for shape in (*layers, (outputs,)))
    observations = random.normal(size=(steps, *observation)).astype(np.float32)
    if len(observation) == 3:
        observations = random.integers(0, 256, (steps, *observation), dtype=np.uint8)
    actions = activations[-1].argmax(1) if discrete else activations[-1].clip(-1, 1)
    return Recording(frames, observations, actions, np.ones(steps), activations)


def film(recording, path, **options):
    """The path that was written and its frames, f64[T, height, width, 3]."""
    names = [f"x{i}" for i in range(recording.observations[0].size)]
    actions = [f"a{i}" for i in range(recording.activations[-1].shape[1])]
    written = replay_video(recording, names, actions, "A title", path, **options)
    if written.suffix == ".gif":
        frames = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(written))])
    else:
        count, _ = imageio_ffmpeg.count_frames_and_secs(written)
        decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", written, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        raw = subprocess.run(decode, capture_output=True, check=True).stdout
        frames = np.frombuffer(raw, np.uint8).reshape(count, -1, WIDTH, 3)
    return written, frames.astype(float)


def halves(frames):
    middle = frames.shape[2] // 2
    return frames[:, :, :middle], frames[:, :, middle:]


def test_a_film_has_a_frame_for_every_step_and_two_living_halves(tmp_path):
    path, frames = film(make_recording(), tmp_path / "folder" / "film.mp4", fps=12)
    assert path == tmp_path / "folder" / "film.mp4" and len(frames) == STEPS
    assert imageio_ffmpeg.count_frames_and_secs(path)[1] == pytest.approx(STEPS / 12, abs=0.01)
    for half in halves(frames):
        assert half.std(axis=(1, 2, 3)).min() > 5  # not one colour
        assert np.abs(np.diff(half, axis=0)).max(axis=(1, 2, 3)).min() > 40  # every step moves something


def test_without_an_encoder_a_gif_is_written(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    path, frames = film(make_recording(), tmp_path / "film.mp4")
    assert path == tmp_path / "film.gif" and not (tmp_path / "film.mp4").exists()
    assert len(frames) == STEPS and all(half.std() > 5 for half in halves(frames))


def test_what_the_encoder_complains_of_is_said(tmp_path):
    (tmp_path / "film.mp4").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*film\.mp4.*directory"):
        film(make_recording(), tmp_path / "film.mp4")


def test_a_gif_can_be_asked_for(tmp_path):
    path, frames = film(make_recording(discrete=False), tmp_path / "film.gif", fps=20)
    assert path == tmp_path / "film.gif" and len(frames) == STEPS
    assert Image.open(path).info["duration"] == 50


def test_the_chosen_action_is_marked(tmp_path):
    recording = make_recording()
    same = recording._replace(
        frames=recording.frames[:1].repeat(2, 0),
        observations=recording.observations[:1].repeat(2, 0),
        rewards=np.zeros(2),
        activations=tuple(x[:1].repeat(2, 0) for x in recording.activations),
    )
    _, (first, second) = film(same._replace(actions=np.array([0, 1])), tmp_path / "film.mp4")
    dark = [(frame[:, WIDTH * 3 // 4 :] < 80).all(-1).sum(1) > 60 for frame in (first, second)]  # rows of the mark
    above, below = (np.flatnonzero(rows) for rows in dark)
    assert 15 < above.size < 35 and 15 < below.size < 35 and below.mean() - above.mean() > 30


def test_neurons_are_coloured_by_the_sign_of_their_activation(tmp_path):
    recording = make_recording(steps=2, layers=((30,),))
    positive = np.ones((2, 30), np.float32) * np.array([[1.0], [-1.0]], np.float32)
    _, frames = film(recording._replace(activations=(positive, recording.activations[1])), tmp_path / "film.mp4")
    red, blue = (frames[t, ..., 0] - frames[t, ..., 2] for t in (0, 1))
    middle = slice(frames.shape[2] * 6 // 10, frames.shape[2] * 9 // 10)
    assert (red[:, middle] > 60).sum() > 3 * (blue[:, middle] > 60).sum()
    assert (blue[:, middle] < -60).sum() > 3 * (red[:, middle] < -60).sum()


def test_feature_maps_and_pictures_are_drawn(tmp_path):
    recording = make_recording(
        3, discrete=False, layers=((24, 24, 8), (6, 6, 16), (32,)), observation=(48, 48, 3), outputs=3
    )
    _, frames = film(recording, tmp_path / "film.mp4")
    assert len(frames) == 3 and halves(frames)[1].std() > 5


@pytest.mark.parametrize(("inputs", "layers", "outputs"), [(120, (256,) * 5, 40), (20_000, (3000,), 2), (3, (), 1)])
def test_every_size_of_network_finds_its_room(tmp_path, inputs, layers, outputs):
    recording = make_recording(2, layers=[(n,) for n in layers], observation=(inputs,), outputs=outputs)
    _, frames = film(recording, tmp_path / "film.mp4")
    assert len(frames) == 2 and halves(frames)[1].std() > 5


def test_a_neuron_that_is_not_finite_is_drawn_as_zero_and_leaves_the_others_their_colours(tmp_path):
    sick, well = make_recording(2), make_recording(2)
    sick.activations[0][:, :2], well.activations[0][:, :2] = (np.nan, np.inf), 0.0
    assert np.array_equal(film(sick, tmp_path / "sick.mp4")[1], film(well, tmp_path / "well.mp4")[1])
    sick.observations[:, 1] = np.inf
    assert len(film(sick, tmp_path / "blind.mp4")[1]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["one"]}, "^names must hold 4 names, got 1"),
        ({"action_names": ["one"]}, "^action_names must hold 2 names, got 1"),
        ({"path": "film.avi"}, "film.avi"),
        ({"fps": 0}, r"fps must .* got 0"),
    ],
)
def test_arguments_that_do_not_fit_are_named(tmp_path, change, message):
    arguments = {"names": list("abcd"), "action_names": list("lr"), "path": "film.mp4", "fps": 30} | change
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(ValueError, match=message):
        replay_video(make_recording(), title="title", **arguments)


def test_an_episode_without_steps_is_refused(tmp_path):
    recording = make_recording()
    empty = Recording(*(x[:0] for x in recording[:4]), tuple(x[:0] for x in recording.activations))
    with pytest.raises(ValueError, match="at least one step"):
        replay_video(empty, list("abcd"), list("lr"), "title", tmp_path / "film.mp4")


def test_names_fit_the_environments_and_number_what_is_unknown():
    for env_id, (seen, done, *_) in ROWS.items():
        assert observation_names(env_id, len(seen)) == list(seen) and action_names(env_id, len(done)) == list(done)
    assert observation_names("CartPole-v1", 3) == observation_names("Unknown-v0", 3) == ["x0", "x1", "x2"]
    assert action_names("Unknown-v0", 2) == ["a0", "a1"]


@pytest.mark.parametrize("env_id", [name for name in ROWS if not name.startswith(("LunarLander", "CarRacing"))])
def test_names_have_the_sizes_of_the_real_environment(env_id):
    env = gymnasium.make(env_id)
    seen, done, *_ = ROWS[env_id]
    outputs = getattr(env.action_space, "n", None) or env.action_space.shape[0]
    assert (len(seen), len(done)) == (env.observation_space.shape[0], outputs)
