from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial.transform import Rotation

from neuralmutator import nca

BALL = nca.icosphere(3)
RING = nca.torus_surface(12, 6)
perceive = jax.jit(nca.perceive_surface)
laplacian = jax.jit(nca.surface_laplacian)


def states(surface, channels=3, seed=0):
    return jax.random.normal(jax.random.key(seed), (surface.num_vertices, channels))


def blocks(perceived):
    """f32[V, 5, C]: the sums of differences and those along y, z, x; the state."""
    return np.asarray(perceived).reshape(len(perceived), 5, -1)


@jax.jit
def by_segments(surface, cells):
    """The same from a list of edges, scattered; without the padded table's order."""
    start = jnp.repeat(jnp.arange(surface.num_vertices), surface.neighbours.shape[1])
    end = surface.neighbours.reshape(-1)
    u = surface.vertices[end] - surface.vertices[start]
    length = jnp.linalg.norm(u, axis=1, keepdims=True)
    u = jnp.where(length > 0, u / jnp.where(length > 0, length, 1), 0)
    y = jnp.stack([jnp.where(length[:, 0] > 0, 1.0, 0.0), u[:, 1], u[:, 2], u[:, 0]], 1)
    messages = y[:, :, None] * (cells[end] - cells[start])[:, None]
    sums = jax.ops.segment_sum(messages, start, surface.num_vertices)
    return jnp.concatenate([sums.reshape(len(cells), -1), cells], -1)


def by_hand(surface, cells):
    """Vertex by vertex, from the published definition."""
    out = []
    for i, p in enumerate(np.asarray(surface.vertices, float)):
        sums = np.zeros((4, cells.shape[1]))
        for j in {int(j) for face in surface.faces for j in face if i in face} - {i}:
            d = np.asarray(surface.vertices[j], float) - p
            x, y, z = d / np.linalg.norm(d)
            sums += np.outer([1, y, z, x], np.asarray(cells[j] - cells[i], float))
        out.append(np.concatenate([sums.reshape(-1), np.asarray(cells[i])]))
    return np.array(out)


def test_perception_is_the_published_one():
    ball = nca.icosphere(1)
    cells = states(ball)
    np.testing.assert_allclose(perceive(ball, cells), by_hand(ball, cells), atol=1e-5)


def test_many_neighbours_count_as_six():
    """A double pyramid: its two tips have nine neighbours, all others four."""
    angles = 2 * np.pi * np.arange(9) / 9
    points = np.concatenate([np.stack([np.cos(angles), 0 * angles, np.sin(angles)], 1), [[0, 1, 0], [0, -1, 0]]])
    rim = [(i, (i + 1) % 9) for i in range(9)]
    made = nca.surface(points, [(b, a, 9) for a, b in rim] + [(a, b, 10) for a, b in rim])
    assert made.valence.tolist() == [4] * 9 + [9, 9]
    cells = states(made)
    found, published = perceive(made, cells), by_hand(made, cells)
    np.testing.assert_allclose(found[:9], published[:9], atol=1e-5)
    np.testing.assert_allclose(found[9:, :12], published[9:, :12] * 6 / 9, atol=1e-5)
    np.testing.assert_allclose(found[9:, 12:], published[9:, 12:], atol=1e-6)


@pytest.mark.parametrize("surface", [BALL, RING])
def test_gathers_equal_scattered_sums_and_so_do_their_gradients(surface):
    cells, weight = states(surface), jax.random.normal(jax.random.key(1), (surface.num_vertices, 15))
    np.testing.assert_allclose(perceive(surface, cells), by_segments(surface, cells), atol=1e-5)

    def value(function, cells):
        return jnp.sum(jnp.sin(function(surface, cells)) * weight)

    expected = jax.jit(jax.grad(partial(value, by_segments)))(cells)
    np.testing.assert_allclose(jax.jit(jax.grad(partial(value, nca.perceive_surface)))(cells), expected, atol=1e-4)


