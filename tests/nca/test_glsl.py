import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralmutator.nca.glsl import micro_glsl

SIZE, STEPS = 12, 10
COUNTS = {4: (2, 1, 1), 6: (2, 2, 2), 8: (4, 2, 2), 12: (4, 4, 4)}
LAPLACE = np.array([[1, 2, 1], [2, -12, 2], [1, 2, 1]])
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])

# The same published texture of 68 numbers, times 1000 (google/swissgl, demo/NeuralCA.js, Apache-2.0), but for its
# Sobel y, which looks the other way: the last of the second four rows is negated here.
BRAID = [
    [-67, 1, 2, 44], [-13, -59, 4, 30], [-1, 16, -57, 9], [-10, -4, -2, -41],
    [19, -18, -1, 8], [-4, 35, 8, 0], [-4, -4, -1, 0], [-34, -31, -21, 25],
    [4, 13, 18, -57], [-79, -22, -25, 71], [-12, -11, 24, 27], [-17, -8, -7, 6],
    [11, 10, 4, 0], [4, 1, 2, 7], [-26, -33, -15, -3], [22, 27, 20, -34],
    [2, -5, -13.5, 9],
]  # fmt: skip


def step(params, grid):
    """One update in float64."""
    channels = grid.shape[2]
    w, b = params[:-channels].reshape(-1, channels), params[-channels:]
    kernels = [k for k, count in zip((LAPLACE, SOBEL, SOBEL.T), COUNTS[channels], strict=True) for _ in range(count)]
    around = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    y = np.stack(
        [
            sum(k[dy + 1, dx + 1] * np.roll(grid[..., c], (-dy, -dx), (0, 1)) for dy, dx in around)
            for c, k in enumerate(kernels)
        ],
        axis=2,
    )
    return grid + np.concatenate([grid, y, abs(grid), abs(y)], 2) @ w + b


def rounded(params, channels, levels=127):
    """The nearest of the whole numbers times a scale that a shader can say."""
    parts = []
    for part in (params[:-channels], params[-channels:]):
        scale = np.abs(part).max() / levels
        parts.append(np.round(part / scale) * scale)
    return np.concatenate(parts)


DRAW = """const gl = document.createElement("canvas").getContext("webgl2"), size = %d, steps = %d;
    if (!gl.getExtension("EXT_color_buffer_float")) throw Error("no float targets");
    const full = "#version 300 es\\nvoid main() { gl_Position = vec4(vec2[](vec2(-1), vec2(3, -1), vec2(-1, 3))[gl_VertexID], 0, 1); }";
    gl.viewport(0, 0, size, size);
    return CASES.map(({ text, start }) => {
        const program = gl.createProgram(), layers = start.length / (4 * size * size);
        for (const [type, code] of [[gl.VERTEX_SHADER, full], [gl.FRAGMENT_SHADER, text]]) {
            const shader = gl.createShader(type);
            gl.shaderSource(shader, code); gl.compileShader(shader); gl.attachShader(program, shader);
            if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw Error(gl.getShaderInfoLog(shader));
        }
        gl.linkProgram(program); gl.useProgram(program);
        const targets = [0, 1].map(() => {
            const texture = gl.createTexture(), frame = gl.createFramebuffer();
            gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
            gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA32F, size, size, layers);
            for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D_ARRAY, name, gl.NEAREST);
            gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, size, size, layers, gl.RGBA, gl.FLOAT, new Float32Array(start));
            gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
            const buffers = [...Array(layers).keys()].map(l => gl.COLOR_ATTACHMENT0 + l);
            buffers.forEach((buffer, l) => gl.framebufferTextureLayer(gl.FRAMEBUFFER, buffer, texture, 0, l));
            gl.drawBuffers(buffers);
            return { texture, frame };
        });
        for (let i = 0; i < steps; i++) {
            gl.bindTexture(gl.TEXTURE_2D_ARRAY, targets[i %% 2].texture);
            gl.bindFramebuffer(gl.FRAMEBUFFER, targets[1 - i %% 2].frame);
            gl.drawArrays(gl.TRIANGLES, 0, 3);
        }
        gl.bindFramebuffer(gl.FRAMEBUFFER, targets[steps %% 2].frame);
        return [...Array(layers).keys()].map(l => {
            const layer = new Float32Array(4 * size * size);
            gl.readBuffer(gl.COLOR_ATTACHMENT0 + l);
            gl.readPixels(0, 0, size, size, gl.RGBA, gl.FLOAT, layer);
            return Array.from(layer);
        });
    });""" % (SIZE, STEPS)  # noqa: E501, UP031


