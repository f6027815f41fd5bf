"""Films: MP4 where there is an encoder, else GIF."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image


def check_video(path: str | Path, fps: int) -> None:
    """Raises ValueError unless `path` ends in .mp4 or .gif and `fps` is a whole number of at least 1."""
    if Path(path).suffix not in (".mp4", ".gif"):
        raise ValueError(f"path must end in .mp4 or .gif, got {path}")
    if not isinstance(fps, int) or fps < 1:
        raise ValueError(f"fps must be a whole number of at least 1, got {fps!r}")


def write_video(film: Iterator[np.ndarray], path: str | Path, fps: int, gif_reduction: int = 1) -> Path:
    """Writes frames u8[height, width, 3] of even sides.

    Args:
        film: the frames, at least one.
        path: ends in .mp4 or .gif.
        fps: frames per second.
        gif_reduction: how many pixels become one in a GIF, along each side.

    Returns:
        The path of the film: a GIF, too, if an MP4 was wanted and there is no encoder.

    Raises:
        ValueError: see `check_video`.
        OSError: if the film cannot be written.
    """
    check_video(path, fps)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mp4" and (encoder := _encoder()):
        _encode(encoder, film, path, fps)
        return path
    path = path.with_suffix(".gif")
    small = (Image.fromarray(picture).reduce(gif_reduction) for picture in film)
    delay = max(20, round(100 / fps) * 10)  # below 20 ms browsers fall back to 100
    next(small).save(path, save_all=True, append_images=small, duration=delay, loop=0)
    return path


def _encoder() -> str | None:
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:  # there is none for this machine
        return None


def _encode(encoder: str, film: Iterator[np.ndarray], path: Path, fps: int) -> None:
    # Not by imageio_ffmpeg.write_frames: its `preexec_fn` makes a fork, which may deadlock beside JAX's threads.
    first = next(film)
    size = f"{first.shape[1]}x{first.shape[0]}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), "-i", "-"]
    target = ["-c:v", "libx264", "-preset", "fast", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [encoder, "-y", "-loglevel", "error", *source, *target, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended early, and says why
            for picture in chain([first], film):
                process.stdin.write(picture.tobytes())
        complaint = process.communicate()[1].decode(errors="replace")
    if process.returncode:
        raise OSError(f"cannot write {path}: {complaint}")