def test_lattices_side_by_side():
    cells = jax.random.normal(jax.random.key(0), (2, BALL.num_vertices, 3))
    weight = jax.random.normal(jax.random.key(1), (2, BALL.num_vertices, 15))

    def value(cells):
        return jnp.sum(jnp.sin(jax.vmap(partial(nca.perceive_surface, BALL))(cells)) * weight)

    found = jax.grad(value)(cells)
    for i in range(2):
        alone = jax.grad(lambda c, i=i: jnp.sum(jnp.sin(perceive(BALL, c)) * weight[i]))(cells[i])
        np.testing.assert_allclose(found[i], alone, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_turned_surface_is_perceived_turned(seed):
    turn = Rotation.random(random_state=seed).as_matrix()
    turned = nca.surface(np.asarray(RING.vertices) @ turn.T, RING.faces)
    cells = states(RING)
    before, after = (blocks(perceive(s, cells)) for s in (RING, turned))
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1e-5)
    xyz = [3, 1, 2]
    np.testing.assert_allclose(after[:, xyz], np.einsum("ab,vbc->vac", turn, before[:, xyz]), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(BALL.num_vertices)))
def test_relabelling_commutes(order):
    order = np.array(order)  # vertex i is the old vertex order[i]
    other = nca.surface(BALL.vertices[order], np.argsort(order)[np.asarray(BALL.faces)])
    cells = states(BALL)
    for function in (perceive, laplacian):
        np.testing.assert_allclose(function(other, cells[order]), function(BALL, cells)[order], atol=1e-5)


def pillow(width, height):
    """Two flat sheets of equilateral triangles and a wall around them; the first vertices are those of one, [H, W]."""
    front = np.arange(height * width).reshape(height, width)
    back = front + height * width
    y, x = np.mgrid[:height, :width]
    place = np.stack([x + y / 2, y * 3**0.5 / 2, 0 * x], -1).reshape(-1, 3)

    def sheet(n):
        a, b, c, d = n[:-1, :-1], n[:-1, 1:], n[1:, :-1], n[1:, 1:]
        return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])

    def border(n):
        return np.concatenate([n[0, :-1], n[:-1, -1], n[-1, :0:-1], n[:0:-1, 0]])

    p, below = border(front), border(back)
    q, below_q = np.roll(p, -1), np.roll(below, -1)
    wall = [np.stack([q, p, below], 1), np.stack([q, below, below_q], 1)]
    return nca.surface(
        np.concatenate([place, place - [0, 0, 1]]), np.concatenate([sheet(front), sheet(back)[:, ::-1], *wall])
    )


def test_on_a_flat_lattice_it_is_a_convolution_with_hexagonal_stencils():
    width, height = 9, 7
    made = pillow(width, height)
    cells = states(made)
    found = blocks(perceive(made, cells))[: width * height].reshape(height, width, 5, 3)
    grid = np.asarray(cells)[: width * height].reshape(height, width, 3)
    s = 3**0.5 / 2
    # Neighbours in the sheared grid: rows go up by s and right by a half.
    offsets = {
        (0, 1): (1, 0),
        (0, -1): (-1, 0),
        (1, 0): (0.5, s),
        (-1, 0): (-0.5, -s),
        (1, -1): (-0.5, s),
        (-1, 1): (0.5, -s),
    }
    stencils = np.zeros((4, 3, 3))
    for (down, right), (x, y) in offsets.items():
        stencils[:, 1 + down, 1 + right] = [1, y, 0, x]
    stencils[:, 1, 1] = -stencils.sum((1, 2))
    kernel = jnp.asarray(stencils, jnp.float32)[:, None]
    planes = jnp.asarray(grid).transpose(2, 0, 1)[:, None]
    expected = jax.lax.conv_general_dilated(planes, kernel, (1, 1), "VALID").transpose(2, 3, 1, 0)
    np.testing.assert_allclose(found[1:-1, 1:-1, :4], expected, atol=1e-5)
    flow = np.asarray(laplacian(made, cells))[: width * height].reshape(height, width, 3)
    np.testing.assert_allclose(flow[1:-1, 1:-1], expected[:, :, 0] / 6, atol=1e-5)


