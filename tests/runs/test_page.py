# ruff: noqa: E501 (lines of JavaScript)
import base64
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca
from neuralmutator.runs.automata import BUNDLED, Model, load
from neuralmutator.runs.page import filled, page

SIZE = 24


def model(channels=16, hidden=32, seed=0, size=0.12, fire_rate=0.5, exact=False):
    """An automaton that lives for a while; its parameters need mean nothing."""
    automaton = nca.growing(channels, hidden, fire_rate)
    params = size * jax.random.normal(jax.random.key(seed), (automaton.num_params,))
    params = params.at[nca.ALPHA - channels].set(0.3)  # so that life spreads
    weights = params if exact else nca.quantize(automaton, params)
    settings = {"channels": channels, "hidden": hidden, "fire_rate": fire_rate}
    return Model(np.full((8, 8, 4), 0.5, np.float32), weights, "growing", settings, "a blob", "it lives")


def base64_of(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def entry(kind, params, channels, hidden=0, fire_rate=1.0, **more):
    """What a page holds of an automaton."""
    named = {"kind": kind, "name": kind, "about": "made up", "picture": "data:,"}
    sizes = {"channels": channels, "hidden": hidden, "fire_rate": fire_rate}
    return named | sizes | {"params": base64_of(np.asarray(params, "<f4"))} | more


@pytest.fixture
def in_page(browser):
    """What a script returns in the page of some models, or entries, which stands still; see `browser`."""

    def run(models, script, size=SIZE):
        text = filled(models, size) if isinstance(models[0], dict) else page(models, size)
        return browser(text, "nca.play(false);" + script)

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


def test_it_is_one_small_file_that_loads_nothing():
    text = page([load(name) for name in BUNDLED])
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
