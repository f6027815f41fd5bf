# ruff: noqa: E501 (lines of JavaScript)
import base64
import io
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from PIL import Image

from neuralmutator import nca
from neuralmutator.runs.automata import GROWING, Model, load, make_automaton
from neuralmutator.runs.page import entry, page, surface_entry

SIZE = 24


def model(channels=16, hidden=32, seed=0, size=0.12, fire_rate=0.5, exact=False):
    """An automaton that lives for a while; its parameters need mean nothing."""
    automaton = nca.growing(channels, hidden, fire_rate)
    params = size * jax.random.normal(jax.random.key(seed), (automaton.num_params,))
    params = params.at[nca.ALPHA - channels].set(0.3)  # so that life spreads
    weights = params if exact else nca.quantize(automaton, params)
    settings = {"channels": channels, "hidden": hidden, "fire_rate": fire_rate}
    return Model(np.full((8, 8, 4), 0.5, np.float32), weights, "growing", settings, "a blob", "it lives")


@pytest.fixture(scope="module")
def in_page(browser):
    """What a script returns in the page of some models, or entries, which stands still; see `browser`."""

    def run(models, script, size=SIZE):
        return browser(page(models, size), "nca.play(false);" + script)

    return run


def mixed(h):
    h = (h ^ (h >> 16)) * 0x7FEB352D & 0xFFFFFFFF
    h = (h ^ (h >> 15)) * 0x846CA68B & 0xFFFFFFFF
    return h ^ (h >> 16)


def fires(time, rate, size=SIZE):
    """The page's firing mask, bool[size, size]."""
    limit = int(rate * 0xFFFFFFFF)
    return np.array([[mixed(mixed(mixed(time) ^ y) ^ x) <= limit for x in range(size)] for y in range(size)])


@pytest.mark.parametrize(("channels", "hidden", "rate", "degrees"), [(16, 32, 0.5, 0), (6, 9, 0.7, 40)])
def test_its_cells_are_those_of_the_automaton(in_page, channels, hidden, rate, degrees):
    one = model(channels, hidden, fire_rate=rate)
    steps = 12
    script = f"""nca.automaton.angle = {degrees} * Math.PI / 180; nca.reset(); nca.automaton.time = 0;
        for (let i = 0; i < {steps}; i++) nca.step();
        return Array.from(nca.automaton.read());"""
    cells = np.array(in_page([one], script), np.float32).reshape(SIZE, SIZE, 16)
    automaton = nca.growing(channels, hidden, rate, np.deg2rad(degrees))
    grid, move = nca.seed_grid((SIZE, SIZE), channels), jax.jit(automaton.move)
    for t in range(steps):
        mask = fires(t, rate)
        assert mask.mean() == pytest.approx(rate, abs=0.08)
        grid = move(one.params, grid, jnp.asarray(mask))
    assert np.abs(grid).max() > 0.5 and (np.abs(grid).sum(axis=2) > 0).mean() > 0.1
    np.testing.assert_allclose(cells[..., :channels], grid, atol=2e-4 * float(np.abs(grid).max()))


def test_its_parameters_are_those_of_the_automaton_bit_for_bit(in_page):
    """Floats; symmetric codes; codes with half levels, none of which is zero."""
    floats, symmetric = model(6, 9, exact=True), model(6, 9)
    codes = jnp.asarray(np.random.default_rng(0).integers(-128, 128, floats.params.size), jnp.int8)
    scales = {name: jnp.float32(0.004 / (i + 1.7)) for i, name in enumerate(("w1", "b1", "w2", "b2"))}
    offsets = {"w1": jnp.float32(-0.5), "b1": jnp.float32(-0.5), "w2": jnp.float32(3.5), "b2": jnp.float32(0)}
    models = [floats, symmetric, replace(floats, weights=nca.Quantized(codes, scales, offsets))]
    found = in_page(models, "return nca.models.map(m => Array.from(nca.parameters(m)));")
    for one, params in zip(models, found, strict=True):
        np.testing.assert_array_equal(np.array(params, np.float32), one.params)


