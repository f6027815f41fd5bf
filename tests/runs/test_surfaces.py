import json
import struct

import numpy as np
import pytest
import trimesh

from neuralmutator import nca
from neuralmutator.runs.surfaces import MOST_BYTES, read_surface

BALL = nca.icosphere(4)
POINTS, FACES = np.asarray(BALL.vertices), np.asarray(BALL.faces)
TETRAHEDRON = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


def mesh(points=POINTS, faces=FACES):
    return trimesh.Trimesh(points, faces, process=False)


def edges(surface):
    """All edges by where they run, however vertices are numbered."""
    ends = np.asarray(surface.vertices)[np.asarray(surface.faces)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)]
    return {tuple(end.reshape(-1).round(4) + 0.0) for end in ends}


def glb(scene, binary=b""):
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def tables(count, nodes=1, primitives=1):
    """A scene without data, whose one table says how much it holds."""
    return {
        "asset": {"version": "2.0"},
        "bufferViews": [],
        "accessors": [{"componentType": 5126, "count": count, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}] * primitives}],
        "nodes": [{"mesh": 0}] * nodes,
        "scenes": [{"nodes": list(range(nodes))}],
    }


@pytest.mark.parametrize("kind", ["obj", "ply", "glb", "stl", "off", "GLB"])
def test_a_surface_is_read_as_it_was_written(tmp_path, kind):
    path = tmp_path / f"ball.{kind}"
    path.write_bytes(as_bytes(mesh().export(file_type=kind.lower())))
    read = read_surface(path)
    assert read.num_vertices == BALL.num_vertices
    assert edges(read) == edges(BALL)
    np.testing.assert_allclose((read.normals * read.vertices).sum(1), 1, atol=1e-2)


def as_bytes(written):
    return written if isinstance(written, bytes) else written.encode()


def test_a_text_of_ply(tmp_path):
    path = tmp_path / "ball.ply"
    path.write_bytes(mesh().export(file_type="ply", encoding="ascii"))
    assert edges(read_surface(path)) == edges(BALL)


def test_vertices_at_one_place_are_one(tmp_path):
    path = tmp_path / "ball.ply"
    mesh(POINTS[FACES].reshape(-1, 3), np.arange(FACES.size).reshape(-1, 3)).export(path)
    assert edges(read_surface(path)) == edges(BALL)


@pytest.mark.parametrize("which", [slice(None), slice(None, None, 3), slice(5, 6), slice(0, 0)])
def test_faces_are_turned_outward(tmp_path, which):
    faces = FACES.copy()
    faces[which] = faces[which, ::-1]
    mesh(faces=faces).export(tmp_path / "ball.ply")
    assert edges(read_surface(tmp_path / "ball.ply")) == edges(BALL)


def test_a_scene_of_two_is_one_surface_of_two_pieces(tmp_path):
    other = mesh().copy()
    other.apply_translation([3, 0, 0])
    trimesh.Scene([mesh(), other]).export(tmp_path / "two.glb")
    read = read_surface(tmp_path / "two.glb")
    assert read.num_vertices == 2 * BALL.num_vertices
    left = np.asarray(read.vertices)[:, 0] < 1.5
    assert left.sum() == BALL.num_vertices
    assert (left[np.asarray(read.neighbours)] == left[:, None]).all()