def test_diffusion_is_as_fast_as_on_a_grid():
    """A quarter of the squared wavenumber, of long waves, where edges and a grid's cells are 1 long."""
    waves = 2 * np.pi / 64
    x = np.arange(64)
    grid = jnp.asarray(np.sin(waves * np.tile(x, (64, 1)))[..., None], jnp.float32)
    made = pillow(40, 9)
    wave = jnp.sin(waves * made.vertices[:, :1])
    found = laplacian(made, wave)[4 * 40 + 20, 0] / wave[4 * 40 + 20, 0]
    on_grid = nca.grid_laplacian(grid)[20, 20, 0] / grid[20, 20, 0]
    np.testing.assert_allclose(found, -(waves**2) / 4, rtol=5e-3)
    np.testing.assert_allclose(found, on_grid, rtol=5e-3)


def test_diffusion_conserves_sums():
    cells = states(RING)
    np.testing.assert_allclose(laplacian(RING, cells).sum(0), 0, atol=1e-4)
    weighted = laplacian(BALL, states(BALL)) * BALL.valence[:, None]
    np.testing.assert_allclose(weighted.sum(0), 0, atol=1e-4)
    assert np.abs(laplacian(BALL, states(BALL)).sum(0)).max() > 1e-2  # for it is not regular


def test_the_gradient_of_diffusion():
    cells, weight = states(BALL), states(BALL, seed=1)
    inside = BALL.harmonics[..., :1]

    def plain(cells):
        return (cells[BALL.neighbours] * inside).sum(1) / BALL.valence[:, None] - cells

    np.testing.assert_allclose(laplacian(BALL, cells), plain(cells), atol=1e-6)
    expected = jax.vjp(plain, cells)[1](weight)[0]
    np.testing.assert_allclose(jax.vjp(partial(nca.surface_laplacian, BALL), cells)[1](weight)[0], expected, atol=1e-5)


def test_reaction_and_diffusion_on_a_surface():
    system = nca.gray_scott(laplacian=partial(nca.surface_laplacian, RING), shape=(RING.num_vertices,))
    cells = jnp.stack([jnp.full(RING.num_vertices, 0.9), jnp.full(RING.num_vertices, 0.1)], -1)
    params = jnp.zeros(2)  # neither fed nor removed, and as much of both together as before
    after = system.update(jax.random.key(0), params, cells * (1 + 0.1 * states(RING, 1)))
    np.testing.assert_allclose(after.sum(), (cells * (1 + 0.1 * states(RING, 1))).sum(), rtol=1e-5)
    assert after.shape == cells.shape


@pytest.mark.parametrize("density", [2.0, 0.5])
def test_what_is_drawn_as_dense_as_is_asked_is_perceived_as_if_it_were_not(density):
    """A linear and a quadratic function: the same perception of ``f(d x)`` at density d and of ``f(x)`` at 1."""
    made = pillow(9, 9)
    x, y, _ = made.vertices.T

    def pattern(d):
        return jnp.stack([d * x - 2 * d * y, (d * (x - x[40])) ** 2], -1)

    plain = blocks(perceive(made, pattern(1.0)))[40]
    dense = blocks(perceive(made, pattern(density), density=density))[40]
    np.testing.assert_allclose(dense[:4], plain[:4], atol=1e-4)
    assert np.abs(plain[:4]).max() > 1