def test_shaders_of_every_family_are_the_automaton(browser):
    random = np.random.default_rng(2)
    cases = [(channels, 0.005 * random.normal(size=channels * (4 * channels + 1))) for channels in COUNTS]
    cases.append((4, np.ravel(BRAID) / 1000))
    shaders, expected = [], []
    for channels, params in cases:
        grid = random.uniform(-0.5, 0.5, (SIZE, SIZE, channels)).astype(np.float32)
        layers = -(-channels // 4)
        padded = np.concatenate([grid, np.zeros((SIZE, SIZE, 4 * layers - channels))], 2)
        start = np.moveaxis(padded.reshape(SIZE, SIZE, layers, 4), 2, 0)
        shaders.append({"text": micro_glsl(params, channels), "start": start.ravel().tolist()})
        states = grid.astype(np.float64)
        for _ in range(STEPS):
            states = step(rounded(params, channels), states)
        assert 0.1 < np.abs(states - grid).max() < 10
        expected.append(states)
    script = f"const CASES = {json.dumps(shaders)}; {DRAW}"
    found = browser("<!doctype html><html><head></head><body></body></html>", script)
    for layers, states in zip(found, expected, strict=True):
        drawn = np.concatenate([np.reshape(layer, (SIZE, SIZE, 4)) for layer in layers], 2)
        np.testing.assert_allclose(drawn[..., : states.shape[2]], states, atol=2e-5)
        assert not drawn[..., states.shape[2] :].any()


@given(
    st.sampled_from(tuple(COUNTS)),
    st.sampled_from(["normal", "uniform", "least", "signs", "zeros", "tiny"]),
    st.integers(0, 2**32 - 1),
)
def test_it_is_short_and_keeps_every_number(channels, kind, seed):
    """The numbers in the text, times their scales, are the parameters to half a level."""
    random = np.random.default_rng(seed)
    size = channels * (4 * channels + 1)
    params = {
        "normal": random.normal(size=size),
        "uniform": random.uniform(-1, 1, size),
        "least": -np.ones(size),
        "signs": random.choice([-1.0, 1.0], size),
        "zeros": np.zeros(size),
        "tiny": 1e-12 * random.normal(size=size),
    }[kind].astype(np.float32)
    text = micro_glsl(params, channels)
    assert len(text) < 3000 and text.isascii()
    layers = -(-channels // 4)
    w, b = np.zeros((4, 4 * layers, 4 * layers)), np.zeros(4 * layers)
    for layer, line in enumerate(text.split("\no[")[1:]):
        scale, rest = line.split("+(", 1)[1].split(")*(", 1)
        matrices, offset = rest.split(")+(")
        columns = np.array([part.split(")")[0].split(",") for part in matrices.split("M(")[1:]], float)
        w.reshape(4 * layers, 4, layers, 4)[:, :, layer] = float(scale) * columns.reshape(4 * layers, 4, 4)
        factor, numbers = offset.split(")*vec4(")
        b[4 * layer : 4 * layer + 4] = float(factor) * np.array(numbers.split(")")[0].split(","), float)
    parts = ((w[:, :channels, :channels].ravel(), params[:-channels]), (b[:channels], params[-channels:]))
    for said, meant in parts:
        np.testing.assert_allclose(said, meant, atol=np.abs(meant).max() * (0.5 / 99 + 1e-5), rtol=0)
    assert np.count_nonzero(w) == np.count_nonzero(w[:, :channels, :channels])


@pytest.mark.parametrize(
    ("params", "channels", "message"),
    [
        (np.zeros(68), 5, "channels must be one of 4, 6, 8, 12, got 5"),
        (np.zeros(67), 4, r"params must have shape \(68,\), got \(67,\)"),
        (np.full(68, np.nan), 4, "params must be finite"),
    ],
)
def test_bad_input(params, channels, message):
    with pytest.raises(ValueError, match=message):
        micro_glsl(params, channels)