def test_its_controls(in_page):
    """Buttons, sliders, keys and the pointer do what they say, through the events that a hand would cause."""
    script = """
        nca.reset();
        const a = nca.automaton, $ = id => document.getElementById(id), seen = {};
        const alive = () => { const s = a.read(); let n = 0; for (let i = 3; i < s.length; i += 16) n += s[i] > 0.1; return n; };
        const point = (kind, x, y) => { const b = $("canvas").getBoundingClientRect();
            $("canvas").dispatchEvent(new PointerEvent(kind, {pointerId: 1, bubbles: true,
                clientX: b.left + (x + .5) / a.size * b.width, clientY: b.top + (y + .5) / a.size * b.height})); };
        const drag = (x0, y0, x1, y1) => { point("pointerdown", x0, y0); point("pointermove", x1, y1); point("pointerup", x1, y1); };
        const slide = (id, value) => { $(id).value = value; $(id).dispatchEvent(new Event("input")); };
        $("canvas").setPointerCapture = () => {};
        seen.models = $("models").children.length;
        seen.seed = alive();
        $("step").click(); seen.steps = [a.steps]; document.dispatchEvent(new KeyboardEvent("keydown", {key: "."}));
        seen.steps.push(a.steps);
        $("reset").click(); seen.after_reset = [a.steps, alive()];
        $("several").click(); seen.several = alive();
        slide("radius", 2);
        document.querySelector("[data-tool=paint]").click(); $("colour").value = "#ff8000"; drag(4, 12, 20, 12);
        const s = a.read(), at = (x, y) => Array.from(s.subarray(16 * (y * a.size + x), 16 * (y * a.size + x) + 5));
        seen.painted = [at(12, 12), at(12, 16)];
        document.querySelector("[data-tool=erase]").click(); slide("radius", 20); drag(0, 0, 23, 23); drag(0, 23, 23, 0);
        seen.erased = alive();
        document.querySelector("[data-tool=plant]").click(); drag(5, 7, 5, 7);
        const p = a.read(); seen.planted = [alive(), p[16 * (7 * a.size + 5) + 3], p[16 * (7 * a.size + 5)], p[16 * (7 * a.size + 5) + 15]];
        slide("angle", 90); seen.angle = [a.angle, $("angle-text").textContent];
        $("torus").checked = true; $("torus").dispatchEvent(new Event("input")); seen.torus = a.torus;
        $("models").children[1].click(); seen.model = [a.hidden, a.steps, $("models").children[1].getAttribute("aria-checked")];
        slide("speed", 4); document.dispatchEvent(new KeyboardEvent("keydown", {key: " "}));
        while (a.steps < 9) await wait(20);
        document.dispatchEvent(new KeyboardEvent("keydown", {key: " "}));
        const ran = a.steps; await wait(300); seen.ran = [a.steps - ran, $("play").textContent];
        return seen;"""
    seen = in_page([model(), model(hidden=9, seed=1)], script)
    assert seen["models"] == 2 and seen["seed"] == 1 and seen["steps"] == [1, 2]
    assert seen["after_reset"] == [0, 1] and seen["several"] == 4
    np.testing.assert_allclose(seen["painted"], [[1, 128 / 255, 0, 1, 0], [0] * 5], atol=1e-6)
    assert seen["erased"] == 0 and seen["planted"] == [1, 1, 0, 1]
    assert seen["angle"] == [pytest.approx(np.pi / 2), "90°"] and seen["torus"]
    assert seen["model"] == [9, 0, "true"]
    assert seen["ran"] == [0, "Play"]


