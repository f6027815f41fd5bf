"""What several test files share: the specification of the dual mutator in plain NumPy, small genomes, a browser."""

import http.server
import json
import os
import queue
import shutil
import subprocess
import threading
from importlib.metadata import version
from math import erf, sqrt

# Half of the suite's time is XLA's, and its newer way of compiling loops takes three times as long as the older one.
# From jaxlib 0.11 on there is only the newer one, and XLA ends a process over a flag that it does not know.
if version("jaxlib").startswith(("0.8.", "0.9.", "0.10.")):
    os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {os.environ.get('XLA_FLAGS', '')}"

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings

from neuralmutator import Genome

# A failure must come back tomorrow; compile time must not count as a slow example.
settings.register_profile("house", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("house")


def dual_child(draws, a, b=None, *, chunk_size, mixture=True, positive=False, meta_rate=0.1, scale_rate=0.1):
    """One child of the dual mutator in float64, chunk by chunk; `a` and `b` are (policy, mutator, compat).

    `draws` holds one N(0, 1) per parameter, one for the escape, one per strategy gene.
    """
    a = [np.asarray(x, np.float64) for x in a]
    draws = np.asarray(draws, np.float64)
    policy_size, total, k = a[0].size, sum(x.size for x in a), chunk_size
    base = np.concatenate(a if b is None else [(x + np.asarray(y, np.float64)) / 2 for x, y in zip(a, b, strict=True)])

    parts, start = [], 0
    for shape in [(16,), (16,), (k, 16), (16,), (48, 64), (64,), (64, k), (k,)]:
        parts.append(a[1][start : start + np.prod(shape)].reshape(shape))
        start += np.prod(shape)
    ref_policy, ref_meta, w_e, b_e, w_1, b_1, w_2, b_2 = parts
    genes = a[1][start:]
    if positive:
        p = np.exp(genes[4]) / (1 + np.exp(genes[4])) if mixture else 0.0  # the odds of a fresh genome are 1
        starts = np.array([0.03, 0.01, 0.01, 0.002, np.nan, 0.3])[: len(genes)]
        genes, drift = starts * np.exp(genes), scale_rate * draws[total + 1 :]
        if mixture:
            genes[4] = p
    else:
        drift = np.zeros(len(genes))

    padded = np.concatenate([base, np.zeros(-total % k)])
    out = padded.copy()
    noise = np.concatenate([draws[:total], np.zeros(-total % k)])
    escapes = mixture and 0.5 * (1 + erf(draws[total] / sqrt(2))) < genes[4]
    for first in range(0, total, k):
        of_policy = first < policy_size
        ref, scale, explore = (ref_policy, genes[0], genes[2]) if of_policy else (ref_meta, genes[1], genes[3])
        chunk = padded[first : first + k]
        e = np.tanh(chunk @ w_e + b_e)
        hidden = np.tanh(np.concatenate([e, ref, e - ref]) @ w_1 + b_1)
        out[first : first + k] += np.clip(scale * np.tanh(hidden @ w_2 + b_2), -0.1, 0.1)
        for i in range(first, first + k):
            std = sqrt(explore**2 + genes[5] ** 2) if escapes and i < policy_size else abs(explore)
            out[i] += std * noise[i]
    child = base + (out[:total] - base) * np.where(np.arange(total) < policy_size, 1.0, meta_rate)
    if b is not None:
        std = np.repeat([0.002, 0.05], [a[1].size, a[2].size])
        child[policy_size:] = base[policy_size:] + std * draws[policy_size:total]
    policy, mutator, compat = np.split(child, [policy_size, policy_size + a[1].size])
    mutator[mutator.size - len(genes) :] += drift
    return policy, mutator, compat


def make_genome(mutator, policy=13, compat=9, seed=0, genes=None):
    """A genome of random parameters with a fresh mutator; `genes` are written over its last, the strategy genes."""
    random = np.random.default_rng(seed)
    params = np.array(jax.jit(mutator.init)(jax.random.key(seed)))
    if genes is not None and len(genes):
        params[params.size - len(genes) :] = genes
    return Genome(
        policy=jnp.asarray(random.normal(size=policy), jnp.float32),
        mutator=jnp.asarray(params),
        compat=jnp.asarray(random.normal(size=compat), jnp.float32),
        topology=jnp.array([8 + seed, 0], jnp.int32),
        structural_rate=jnp.float32(0.05 + 0.01 * seed),
    )


QUICK_TO_RUN = {
    *("car", "chemistry", "cli", "core", "envs", "fitness", "host", "lander", "mutators", "nca", "networks"),
    *("population", "quine", "runs", "study"),
}
"""Folders of tests that compile for far longer than they compute."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Compiles those with XLA's optimisations off, which saves a third of their time; slow tests keep them."""
    quick = item.path.parent.name in QUICK_TO_RUN and item.get_closest_marker("slow") is None
    jax.config.update("jax_disable_most_optimizations", quick)


@pytest.fixture(scope="session")
def specified_child():
    return dual_child


@pytest.fixture(scope="session")
def genome():
    return make_genome


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(http.server.BaseHTTPRequestHandler):
    """Serves a page to a browser and hears what it answers; anything else that it asks for is written down."""

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


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """`run(text, script)`: what `script`, the body of an async function, returns in the page `text`.

    The page must fetch nothing, and its console must have said nothing.
    """
    if CHROMIUM is None:
        pytest.skip("needs Chromium")

    def run(text, script):
        watch = "window.said = []; console.error = (...a) => said.push(a.join(' '));"
        watch += "window.onerror = e => said.push(String(e));"
        answer = f"""(async () => {{ let result;
            const wait = ms => new Promise(done => setTimeout(done, ms));
            try {{ result = await (async () => {{ {script} }})(); }} catch (e) {{ said.push(String(e.stack)); }}
            fetch("/", {{method: "POST", body: JSON.stringify({{result, said}})}}); }})();"""
        text = text.replace("<head>", f"<head><script>{watch}</script>", 1)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
            server.text = text.replace("</body>", f"<script>{answer}</script></body>")
            server.asked, server.answer = [], queue.Queue()
            threading.Thread(target=server.serve_forever, daemon=True).start()
            profile, address = tmp_path_factory.mktemp("profile"), f"http://127.0.0.1:{server.server_port}/"
            command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage"]
            command += ["--enable-unsafe-swiftshader", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
            process = subprocess.Popen([*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                found = server.answer.get(timeout=300)
            finally:
                process.terminate()
                process.wait(timeout=60)
                server.shutdown()
        assert found["said"] == [] and set(server.asked) <= {"/favicon.ico"}
        return found["result"]

    return run
