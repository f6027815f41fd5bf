"""Surfaces from files of triangles: OBJ, PLY, GLB, STL and OFF.

A file is untrusted. What it claims to hold is compared with limits before it is parsed; nothing but the file itself is
opened (no materials, no images), and whatever else is wrong with it becomes one line.
"""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuralmutator.nca.surfaces import MOST_POSITION, MOST_VERTICES, Surface, icosphere, surface, torus_surface

KINDS = (".obj", ".ply", ".glb", ".stl", ".off")
"""Suffixes of files that are read."""

MOST_BYTES = 2**26
"""Largest file that is read."""

MOST_RAW = 6 * MOST_VERTICES
"""Most vertices, faces or corners that a file may hold; a vertex stands in it once for each face at most."""

MOST_NODES = 1000
"""Most objects in a scene."""


def make_surface(name: str) -> Surface:
    """A surface by its name: ``icosphere:16``, ``torus:96,48``, or a file, see `read_surface`.

    Raises:
        ValueError: if there is no such surface, or it cannot be used.
    """
    kind, _, numbers = name.partition(":")
    if kind not in ("icosphere", "torus") or Path(name).is_file():
        return read_surface(name)
    wanted = 1 if kind == "icosphere" else 2
    try:
        sizes = [int(number) for number in numbers.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) != wanted:
        raise ValueError(f"surface must be icosphere:N, torus:M,N or a file, got {name!r}")
    return icosphere(*sizes) if kind == "icosphere" else torus_surface(*sizes)


def read_surface(path: str | Path) -> Surface:
    """The surface in a file; vertices at the same place become one, and all faces are turned outward.

    All objects of a scene are taken together, and a surface may have several pieces. Faces of more than three corners
    are cut into triangles. Materials, colours and textures are ignored, and sizes are kept.

    Args:
        path: a file that ends in .obj, .ply, .glb, .stl or .off, of up to 64 MiB.

    Raises:
        ValueError: if it is no such file, or is too large, or what it holds is no closed surface (see `nca.surface`).
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ValueError(f"a surface must be a file that ends in {', '.join(KINDS)}, got {path.name!r}")
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} must be at most {MOST_BYTES >> 20} MiB large, got {path.stat().st_size >> 20} MiB")
    data = path.read_bytes()
    import trimesh

    try:
        {".obj": _check_obj, ".ply": _check_ply, ".glb": _check_glb, ".stl": _check_stl, ".off": _check_off}[kind](data)
        read = trimesh.load_mesh(
            io.BytesIO(data), file_type=kind[1:], process=False, skip_materials=True, maintain_order=True
        )
        vertices, faces = np.asarray(read.vertices, np.float64), np.asarray(read.faces, np.int64)
        if not len(faces):
            raise ValueError("it has no faces")
    except Exception as error:  # parsers of five formats raise whatever they stumble over
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(f"cannot read {path} as a surface: {reason}") from error
    if (np.abs(vertices) < MOST_POSITION).all() and faces.min() >= 0 and faces.max() < len(vertices):
        vertices, faces = _outward(*_merged(vertices, faces))
    try:
        return surface(vertices, faces)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from error


def _few(what: str, count: int) -> None:
    if count > MOST_RAW:
        raise ValueError(f"it must hold at most {MOST_RAW:,} {what}, got {count:,}")


def _check_obj(data: bytes) -> None:
    _few("vertices", len(re.findall(rb"^\s*v\s", data, re.MULTILINE)))
    faces = re.findall(rb"^\s*f\s.*$", data.replace(b"\\\n", b"").replace(b"\\\r\n", b""), re.MULTILINE)
    _few("faces", len(faces))
    _few("triangles", sum(line.count(b" ") + line.count(b"\t") for line in faces) // 3)


def _check_ply(data: bytes) -> None:
    header, found, _ = data[: 2**16].partition(b"end_header")
    if not data.startswith(b"ply") or not found:
        raise ValueError("it has no header of a PLY file")
    for name, count in re.findall(rb"^element\s+(\S+)\s+(\S+)", header, re.MULTILINE):
        _few(f"elements {name.decode(errors='replace')!r}", int(count))


def _check_stl(data: bytes) -> None:
    """A binary file says how many faces it has; trimesh compares that with its length."""
    _few("faces", data.count(b"endfacet") if data[:5] == b"solid" else len(data) // 50)


def _check_off(data: bytes) -> None:
    if not data.lstrip().startswith(b"OFF"):
        raise ValueError("it has no header of an OFF file")
    lines = (line.split(b"#")[0].split() for line in data[:4096].lstrip()[3:].splitlines())
    for count in next((line for line in lines if line), [])[:3]:
        _few("vertices or faces", int(count))


def _check_glb(data: bytes) -> None:
    """Everything that makes the parser allocate, fetch or repeat must be small and in the file."""
    magic, version, _, length, kind = np.frombuffer(data[:20].ljust(20, b"\0"), "<u4").tolist()
    if magic != 0x46546C67 or version != 2 or kind != 0x4E4F534A:
        raise ValueError("it has no header of a GLB file of version 2")
    if length > min(len(data), MOST_BYTES // 8):
        raise ValueError(f"its description must be whole and at most {MOST_BYTES >> 23} MiB long, got {length:,} bytes")
    scene: dict[str, Any] = json.loads(data[20 : 20 + length])
    needed = [str(name) for name in scene.get("extensionsRequired", []) if "mesh_quantization" not in str(name)]
    if needed:
        raise ValueError(f"it needs extensions that are not known: {', '.join(needed)}; export it without compression")
    if any("uri" in buffer for buffer in scene.get("buffers", [])):
        raise ValueError("its buffers must be in the file itself")
    accessors, meshes, nodes = (scene.get(name, []) for name in ("accessors", "meshes", "nodes"))
    for accessor in accessors:
        if accessor["count"] < 0:
            raise ValueError("it claims to hold fewer than 0 rows")
        _few("rows in a table", accessor["count"])
    # Tables may share their data or have none, and take memory nevertheless. Of a vertex there may be four.
    _few("rows of four tables together", sum(accessor["count"] for accessor in accessors) // 4)
    for name, things in (("objects", nodes), ("meshes", [p for mesh in meshes for p in mesh["primitives"]])):
        if len(things) > MOST_NODES:
            raise ValueError(f"it must hold at most {MOST_NODES:,} {name}, got {len(things):,}")
    children = [child for node in nodes for child in node.get("children", [])]
    if len(set(children)) < len(children) or _has_loop(nodes):
        raise ValueError("its objects must form a tree")
    parts = [_laid_out(accessors, mesh["primitives"]) for mesh in meshes]
    _few("vertices and corners in all objects", sum(parts[node["mesh"]] for node in nodes if "mesh" in node))


def _laid_out(accessors: Sequence[dict[str, Any]], primitives: Sequence[dict[str, Any]]) -> int:
    """The larger of the vertices and a third of the corners of a mesh."""
    vertices = sum(accessors[p["attributes"]["POSITION"]]["count"] for p in primitives)
    corners = sum(accessors[p["indices"]]["count"] for p in primitives if "indices" in p)
    return int(max(vertices, corners // 3))


def _has_loop(nodes: Sequence[dict[str, Any]]) -> bool:
    """Whether an object is among its own descendants, where none has two parents."""
    parents = {child: parent for parent, node in enumerate(nodes) for child in node.get("children", [])}
    for node in parents:
        at, steps = node, 0
        while at in parents:
            at, steps = parents[at], steps + 1
            if steps > len(nodes):
                return True
    return False


def _merged(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that differ only in what is ignored, such as a place in a texture, as one; faces that lose by it go."""
    vertices, number = np.unique(vertices.astype(np.float32) + 0.0, axis=0, return_inverse=True)
    faces = number.reshape(-1)[faces]
    a, b, c = faces.T
    return vertices, faces[(a != b) & (b != c) & (c != a)]