def test_joined_borders(in_page):
    script = """nca.automaton.torus = true; nca.automaton.clear(); nca.automaton.brush("plant", [0, 0]); nca.automaton.time = 0;
        for (let i = 0; i < 6; i++) nca.step();
        return Array.from(nca.automaton.read());"""
    one = model()
    cells = np.array(in_page([one], script), np.float32).reshape(SIZE, SIZE, 16)
    automaton = nca.growing(16, 32)
    grid = jnp.roll(nca.seed_grid((SIZE, SIZE)), (SIZE // 2, SIZE // 2), (0, 1))
    for t in range(6):  # six updates in the middle of the grid never see its border
        moved = jnp.roll(grid, (SIZE // 2, SIZE // 2), (0, 1))
        mask = jnp.roll(jnp.asarray(fires(t, 0.5)), (SIZE // 2, SIZE // 2), (0, 1))
        grid = jnp.roll(automaton.move(one.params, moved, mask), (SIZE // 2, SIZE // 2), (0, 1))
    assert np.abs(np.asarray(grid)[[-1, 0], 0]).sum() > 0.1
    np.testing.assert_allclose(cells, grid, atol=2e-4 * float(np.abs(grid).max()))


@pytest.mark.slow
def test_a_lizard_grows_and_regrows(in_page):
    """In the page as out of it: from the seed, and after a disc of it was erased."""
    lizard = load("regenerating")
    script = """
        const a = nca.automaton, grow = n => { for (let i = 0; i < n; i++) nca.step(); return Array.from(a.read()); };
        a.time = 0; nca.reset();
        const grown = grow(120);
        a.brush("erase", [36, 22], 9);
        return [grown, Array.from(a.read()), grow(120)];"""
    cells = np.array(in_page([lizard], script, size=72), np.float32).reshape(3, 72, 72, 16)
    grown, erased, regrown = (float(jnp.log10(nca.growth_loss(grid, lizard.target))) for grid in cells)
    assert grown < -2.6 and regrown < -2.6 and erased > -2.4


STEPS = 16


def spindle(around=20):
    """Two vertices of many neighbours, and those between them; far from the origin."""
    angles = 2 * np.pi * np.arange(around) / around
    rim = np.stack([np.cos(angles), 0.2 * np.cos(3 * angles), np.sin(angles)], 1)
    points = np.concatenate([[[0, 1, 0], [0, -1, 0]], rim]) * 40 + [100, -20, 7]
    pairs = [(2 + i, 2 + (i + 1) % around) for i in range(around)]
    return nca.surface(points, np.array([(0, b, a) for a, b in pairs] + [(1, a, b) for a, b in pairs]))


def vertex_fires(time, rate, count):
    """The page's firing mask of vertices, bool[V]."""
    return np.array([mixed(mixed(mixed(time)) ^ v) <= int(rate * 0xFFFFFFFF) for v in range(count)])


def made_up():
    """Of every kind but the growing: (name, model, start, (cells, time) -> cells)."""
    random = np.random.default_rng(5)
    image = random.uniform(size=(60, 60, 3)).astype(np.float32)
    ball, ring = nca.icosphere(3), spindle()
    cases = []
    for name, kind, size, surface, settings in (
        ("texture 12", "texture", 0.12, None, {"channels": 12, "hidden": 20, "fire_rate": 0.5}),
        ("texture 5", "texture", 0.12, None, {"channels": 5, "hidden": 9, "fire_rate": 0.8}),
        ("micro 4", "micro", 0.01, None, {"channels": 4}),
        ("micro 6", "micro", 0.005, None, {"channels": 6}),
        ("micro 8", "micro", 0.004, None, {"channels": 8}),
        ("micro 12", "micro", 0.0035, None, {"channels": 12}),
        (
            "reaction 16",
            "reaction",
            0.25,
            None,
            {"channels": 16, "hidden": 24, "decay": 0.1, "diffusion": (0.125, 0.9)},
        ),
        ("reaction 6", "reaction", 0.3, None, {"channels": 6, "hidden": 8, "decay": 0.2, "diffusion": (0.6, 0.3)}),
        ("reacting ball", "reaction", 0.3, ball, {"channels": 8, "hidden": 12, "decay": 0.15, "diffusion": (0.2, 0.9)}),
        ("reacting ring", "reaction", 0.3, ring, {"channels": 6, "hidden": 8, "decay": 0.2, "diffusion": (0.6, 0.3)}),
        ("icosphere", "mesh", 0.045, ball, {"channels": 16, "hidden": 24, "fire_rate": 0.5}),
        ("spindle", "mesh", 0.03, ring, {"channels": 7, "hidden": 12, "fire_rate": 0.7}),
    ):
        automaton = make_automaton(kind, settings, surface)
        params = jnp.asarray(size * random.normal(size=automaton.num_params), jnp.float32)
        weights = nca.quantize(automaton, params) if settings["channels"] in (4, 12, 16) else params
        one = Model(image, weights, kind, settings, f"a {kind}", "made up", surface)
        shape = (SIZE, SIZE) if surface is None else (surface.num_vertices,)
        start = np.array(automaton.start(jax.random.key(len(cases)), shape))
        if surface is not None:
            start += random.normal(size=start.shape).astype(np.float32)
        move = jax.jit(automaton.move)

        def step(cells, time, one=one, move=move):
            rate, mask = one.settings.get("fire_rate"), None
            if rate is not None:
                mask = fires(time, rate) if one.surface is None else vertex_fires(time, rate, len(cells))
            return move(one.params, cells, None if mask is None else jnp.asarray(mask))

        cases.append((name, one, start, step))
    return cases


CASES = made_up()


@pytest.fixture(scope="module")
def ran(in_page):
    """For every case what the page made of its start in some steps, and after damage in the middle."""
    starts = []
    for _, _, start, _ in CASES:
        padded = np.zeros((start.size // start.shape[-1], 16), np.float32)
        padded[:, : start.shape[-1]] = start.reshape(len(padded), -1)
        starts.append(padded.ravel().tolist())
    script = f"""const a = nca.automaton, found = [], cells = () => Array.from(a.read());
        for (const [i, start] of {starts}.entries()) {{
            nca.choose(i); a.write(start); a.time = 0;
            const back = cells();
            for (let t = 0; t < {STEPS}; t++) nca.step();
            const after = cells();
            a.brush("erase", a.surface ? a.surface.points[0] : [12, 12], a.surface ? .3 : 4);
            const erased = cells(); a.brush("paint", a.surface ? a.surface.points[0] : [12, 12], a.surface ? .3 : 4, [1, 0, .25]);
            found.push([back, after, erased, cells()]);
        }}
        return found;"""
    found = in_page([one for _, one, _, _ in CASES], script)
    return [np.array(states, np.float32).reshape(4, -1, 16) for states in found]


@pytest.mark.parametrize("index", range(len(CASES)), ids=[name for name, *_ in CASES])
def test_cells_of_every_kind(ran, index):
    """They are those of JAX; damage changes what is under the brush alone."""
    _, one, start, step = CASES[index]
    back, after, erased, painted = ran[index]
    channels = one.channels
    np.testing.assert_array_equal(back[:, :channels], start.reshape(-1, channels))
    states = start
    for time in range(STEPS):
        states = step(states, time=time)
    states, start = np.reshape(states, (-1, channels)), np.reshape(start, (-1, channels))
    assert 0.2 < np.abs(states).max() < 20 and np.abs(states - start).max() > 0.2
    assert states.std(0).min() > 1e-3
    np.testing.assert_allclose(after[:, :channels], states, atol=2e-4)
    assert not after[:, channels:].any()

    if one.surface is not None:
        vertices = np.asarray(one.surface.vertices)
        middle = vertices - vertices.mean(0)
        inside = np.linalg.norm(vertices - vertices[0], axis=1) <= 0.3 * np.linalg.norm(middle, axis=1).max()
        assert 1 <= inside.sum() < len(vertices)
    else:
        y, x = np.mgrid[:SIZE, :SIZE]
        inside = ((y - 12) ** 2 + (x - 12) ** 2 <= 16).ravel()
    np.testing.assert_array_equal(erased[~inside], after[~inside])
    np.testing.assert_array_equal(painted[~inside], after[~inside])
    np.testing.assert_allclose(painted[inside], np.tile([0.5, -0.5, -0.25] + [0] * 13, (inside.sum(), 1)), atol=1e-6)
    if one.kind in ("texture", "mesh"):  # as at the start: nothing, or noise
        assert not erased[inside].any()
    else:
        axis = 0 if inside.sum() > 2 else None
        assert np.min(erased[inside, :channels].std(axis)) > 0.1 and not erased[inside, channels:].any()


def test_starts(in_page):
    entries = [one for name, one, *_ in CASES if name in ("texture 12", "micro 6", "reaction 16", "icosphere")]
    script = """const a = nca.automaton, found = [];
        for (const i of [0, 1, 2, 3]) { nca.choose(i); nca.step(); nca.reset();
            found.push(Array.from(a.read())); nca.reset(); found.push(Array.from(a.read())); }
        return found;"""
    states = [np.array(found).reshape(-1, 16) for found in in_page(entries, script, size=48)]
    texture, _, micro, another, reaction, other, mesh, _ = states
    assert not texture.any() and not mesh.any() and mesh.shape == (92, 16)
    for drawn, again, channels, std, most in ((micro, another, 6, 12**-0.5, 0.5), (reaction, other, 16, 0.3, 2)):
        assert (drawn[:, :channels] != again[:, :channels]).all() and not drawn[:, channels:].any()
        assert abs(drawn).max() <= most
        np.testing.assert_allclose(drawn[:, :channels].mean(0), 0, atol=4 * std / 48)
        np.testing.assert_allclose(drawn[:, :channels].std(0), std, rtol=0.05)
        correlation = np.corrcoef(drawn[:, :channels].T) - np.eye(channels)
        assert abs(correlation).max() < 4.5 / 48  # of 2,304 cells
    assert scipy.stats.kstest(reaction.ravel() / 0.3, "norm").pvalue > 1e-3
    assert scipy.stats.kstest(micro[:, :6].ravel() + 0.5, "uniform").pvalue > 1e-3


def test_every_kind_has_its_controls(in_page):
    """What makes no sense for an automaton is hidden; many of one kind are tiles; keys and the pointer turn surfaces."""
    chosen = [one for name, one, *_ in CASES if name in ("texture 5", "reaction 6", "reacting ball", "icosphere")]
    micro = [replace(one, label=f"micro {i}") for i, (_, one, *_) in enumerate(5 * [CASES[2]])]
    script = """
        const a = nca.automaton, $ = id => document.getElementById(id), buttons = [...$("models").children], seen = {};
        $("canvas").setPointerCapture = () => {};
        const event = (kind, x, y, id = 1) => { const b = $("canvas").getBoundingClientRect();
            $("canvas").dispatchEvent(new PointerEvent(kind, {pointerId: id, bubbles: true,
                clientX: b.left + (x + 1) / 2 * b.width, clientY: b.top + (1 - y) / 2 * b.height})); };
        const key = k => document.dispatchEvent(new KeyboardEvent("keydown", {key: k}));
        const shown = () => [...document.querySelectorAll("main button, main fieldset, main label, main input")]
            .filter(e => !$("models").contains(e) && e.offsetParent).map(e => e.id || e.dataset.tool).filter(Boolean);
        const view = () => a.surface.view.map(row => [...row]);
        seen.tiles = buttons.map(b => b.className);
        seen.shown = {};
        for (const [i, b] of buttons.entries()) {
            b.click(); nca.step(); nca.step();
            seen.shown[nca.models[i].kind + (a.surface ? " on a surface" : "")] = shown();
            if (a.kind !== nca.models[i].kind || buttons.filter(o => o.ariaChecked === "true").length !== 1) throw Error("not chosen");
        }
        buttons[0].click(); $("tools").querySelector("[data-tool=plant]").click(); buttons[1].click();
        seen.tool = $("tools").querySelector("[aria-checked=true]").dataset.tool;
        buttons[buttons.length - 1].click();
        seen.label = $("canvas").ariaLabel; seen.about = $("about").textContent;
        seen.views = [view()];
        key("ArrowRight"); seen.views.push(view());
        event("pointerdown", 0, 0); event("pointermove", .3, 0); event("pointerup", .3, 0); seen.views.push(view());
        const zoom = a.surface.zoom;
        $("canvas").dispatchEvent(new WheelEvent("wheel", {deltaY: -100, cancelable: true})); seen.wheel = a.surface.zoom / zoom;
        event("pointerdown", -.2, 0); event("pointerdown", .2, 0, 2); event("pointermove", .4, 0, 2);
        seen.pinch = a.surface.zoom / zoom / seen.wheel; event("pointerup", .4, 0, 2); event("pointerup", -.2, 0);
        seen.views.push(view()); seen.zoom = a.surface.zoom = 2.5;
        a.write(new Array(16 * 92).fill(1).map((_, i) => i % 16 ? -.25 : .25)); nca.refresh();
        const gl = a.gl, pixel = (x, y) => { const p = new Uint8Array(4); gl.bindFramebuffer(gl.FRAMEBUFFER, null);
            gl.readPixels(...[x, y].map(v => Math.floor((v + 1) / 2 * (gl.drawingBufferWidth - 1))), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, p); return [...p]; };
        seen.pixels = [pixel(0, 0), pixel(.5, 0), pixel(-.99, .99)];
        $("tools").querySelector("[data-tool=erase]").click(); $("radius").value = 1;
        event("pointerdown", .5, -.25); event("pointerup", .5, -.25);
        seen.erased = Array.from(a.read()).filter((_, i) => i % 16 === 0);
        event("pointerdown", .97, .97); event("pointermove", .9, .97); event("pointerup", .9, .97);
        seen.views.push(view());
        return seen;"""
    seen = in_page([model(6, 9), *micro, *chosen, chosen[-1]], script)  # the last shares its surface
    everywhere = ["play", "step", "reset", "speed", "erase", "paint", "colour", "radius"]
    for kind in ("micro", "texture", "reaction"):
        assert seen["shown"][kind] == everywhere
    assert sorted(seen["shown"]["growing"]) == sorted([*everywhere, "several", "angle", "plant", "torus"])
    for kind in ("mesh", "reaction"):
        assert sorted(seen["shown"][f"{kind} on a surface"]) == sorted([*everywhere, "turn"])
    assert seen["tiles"] == [""] + ["tile"] * 5 + [""] * 5
    assert seen["tool"] == "erase" and "arrow keys" in seen["label"] and seen["about"] == "a mesh · made up"
    first, keyed, dragged, pinched, last = views = np.array(seen["views"])
    np.testing.assert_allclose(views @ np.swapaxes(views, 1, 2), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-9)
    c, s = np.cos(0.15), np.sin(0.15)
    np.testing.assert_allclose(keyed, [[c, 0, s], [0, 1, 0], [-s, 0, c]] @ first, atol=1e-9)  # the front to the right
    about = dragged @ keyed.T
    np.testing.assert_allclose(about[1], [0, 1, 0], atol=1e-9)
    assert about[0, 2] > 0.1 and (pinched == dragged).all() and not np.allclose(last, dragged)
    assert seen["wheel"] == pytest.approx(np.exp(1 / 6)) and seen["pinch"] == pytest.approx(1.5)

    centre, right, corner = np.array(seen["pixels"])
    for red, green, blue, alpha in (centre, right):
        assert alpha == 255 and 3 * green - 6 <= red <= 3 * green + 6 and green == blue and 130 < red < 205
    assert corner.tolist() == [0, 0, 0, 0]
    turned = np.asarray(nca.icosphere(3).vertices) @ dragged.T
    onscreen = 2.5 * turned[:, :2] / (3 - turned[:, 2:])
    distance = np.linalg.norm(onscreen - [0.5, -0.25], axis=1) + 9 * (turned[:, 2] < 0)
    erased = np.flatnonzero(np.array(seen["erased"]) == 0)
    assert distance.argmin() in erased and 1 <= len(erased) <= 7 and (turned[erased, 2] > 0).all()


def of_size(kind, pixels=128):
    """A model of the size that the package trains, with an image that is hard to pack, in 8 bits."""
    random = np.random.default_rng(0)
    settings = {"reaction": {"channels": 16, "hidden": 64}}.get(kind, {})
    surface = nca.icosphere(16) if kind == "mesh" else None
    automaton = make_automaton(kind, settings, surface)
    codes = jnp.asarray(random.integers(-128, 128, automaton.num_params), jnp.int8)
    names = automaton.unflatten(codes)
    weights = nca.Quantized(codes, dict.fromkeys(names, jnp.float32(0.1234567)), dict.fromkeys(names, jnp.float32(0)))
    image = random.uniform(size=(pixels, pixels, 3))
    return Model(image, weights, kind, settings, "a long name", "and more than that", surface)


def test_it_stays_small():
    """Three lizards, a dozen micro automata, reaction and diffusion, a texture, and a sphere of 2,562 vertices."""
    models = [*map(load, GROWING), *12 * [of_size("micro")], *map(of_size, ("reaction", "texture", "mesh"))]
    assert [model.params.size for model in models[-4:]] == [68, 2112, 5868, 12_432]
    assert models[-1].surface.num_vertices == 2562
    assert len(page(models).encode()) <= 250_000
    assert len(page([*models, models[-1]]).encode()) < len(page(models).encode()) + 25_000  # a surface is written once
    assert max(len(entry(one)["picture"]) for one in models) < 2400


def test_a_picture_of_a_texture_is_its_middle():
    target = np.zeros((100, 80, 3), np.float32)
    target[26:74, 16:64] = np.linspace(0, 1, 4)[None, np.arange(48) // 12, None]
    one = replace(of_size("micro"), target=target)
    data = base64.b64decode(entry(one)["picture"].split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_allclose(pixels / 255, target[26:74, 16:64], atol=1 / 255)


def test_faces_of_large_surfaces_have_four_bytes():
    for count, width in ((2**16, 2), (2**16 + 1, 4)):
        made = surface_entry(np.zeros((count, 3)), np.full((5, 3), count - 1))
        assert len(base64.b64decode(made["faces"])) == 15 * width and made["count"] == count
        assert (np.frombuffer(base64.b64decode(made["faces"]), f"<u{width}") == count - 1).all()


def test_it_is_one_small_file_that_loads_nothing():
    text = page([load(name) for name in GROWING])
    assert len(text.encode()) < 150_000
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//|@import|fetch\(|import\s", text)


@pytest.mark.parametrize(
    ("models", "size", "message"),
    [
        ([], 96, "at least one automaton"),
        ([model()], 8, "size must be .* got 8"),
        ([model(channels=17)], 96, "at most 16 channels, got 17"),
    ],
)
def test_bad_input(models, size, message):
    with pytest.raises(ValueError, match=message):
        page(models, size)