def test_density_and_angle_may_differ_from_vertex_to_vertex():
    cells, count = states(BALL), BALL.num_vertices
    half = jnp.where(jnp.arange(count) < count // 2, 1.0, 2.0)
    found = perceive(BALL, cells, density=half, angle=half)
    for value, rows in ((1.0, slice(0, count // 2)), (2.0, slice(count // 2, count))):
        alone = perceive(BALL, cells, density=value, angle=value)
        np.testing.assert_allclose(found[rows], alone[rows], atol=1e-6)


def test_an_angle_turns_about_normals():
    cells, angle = states(BALL), 0.7
    plain, turned = (blocks(perceive(BALL, cells, angle=a)) for a in (None, angle))
    np.testing.assert_array_equal(turned[:, [0, 4]], plain[:, [0, 4]])
    matrices = Rotation.from_rotvec(-angle * np.asarray(BALL.normals, float)).as_matrix()
    expected = np.einsum("vab,vbc->vac", matrices, plain[:, [3, 1, 2]])
    np.testing.assert_allclose(turned[:, [3, 1, 2]], expected, atol=1e-5)


def test_a_pattern_is_turned_forth_as_its_perception_is_turned_back():
    """On a plane: turning the pattern by 60°, a symmetry of the lattice, with its angle told, changes nothing."""
    made = pillow(13, 13)
    middle = made.vertices[6 * 13 + 6]

    def seen(turn, angle):
        back = jnp.asarray(Rotation.from_euler("z", -turn).as_matrix(), jnp.float32)
        x, y, _ = ((made.vertices - middle) @ back.T).T
        pattern = jnp.stack([x, jnp.sin(x + 2 * y)], -1)
        return blocks(perceive(made, pattern, angle=angle))[6 * 13 + 6]

    np.testing.assert_allclose(seen(np.pi / 3, np.pi / 3), seen(0, 0.0), atol=1e-5)
    assert np.abs(seen(np.pi / 3, 0.0) - seen(0, 0.0)).max() > 0.1


def test_the_articles_automaton_has_12432_parameters():
    made = nca.on_mesh(BALL.vertices, BALL.faces)
    assert made.num_params == 80 * 128 + 128 + 128 * 16 + 16 == 12_432
    params = made.init(jax.random.key(0))
    named = {name: np.asarray(value) for name, value in made.unflatten(params).items()}
    np.testing.assert_allclose(named["w1"].std(), 0.2 * (2 / (80 + 128)) ** 0.5, rtol=0.05)
    np.testing.assert_allclose(named["w2"].std(), 1.2 * (2 / (128 + 16)) ** 0.5, rtol=0.05)
    assert 0.9 * 80**-0.5 < np.abs(named["b1"]).max() <= 80**-0.5
    assert (named["b2"] == 0).all()
    start = made.start(jax.random.key(0), (BALL.num_vertices,))
    assert start.shape == (BALL.num_vertices, 16)
    assert (start == 0).all()
    assert (made.look(start) == 0.5).all()


def test_an_update_is_the_published_one():
    made = nca.mesh_automaton(BALL, channels=4, hidden=8)
    params, cells = made.init(jax.random.key(0)), states(BALL, 4)
    w = made.unflatten(params)
    seen = np.asarray(by_segments(BALL, cells))
    change = np.maximum(seen @ w["w1"] + w["b1"], 0) @ w["w2"] + w["b2"]
    after = np.asarray(made.update(jax.random.key(1), params, cells))
    moves = np.abs(after - cells).max(1) > 0
    np.testing.assert_allclose(after, np.where(moves[:, None], cells + change, cells), atol=1e-5)
    keys = jax.random.split(jax.random.key(2), 20)
    moved = jax.jit(jax.vmap(lambda key: made.update(key, params, cells)))(keys) != cells
    rates = moved.any(-1).mean(1)
    assert 0.45 < np.mean(rates) < 0.55


def test_one_program_for_surfaces_of_equal_sizes_and_the_same_parameters_for_all():
    traced = []

    @jax.jit
    def update(surface, key, params, cells):
        traced.append(1)
        return nca.mesh_automaton(surface).update(key, params, cells)

    params = nca.mesh_automaton(BALL).init(jax.random.key(0))
    egg = nca.surface(np.asarray(BALL.vertices) * [1, 1, 2], BALL.faces)
    cells = states(BALL, 16)
    for made in (BALL, egg):
        expected = nca.mesh_automaton(made).update(jax.random.key(1), params, cells)
        np.testing.assert_allclose(update(made, jax.random.key(1), params, cells), expected, atol=1e-5)
    assert len(traced) == 1
    assert nca.mesh_automaton(RING).update(jax.random.key(1), params, states(RING, 16)).shape == (72, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, "channels must be a whole number of at least 3"),
        ({"hidden": 0}, "hidden must be a whole number of at least 1"),
        ({"fire_rate": 0.0}, "fire_rate must lie in"),
        ({"density": 0.0}, "density must be finite and above 0"),
        ({"density": np.ones(5)}, "density must be one number or one of each of 92 vertices"),
        ({"angle": np.full(92, np.nan)}, "angle must be finite everywhere"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        nca.mesh_automaton(BALL, **options)


def test_a_brush_paints_a_ball():
    centre = BALL.vertices[3]
    distance = np.linalg.norm(np.asarray(BALL.vertices) - np.asarray(centre), axis=1)
    hard = nca.brush(BALL, centre, 0.5)
    np.testing.assert_array_equal(hard, (distance <= 0.5).astype(np.float32))
    assert 1 < hard.sum() < BALL.num_vertices
    soft = np.asarray(nca.brush(BALL, centre, 0.5, 0.5))
    np.testing.assert_allclose(soft, np.clip((1 - distance) / 0.5, 0, 1), atol=1e-5)
    cells, values = states(BALL), jnp.array([1.0, 2.0, 3.0])
    painted = nca.paint(cells, hard, values)
    np.testing.assert_allclose(painted[hard == 1], np.tile(values, (int(hard.sum()), 1)), atol=1e-6)
    np.testing.assert_array_equal(painted[hard == 0], cells[hard == 0])


def test_a_graft_moves_as_the_one_where_the_mask_is_0_and_as_the_other_where_it_is_1():
    first, second = nca.mesh_automaton(BALL, 4, 8), nca.mesh_automaton(BALL, 4, 16)
    mask = jnp.clip(BALL.vertices[:, 1] * 3, -1, 1) / 2 + 0.5
    both = nca.graft(first, second, mask)
    assert both.num_params == first.num_params + second.num_params
    params, cells, key = both.init(jax.random.key(0)), states(BALL, 4), jax.random.key(1)
    ends = [
        np.asarray(one.update(key, part, cells))
        for one, part in ((first, params[: first.num_params]), (second, params[first.num_params :]))
    ]
    found, weight = np.asarray(both.update(key, params, cells)), np.asarray(mask)[:, None]
    np.testing.assert_allclose(found, ends[0] + weight * (ends[1] - ends[0]), atol=1e-5)
    np.testing.assert_array_equal(found[mask == 0], ends[0][mask == 0])
    np.testing.assert_array_equal(found[mask == 1], ends[1][mask == 1])
    assert (mask == 0).any()
    assert (mask == 1).any()
    back = nca.per_variable(both, lambda name, value: value * name.startswith("second"), params)
    np.testing.assert_array_equal(back[first.num_params :], params[first.num_params :])
    assert (back[: first.num_params] == 0).all()


def test_grafts_that_do_not_fit():
    first = nca.mesh_automaton(BALL, 4, 8)
    with pytest.raises(ValueError, match="equally many channels, got 4 and 5"):
        nca.graft(first, nca.mesh_automaton(BALL, 5, 8), jnp.zeros(92))
    with pytest.raises(ValueError, match="mask must lie between 0 and 1"):
        nca.graft(first, first, jnp.full(92, 2.0))


def test_a_surface_learns_colours():
    """Trained on one sphere by the library's own loop, it shows the colours asked for, and on a finer one as well."""
    made, fine = nca.icosphere(2), nca.icosphere(3)
    wanted = jnp.array([0.9, 0.2, 0.4])

    def loss(key, cells):
        return jnp.mean((nca.first_colours(cells) - wanted) ** 2)

    small = nca.mesh_automaton(made, 8, 32)
    starts = nca.same_start(small.start(jax.random.key(0), (made.num_vertices,)), 1)
    trainer = nca.rollout_trainer(small, loss, starts, 5e-3, (5, 8))
    state, infos = jax.jit(
        lambda: jax.lax.scan(
            lambda s, k: trainer.step(k, s), trainer.init(jax.random.key(0)), jax.random.split(jax.random.key(1), 100)
        )
    )()
    other = nca.mesh_automaton(fine, 8, 32)
    cells = other.start(jax.random.key(0), (fine.num_vertices,))
    for i in range(7):
        cells = other.update(jax.random.key(i), state.params, cells)
    assert infos.loss[-10:].mean() < 0.1 * infos.loss[0]
    assert loss(None, cells) < 0.2 * loss(None, other.start(jax.random.key(0), (fine.num_vertices,)))
