import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca

TETRAHEDRON = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


@pytest.mark.parametrize("frequency", [1, 2, 3, 7, 16])
def test_an_icosphere_has_as_many_vertices_faces_and_neighbours_as_it_must(frequency):
    made = nca.icosphere(frequency)
    assert made.num_vertices == 10 * frequency**2 + 2
    assert made.faces.shape == (20 * frequency**2, 3)
    assert made.valence.sum() == 2 * 30 * frequency**2
    counts = np.bincount(np.asarray(made.valence, int), minlength=7)
    assert (counts[5], counts[6]) == (12, made.num_vertices - 12)
    np.testing.assert_allclose(np.linalg.norm(made.vertices, axis=1), 1, atol=1e-6)
    assert (made.normals * made.vertices).sum(1).min() > 0.999  # turned outward


@pytest.mark.parametrize(("around", "across", "ratio"), [(3, 4, 2.0), (24, 12, 2.0), (40, 10, 3.5)])
def test_a_torus_is_a_torus(around, across, ratio):
    made = nca.torus_surface(around, across, ratio)
    assert made.num_vertices == around * across
    assert (made.valence == 6).all()
    assert made.num_vertices - made.valence.sum() / 2 + len(made.faces) == 0  # Euler's characteristic
    x, y, z = np.asarray(made.vertices, float).T
    np.testing.assert_allclose((np.hypot(x, z) - ratio) ** 2 + y**2, 1, atol=1e-5)
    middle = np.stack([x, 0 * y, z], 1) / np.hypot(x, z)[:, None] * ratio
    assert ((made.vertices - middle) * made.normals).sum(1).min() > 0.9


@pytest.mark.parametrize("made", [nca.icosphere(3), nca.torus_surface(8, 6)])
def test_the_table_is_symmetric_and_has_unit_directions(made):
    points, table, harmonics = (np.asarray(x) for x in (made.vertices, made.neighbours, made.harmonics))
    edges = {}
    for v in range(made.num_vertices):
        assert (harmonics[v, int(made.valence[v]) :] == 0).all()
        assert (table[v, int(made.valence[v]) :] == v).all()
        for k in range(int(made.valence[v])):
            edges[v, table[v, k]] = harmonics[v, k]
            u = points[table[v, k]] - points[v]
            u /= np.linalg.norm(u)
            np.testing.assert_allclose(harmonics[v, k], [1, u[1], u[2], u[0]], atol=1e-6)
    faces = np.asarray(made.faces)
    assert set(edges) == {(a, b) for turn in range(3) for a, b in np.roll(faces, turn, 1)[:, :2].tolist()}
    for (a, b), found in edges.items():
        np.testing.assert_allclose(edges[b, a], found * [1, -1, -1, -1], atol=1e-7)
    np.testing.assert_allclose(made.total, harmonics.sum(1), atol=1e-6)
    lengths = [np.linalg.norm(points[a] - points[b]) for a, b in edges]
    np.testing.assert_allclose(made.edge, np.mean(lengths), rtol=1e-6)


def test_surfaces_of_equal_sizes_share_a_program():
    traced = []

    @jax.jit
    def first(surface):
        traced.append(1)
        return surface.vertices[surface.neighbours[0]].sum()

    ball = nca.icosphere(2)
    other = nca.surface(np.asarray(ball.vertices) * [1, 2, 3], ball.faces)
    assert first(ball) != first(other)
    assert len(traced) == 1


def test_two_pieces_are_a_surface():
    both = nca.surface(np.concatenate([TETRAHEDRON, TETRAHEDRON + 5]), np.concatenate([FACES, FACES + 4]))
    assert (both.neighbours[:4] < 4).all()
    assert (both.neighbours[4:] >= 4).all()


def fan(count):
    """Two cones of `count` faces: their tips have as many neighbours."""
    turn = 2 * np.pi * np.arange(count) / count
    points = np.concatenate([[[0, 0, 1], [0, 0, -1]], np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1)])
    a, b = np.arange(count) + 2, (np.arange(count) + 1) % count + 2
    zero = np.zeros(count, int)
    return points, np.concatenate([np.stack([zero, a, b], 1), np.stack([zero + 1, b, a], 1)])


def moved(vertex, place):
    points = TETRAHEDRON.copy()
    points[vertex] = place
    return points


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (TETRAHEDRON, FACES[:3], "hole: edge .* belongs to one face only"),
        (TETRAHEDRON, np.concatenate([FACES, FACES[:1]]), "belong to two faces, but edge .* belongs to more"),
        (TETRAHEDRON, np.concatenate([FACES[:3], FACES[3:, ::-1]]), "turned alike, but those at edge .* are not"),
        (np.concatenate([TETRAHEDRON, [[2, 2, 2]]]), FACES, "vertex 4 is"),
        (TETRAHEDRON, FACES + 1, "vertices from 0 to 3, got 4"),
        (TETRAHEDRON, FACES - 1, "vertices from 0 to 3, got -1"),
        (TETRAHEDRON, FACES.astype(float), "faces must be whole numbers of shape"),
        (TETRAHEDRON, FACES[:, :2], "faces must be whole numbers of shape"),
        (TETRAHEDRON, FACES[:0], "vertex 0 is"),
        (TETRAHEDRON[:, :2], FACES, "vertices must be numbers of shape"),
        (TETRAHEDRON[:3], FACES, "must have 4 to 200,000 vertices, got 3"),
        (np.zeros((200_001, 3)), FACES, "must have 4 to 200,000 vertices, got 200,001"),
        (moved(1, [np.nan, 0, 0]), FACES, "vertices must be finite"),
        (moved(1, [np.inf, 0, 0]), FACES, "vertices must be finite"),
        (moved(1, [0, 2, 0]), FACES, "face 0 is zero"),
        (moved(1, [0, 0, 0]), FACES, "face 0 is zero"),
        (TETRAHEDRON, np.array([[0, 0, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]), "face 0 is zero"),
        (*fan(33), "at most 32 neighbours, but vertex 0 has 33"),
    ],
)
def test_what_is_no_closed_surface_is_told_in_a_line(vertices, faces, message):
    with pytest.raises(ValueError, match=message) as caught:
        nca.surface(vertices, faces)
    assert "\n" not in str(caught.value)


def test_as_many_neighbours_as_may_be():
    assert nca.surface(*fan(32)).neighbours.shape == (34, 32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nca.icosphere(0), "frequency must be a whole number of at least 1, got 0"),
        (lambda: nca.icosphere(2.5), "frequency must be a whole number"),
        (lambda: nca.icosphere(142), "frequency must be at most 141, got 142"),
        (lambda: nca.torus_surface(2, 6), "around must be a whole number of at least 3"),
        (lambda: nca.torus_surface(6, 5), "across must be even, got 5"),
        (lambda: nca.torus_surface(6, 6, 1.0), "ratio must be a finite number above 1"),
        (lambda: nca.torus_surface(1000, 1000), "around times across must be at most 200,000"),
    ],
)
def test_sizes_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_surface_is_a_pytree_of_arrays():
    leaves = jax.tree.leaves(nca.icosphere(1))
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32"), jnp.dtype("int32")}
