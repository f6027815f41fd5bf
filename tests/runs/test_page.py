# ruff: noqa: E501 (lines of JavaScript)
import http.server
import json
import queue
import re
import shutil
import subprocess
import threading
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca
from neuralmutator.runs.automata import BUNDLED, Model, load
from neuralmutator.runs.page import page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIZE = 24
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


def model(channels=16, hidden=32, seed=0, size=0.12, fire_rate=0.5, exact=False):
    """An automaton that lives for a while; its parameters need mean nothing."""
    automaton = nca.growing(channels, hidden, fire_rate)
    params = size * jax.random.normal(jax.random.key(seed), (automaton.num_params,))
    params = params.at[nca.ALPHA - channels].set(0.3)  # so that life spreads
    weights = params if exact else nca.quantize(automaton, params)
    settings = {"channels": channels, "hidden": hidden, "fire_rate": fire_rate}
    return Model(np.full((8, 8, 4), 0.5, np.float32), weights, "growing", settings, "a blob", "it lives")


class Browser(http.server.BaseHTTPRequestHandler):
    """Serves the page to a browser and hears what it answers; anything else that it asks for is written down."""

    def do_GET(self):
        if self.path != "/":
            self.server.asked.append(self.path)
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.server.text.encode())

    def do_POST(self):
        self.server.answer.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def run_in_browser(tmp_path, models, script, size=SIZE):
    """What `script` (the body of an async function) returns in the page; the console must have said nothing."""
    watch = "window.said = []; console.error = (...a) => said.push(a.join(' ')); onerror = e => said.push(String(e));"
    answer = f"""(async () => {{ let result; nca.play(false);
        const wait = ms => new Promise(done => setTimeout(done, ms));
        try {{ result = await (async () => {{ {script} }})(); }} catch (e) {{ said.push(String(e.stack)); }}
        fetch("/", {{method: "POST", body: JSON.stringify({{result, said}})}}); }})();"""
    text = page(models, size).replace('"use strict";', '"use strict";' + watch, 1)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Browser) as server:
        server.text = text.replace("</body>", f"<script>{answer}</script></body>")
        server.asked, server.answer = [], queue.Queue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader",
                   "--remote-debugging-port=0", f"--user-data-dir={tmp_path / 'profile'}",
                   f"http://127.0.0.1:{server.server_port}/"]  # fmt: skip
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found = server.answer.get(timeout=300)
        finally:
            browser.terminate()
            browser.wait(timeout=60)
            server.shutdown()
    assert found["said"] == [] and set(server.asked) <= {"/favicon.ico"}
    return found["result"]


def mixed(h):
    h = (h ^ (h >> 16)) * 0x7FEB352D & 0xFFFFFFFF
    h = (h ^ (h >> 15)) * 0x846CA68B & 0xFFFFFFFF
    return h ^ (h >> 16)


def fires(time, rate, size=SIZE):
    """The page's firing mask, bool[size, size]."""
    limit = int(rate * 0xFFFFFFFF)
    return np.array([[mixed(mixed(mixed(time) ^ y) ^ x) <= limit for x in range(size)] for y in range(size)])


@needs_chromium
@pytest.mark.parametrize(("channels", "hidden", "rate", "degrees"), [(16, 32, 0.5, 0), (6, 9, 0.7, 40)])
def test_its_cells_are_those_of_the_automaton(tmp_path, channels, hidden, rate, degrees):
    one = model(channels, hidden, fire_rate=rate)
    steps = 12
    script = f"""nca.automaton.angle = {degrees} * Math.PI / 180; nca.reset(); nca.automaton.time = 0;
        for (let i = 0; i < {steps}; i++) nca.step();
        return Array.from(nca.automaton.read());"""
    cells = np.array(run_in_browser(tmp_path, [one], script), np.float32).reshape(SIZE, SIZE, 16)
    automaton = nca.growing(channels, hidden, rate, np.deg2rad(degrees))
    grid, move = nca.seed_grid((SIZE, SIZE), channels), jax.jit(automaton.move)
    for t in range(steps):
        mask = fires(t, rate)
        assert mask.mean() == pytest.approx(rate, abs=0.08)
        grid = move(one.params, grid, jnp.asarray(mask))
    assert np.abs(grid).max() > 0.5 and (np.abs(grid).sum(axis=2) > 0).mean() > 0.1
    np.testing.assert_allclose(cells[..., :channels], grid, atol=2e-4 * float(np.abs(grid).max()))