def _outward(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The faces of every piece turned alike, and so that it has a volume above 0; as they are if that cannot be.

    In a graph of all faces and all faces turned over, those that fit together at an edge are joined. A piece and its
    reverse are two components of it, and one of the two is taken. They are one component where a surface has one side.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(faces)
    ends = np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)
    low, high = np.sort(ends, axis=1).T
    face, forth = np.arange(len(ends)) // 3, ends[:, 0] == low
    order = np.lexsort((high, low))
    pairs = order[: len(order) // 2 * 2].reshape(-1, 2).T
    if len(order) % 2 or (low[pairs[0]] != low[pairs[1]]).any() or (high[pairs[0]] != high[pairs[1]]).any():
        return vertices, faces  # a hole, or more than two faces at an edge: to be told of
    first, second = face[pairs]
    alike = forth[pairs[0]] != forth[pairs[1]]
    start = np.concatenate([first, first + count])
    end = np.concatenate([np.where(alike, second, second + count), np.where(alike, second + count, second)])
    _, sheet = connected_components(coo_array((np.ones(len(start)), (start, end)), (2 * count, 2 * count)), False)
    if (sheet[:count] == sheet[count:]).any():
        return vertices, faces
    piece = np.minimum(sheet[:count], sheet[count:])
    turned = np.where((sheet[:count] != piece)[:, None], faces[:, ::-1], faces)
    volumes = np.bincount(piece, np.linalg.det(vertices[turned].astype(np.float64)), minlength=2 * count)
    return vertices, np.where((volumes[piece] < 0)[:, None], turned[:, ::-1], turned)