def test_squares_are_cut_and_materials_ignored(tmp_path):
    (tmp_path / "box.obj").write_text(
        "mtllib /nowhere/box.mtl\n"
        + "".join(f"v {x} {y} {z}\nvt {x} {y}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1))
        + "usemtl a\nf 1/1 2/2 4/4 3/3\nf 5/1 7/2 8/3 6/4\nf 1 5 6 2\nusemtl b\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n"
    )
    read = read_surface(tmp_path / "box.obj")
    assert (read.num_vertices, len(read.faces)) == (8, 12)
    corners = np.asarray(read.vertices, float)[np.asarray(read.faces)]
    np.testing.assert_allclose(np.linalg.det(corners).sum() / 6, 1, atol=1e-6)  # its volume


@pytest.mark.parametrize(
    ("points", "faces", "message"),
    [
        (POINTS, FACES[1:], "cannot be used: the surface has a hole"),
        (np.concatenate([POINTS, [[2, 2, 2]]]), FACES, "cannot be used: .* loose"),
        (POINTS, np.concatenate([FACES, FACES[:1]]), "cannot be used: .* belongs to more"),
    ],
)
@pytest.mark.parametrize("kind", ["obj", "ply", "off"])
def test_what_is_no_closed_surface(tmp_path, kind, points, faces, message):
    path = tmp_path / f"ball.{kind}"
    path.write_bytes(as_bytes(mesh(points, faces).export(file_type=kind)))
    with pytest.raises(ValueError, match=message) as caught:
        read_surface(path)
    assert "\n" not in str(caught.value)


def test_a_surface_of_one_side(tmp_path):
    """The real projective plane, half an icosahedron: every edge has two faces, but they cannot be turned alike."""
    ball = nca.icosphere(1)
    points = np.asarray(ball.vertices)
    half = [i for i, p in enumerate(points) if tuple(p.round(3)) > tuple(-p.round(3))]
    number = [next(n for n, i in enumerate(half) if np.allclose(np.abs(points[i] @ p), 1, atol=1e-3)) for p in points]
    faces = {tuple(sorted(number[v] for v in face)) for face in np.asarray(ball.faces)}
    assert len(faces) == 10
    mesh(points[half], np.array(sorted(faces))).export(tmp_path / "plane.ply")
    with pytest.raises(ValueError, match="cannot be used: faces must be turned alike"):
        read_surface(tmp_path / "plane.ply")


PLY = b"ply\nformat binary_little_endian 1.0\nelement vertex %d\nproperty %s x\nproperty float y\nproperty float z\n"
PLY += b"element face 4\nproperty list uint int vertex_indices\nend_header\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "must be a file that ends in .obj, .ply, .glb, .stl, .off, got 'a.txt'"),
        ("a", b"", "must be a file that ends in"),
        *((f"empty.{kind}", b"", "cannot read .* as a surface") for kind in ("obj", "ply", "glb", "stl", "off")),
        *((f"text.{kind}", b"hello\n", "cannot read .* as a surface") for kind in ("obj", "ply", "glb", "stl", "off")),
        ("points.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n", "no faces"),
        ("index.obj", TETRAHEDRON.replace("f 2 3 4", "f 2 3 9").encode(), "cannot read|cannot be used"),
        ("nan.obj", TETRAHEDRON.replace("v 0 0 1", "v 0 0 nan").encode(), "vertices must be finite"),
        ("huge.obj", TETRAHEDRON.replace("v 0 0 1", "v 0 0 1e30").encode(), "vertices must be finite"),
        ("flat.obj", TETRAHEDRON.replace("v 0 0 1", "v 2 0 0").encode(), "must have an area"),
        ("many.obj", b"v 0 0 0\n" * 1_200_001, "at most 1,200,000 vertices, got 1,200,001"),
        ("long.obj", TETRAHEDRON.encode() + b"f " + b"1 2 3 " * 1_200_001, "at most 1,200,000 triangles"),
        ("split.obj", TETRAHEDRON.encode() + b"f " + b"1 2 3 \\\n" * 1_200_001, "at most 1,200,000 triangles"),
        ("claims.ply", PLY % (4 * 10**9, b"float"), "at most 1,200,000 elements 'vertex', got 4,000,000,000"),
        ("list.ply", PLY % (1000, b"list uint float") + b"\xff" * 100, "cannot read .* as a surface"),
        ("short.ply", PLY % (4, b"float") + bytes(30), "cannot read .* as a surface"),
        ("claims.off", b"OFF\n4000000000 4 0\n", "at most 1,200,000 vertices or faces"),
        ("table.glb", glb(tables(4 * 10**9)), "at most 1,200,000 rows in a table"),
        ("below.glb", glb(tables(-1)), "fewer than 0 rows"),
        ("copies.glb", glb(tables(10_000, nodes=900)), "at most 1,200,000 vertices and corners in all objects"),
        ("parts.glb", glb(tables(10_000, primitives=900)), "at most 1,200,000 vertices and corners in all objects"),
        ("objects.glb", glb(tables(3, nodes=1001)), "at most 1,000 objects"),
        ("tables.glb", glb(tables(3) | {"accessors": tables(10**6)["accessors"] * 10}), "rows of four tables"),
        ("loop.glb", glb({"nodes": [{"children": [1]}, {"children": [0]}]}), "must form a tree"),
        ("twice.glb", glb({"nodes": [{"children": [2]}, {"children": [2]}, {}]}), "must form a tree"),
        ("draco.glb", glb({"extensionsRequired": ["KHR_draco_mesh_compression"]}), "without compression"),
        ("outside.glb", glb({"buffers": [{"uri": "file:///etc/hostname"}]}), "must be in the file itself"),
        ("deep.glb", glb({})[:12] + struct.pack("<II", 40000, 0x4E4F534A) + b"[" * 40000, "cannot read"),
        ("described.glb", glb({"extras": " " * 2**23}), "at most 8 MiB long"),
        ("other.glb", glb([1]), "cannot read"),
        ("cut.glb", mesh().export(file_type="glb")[:-40], "cannot read"),
        ("cut.stl", mesh().export(file_type="stl")[:-40], "cannot read"),
        ("cut.ply", mesh().export(file_type="ply")[:-40], "cannot read"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_surface(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        read_surface(tmp_path / "ball.obj")
    (tmp_path / "folder.obj").mkdir()
    with pytest.raises(ValueError, match="there is no file"):
        read_surface(tmp_path / "folder.obj")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "large.obj", "wb") as file:
        file.truncate(MOST_BYTES + 1)  # a hole on the disk
    with pytest.raises(ValueError, match="at most 64 MiB large"):
        read_surface(tmp_path / "large.obj")


def test_damaged_files_never_do_worse_than_a_line(tmp_path):
    """Bytes of a valid file changed at random: it is read, or a ValueError says why not."""
    random = np.random.default_rng(0)
    whole = mesh(*(np.asarray(x) for x in nca.icosphere(1)[:2]))
    for kind in ("glb", "ply", "stl", "off", "obj"):
        written = as_bytes(whole.export(file_type=kind))
        for _ in range(40):
            data = bytearray(written)
            for place in random.integers(len(data), size=2):
                data[place] = random.integers(256)
            (tmp_path / f"a.{kind}").write_bytes(data)
            try:
                read_surface(tmp_path / f"a.{kind}")
            except ValueError as error:
                assert "\n" not in str(error)
