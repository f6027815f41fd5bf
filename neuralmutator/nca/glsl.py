"""µNCA (Mordvintsev and Niklasson 2021) as the text of a shader, short enough to be pasted."""

import jax
import numpy as np

from neuralmutator.core import check
from neuralmutator.nca.micro_cells import FILTERS

SHORT = 3000
"""No shader has so many characters."""

_HEAD = """#version 300 es
#define M mat4
#define T(l) texelFetch(s,ivec3(p,l),0)
precision highp float;precision highp sampler2DArray;uniform sampler2DArray s;layout(location=0)out vec4 o[{layers}];
void main(){{
vec4 {zeros};
for(int k=0;k<9;k++){{
ivec2 t=ivec2(k%3,k/3)-1,n=textureSize(s,0).xy,p=(ivec2(gl_FragCoord)+t+n)%n;
vec2 w=2.-abs(vec2(t));float L=w.x*w.y-(k==4?16.:0.),X=float(t.x)*w.y,Y=float(t.y)*w.x;
"""


def micro_glsl(params: jax.Array | np.ndarray, channels: int) -> str:
    """One update of a µNCA as a fragment shader of GLSL ES 3.00, of less than 3,000 characters.

    The shader reads the state from the texture array `s`, whose layer l holds channels 4 l to 4 l + 3 and whose borders
    are joined, and draws the next state to as many targets. Row y of the grid is row y of the texture. The matrix and
    the bias are whole numbers times a scale each: up to 127, or up to 99 where the text would be too long.

    Args:
        params: f32[C (4 C + 1)], the matrix [4 C, C] row by row, then the bias.
        channels: C: 4, 6, 8 or 12.

    Raises:
        ValueError: if there is no such family, or the parameters are not finite or of another number.
    """
    check.one_of(FILTERS, channels=channels)
    flat = np.asarray(params, np.float32)
    expected = channels * (4 * channels + 1)
    if flat.shape != (expected,):
        raise ValueError(f"params must have shape ({expected},), got {flat.shape}")
    if not np.isfinite(flat).all():
        raise ValueError("params must be finite, got NaN or infinity")
    text = _shader(flat, channels, levels=127)
    return text if len(text) < SHORT else _shader(flat, channels, levels=99)


def _shader(flat: np.ndarray, channels: int, levels: int) -> str:
    layers = -(-channels // 4)
    own, seen, sizes = "abc"[:layers], "def"[:layers], "ghijkl"[: 2 * layers]
    kinds = "".join(kind * count for kind, count in zip("LXY", FILTERS[channels], strict=True)).ljust(4 * layers, "0")
    lines = [_HEAD.format(layers=layers, zeros=",".join(f"{name}=vec4(0)" for name in seen + own))]
    for layer in range(layers):
        kind = kinds[4 * layer : 4 * layer + 4]
        weight = kind[0] if len(set(kind)) == 1 else f"vec4({','.join(kind)})"
        lines.append(f"{seen[layer]}+={weight}*T({layer});")
    lines.append(f"if(k==4){{{''.join(f'{name}=T({layer});' for layer, name in enumerate(own))}}}}}\n")
    lines.append(f"vec4 {','.join(f'{size}=abs({of})' for size, of in zip(sizes, own + seen, strict=True))};\n")

    matrix, matrix_scale = _whole(flat[: 4 * channels**2], levels)
    bias, bias_scale = _whole(flat[4 * channels**2 :], levels)
    weights = np.zeros((4, 4 * layers, 4 * layers), int)  # field seen, its channel, what changes
    weights[:, :channels, :channels] = matrix.reshape(4, channels, channels)
    offsets = np.zeros(4 * layers, int)
    offsets[:channels] = bias
    for layer, name in enumerate(own):
        part = slice(4 * layer, 4 * layer + 4)
        # a mat4 is written column by column: what one value that is seen adds to the four channels
        blocks = zip(weights.reshape(4 * layers, 4, -1)[..., part], own + seen + sizes, strict=True)
        sums = "+".join(f"M({_list(block)})*{of}" for block, of in blocks)
        lines.append(f"o[{layer}]={name}+{matrix_scale}*({sums})+{bias_scale}*vec4({_list(offsets[part])});\n")
    return "".join(lines) + "}\n"


def _whole(values: np.ndarray, levels: int) -> tuple[np.ndarray, str]:
    """Whole numbers from -levels to levels, and by what they are to be multiplied; most are not negative: no signs."""
    scale = float(np.abs(values).max()) / levels or 1.0
    if (values < 0).sum() > (values > 0).sum():
        scale = -scale
    return np.round(values / scale).astype(int), f"({scale:.6e})"


def _list(numbers: np.ndarray) -> str:
    return ",".join(map(str, numbers.ravel()))