@needs_chromium
def test_its_parameters_are_those_of_the_automaton_bit_for_bit(tmp_path):
    """Floats; symmetric codes; codes with half levels, none of which is zero."""
    floats, symmetric = model(6, 9, exact=True), model(6, 9)
    codes = jnp.asarray(np.random.default_rng(0).integers(-128, 128, floats.params.size), jnp.int8)
    scales = {name: jnp.float32(0.004 / (i + 1.7)) for i, name in enumerate(("w1", "b1", "w2", "b2"))}
    offsets = {"w1": jnp.float32(-0.5), "b1": jnp.float32(-0.5), "w2": jnp.float32(3.5), "b2": jnp.float32(0)}
    models = [floats, symmetric, replace(floats, weights=nca.Quantized(codes, scales, offsets))]
    found = run_in_browser(tmp_path, models, "return nca.models.map(m => Array.from(nca.parameters(m)));")
    for one, params in zip(models, found, strict=True):
        np.testing.assert_array_equal(np.array(params, np.float32), one.params)


@needs_chromium
def test_its_controls(tmp_path):
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
    seen = run_in_browser(tmp_path, [model(), model(hidden=9, seed=1)], script)
    assert seen["models"] == 2 and seen["seed"] == 1 and seen["steps"] == [1, 2]
    assert seen["after_reset"] == [0, 1] and seen["several"] == 4
    np.testing.assert_allclose(seen["painted"], [[1, 128 / 255, 0, 1, 0], [0] * 5], atol=1e-6)
    assert seen["erased"] == 0 and seen["planted"] == [1, 1, 0, 1]
    assert seen["angle"] == [pytest.approx(np.pi / 2), "90°"] and seen["torus"]
    assert seen["model"] == [9, 0, "true"]
    assert seen["ran"] == [0, "Play"]


@needs_chromium
def test_joined_borders(tmp_path):
    script = """nca.automaton.torus = true; nca.automaton.clear(); nca.automaton.brush("plant", 0, 0); nca.automaton.time = 0;
        for (let i = 0; i < 6; i++) nca.step();
        return Array.from(nca.automaton.read());"""
    one = model()
    cells = np.array(run_in_browser(tmp_path, [one], script), np.float32).reshape(SIZE, SIZE, 16)
    automaton = nca.growing(16, 32)
    grid = jnp.roll(nca.seed_grid((SIZE, SIZE)), (SIZE // 2, SIZE // 2), (0, 1))
    for t in range(6):  # six updates in the middle of the grid never see its border
        moved = jnp.roll(grid, (SIZE // 2, SIZE // 2), (0, 1))
        mask = jnp.roll(jnp.asarray(fires(t, 0.5)), (SIZE // 2, SIZE // 2), (0, 1))
        grid = jnp.roll(automaton.move(one.params, moved, mask), (SIZE // 2, SIZE // 2), (0, 1))
    assert np.abs(np.asarray(grid)[[-1, 0], 0]).sum() > 0.1
    np.testing.assert_allclose(cells, grid, atol=2e-4 * float(np.abs(grid).max()))


@needs_chromium
@pytest.mark.slow
def test_a_lizard_grows_and_regrows(tmp_path):
    """In the page as out of it: from the seed, and after a disc of it was erased."""
    lizard = load("regenerating")
    script = """
        const a = nca.automaton, grow = n => { for (let i = 0; i < n; i++) nca.step(); return Array.from(a.read()); };
        a.time = 0; nca.reset();
        const grown = grow(120);
        a.brush("erase", 36, 22, 9);
        return [grown, Array.from(a.read()), grow(120)];"""
    cells = np.array(run_in_browser(tmp_path, [lizard], script, size=72), np.float32).reshape(3, 72, 72, 16)
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
