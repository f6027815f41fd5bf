# ruff: noqa: E501 (lines of JavaScript)
import jax
import numpy as np
import pytest

from neuralmutator import life
from neuralmutator.core import rollout
from neuralmutator.runs.life import PLANTS, planted
from neuralmutator.runs.life_page import SPOKEN, page, write_page


@pytest.fixture(scope="module")
def in_page(browser):
    """What a script returns in the page, whose soup stands still; see `browser`."""

    def run(script):
        pause = """const $ = id => document.getElementById(id);
            const set = (id, value) => { $(id).value = value; $(id).dispatchEvent(new Event("change")); };
            play(false); await soup.done();"""
        return browser(page(), pause + script)

    return run


def soup_of_jax(language, epochs, programs, pairing=None, mutation=1 / 4096, plant=None):
    """The bytes of cubff's soup of seed 7."""
    soup = life.soup(language, programs, mutation=mutation, pairing=pairing, stream=life.cubff(7))
    state = jax.jit(soup.init)(jax.random.key(0))
    if plant is not None:
        state = life.plant(state, *plant)
    after = jax.jit(lambda state: rollout(soup.step, jax.random.key(0), state, epochs)[0])(state)
    return np.asarray(after.bytes)


def test_its_soups_are_those_of_jax_byte_for_byte(in_page):
    script = """set("language", "bff_noheads_4bit"); set("programs", 512); set("seed", 7);
        steps(100); await soup.done();
        return [soup.epoch, Array.from(soup.bytes)];"""
    epoch, found = in_page(script)
    assert epoch == 100
    np.testing.assert_array_equal(np.reshape(found, (512, 64)), soup_of_jax("bff_noheads_4bit", 100, 512))


@pytest.mark.slow
def test_neighbours_of_it_are_those_of_jax(in_page):
    """Without mutation, and with a program that is planted."""
    script = """set("language", "bff"); set("programs", 512); set("seed", 7);
        $("mutation").value = 0; $("mutation").dispatchEvent(new Event("input"));
        document.querySelector("[data-pairing=grid]").click();
        sow([17]); steps(20); await soup.done();
        return Array.from(soup.bytes);"""
    engine = planted(life.get_language("bff"), "engine")
    expected = soup_of_jax("bff", 20, 512, life.grid(16, 32), 0.0, (engine, (17,)))
    np.testing.assert_array_equal(np.reshape(in_page(script), (512, 64)), expected)
    assert (expected[:, :12] == engine[:12]).all(1).sum() > 3


@pytest.mark.slow
def test_every_language_of_it_is_that_of_jax(in_page):
    script = f"""const found = [];
        set("programs", 256); set("seed", 7);
        for (const name of {list(SPOKEN)}) {{ set("language", name); steps(12); await soup.done(); found.push(Array.from(soup.bytes)); }}
        return found;"""
    for name, found in zip(SPOKEN, in_page(script), strict=True):
        np.testing.assert_array_equal(np.reshape(found, (256, 64)), soup_of_jax(name, 12, 256), err_msg=name)


def test_what_is_planted_takes_over(in_page):
    """The replicator, through the events that a hand would cause; its share and the order say so."""
    script = """set("language", "bff"); set("programs", 1024); await soup.done();
        const text = $("text").value;
        $("sow").click(); await soup.done();
        const one = soup.programs[0][0];
        steps(40); await soup.done();
        const engine = assemble(text), copies = [];
        for (let p = 0; p < soup.n; p++) copies.push(engine.slice(0, 12).every((b, i) => soup.bytes[64 * p + i] === b));
        return [text, Array.from(engine), one, copies.filter(x => x).length, soup.order, soup.shannon, $("order").textContent,
                $("frequent").children.length, $("said").textContent];"""
    text, program, one, copies, order, shannon, shown, lines, said = in_page(script)
    assert text == PLANTS["engine"] and one == 1
    np.testing.assert_array_equal(program, planted(life.get_language("bff"), "engine"))
    assert copies > 700 and 1 < order < shannon < 8
    assert "taken over" in shown and lines == 6 and said == "Planted at program 528."


def test_its_controls(in_page):
    script = """const seen = {}, key = (key, target = document) => target.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
        set("programs", 256); await soup.done();
        $("step").click(); await soup.done(); seen.epochs = [soup.epoch];
        key("."); await soup.done(); seen.epochs.push(soup.epoch);
        key("r"); await soup.done(); seen.epochs.push(soup.epoch); seen.seed = $("seed").value;
        $("text").value = "[x"; $("sow").click(); seen.unknown = $("said").textContent;
        $("text").value = "[".repeat(65); $("sow").click(); seen.long = $("said").textContent;
        $("text").value = "[->+<]"; $("text").dispatchEvent(new Event("input"));
        const box = $("soup").getBoundingClientRect(), at = (x, y) => ({clientX: box.left + x / 16 * box.width, clientY: box.top + y / 16 * box.height});
        $("soup").dispatchEvent(new MouseEvent("click", at(3.5, 2.5))); await soup.done();
        seen.planted = Array.from(soup.bytes.slice(64 * 35, 64 * 35 + 7)).map(symbol).join("");
        key("ArrowRight", $("soup")); key("Enter", $("soup")); await soup.done();
        seen.beside = Array.from(soup.bytes.slice(64 * 36, 64 * 36 + 7)).map(symbol).join("");
        $("sow-many").click(); await soup.done(); seen.most = soup.programs[0][0];
        key(" "); seen.playing = [soup.playing, $("play").textContent]; while (soup.epoch < 3) await wait(20);
        key(" "); await soup.done(); await wait(200); const stood = soup.epoch; await wait(200); seen.stood = soup.epoch - stood;
        key("ArrowRight", $("pairing").children[0]); seen.grid = soup.pairing;
        $("mutation").value = 0; $("mutation").dispatchEvent(new Event("input")); seen.mutation = $("mutation-text").textContent;
        seen.wide = document.documentElement.scrollWidth - innerWidth;
        return seen;"""
    seen = in_page(script)
    assert seen["epochs"] == [1, 2, 0] and seen["seed"] == "2"
    assert seen["unknown"] == "“x” is no symbol of bff_noheads_4bit: 0 [ ] + - . , < > { }"
    assert seen["long"] == "A program has 64 bytes, this one 65."
    assert seen["planted"] == seen["beside"] == "[->+<]" and seen["most"] >= 16
    assert seen["playing"] == [True, "Pause"] and seen["stood"] == 0
    assert seen["grid"] == "grid" and seen["mutation"] == "none" and seen["wide"] <= 0


def test_it_is_one_small_file(tmp_path):
    path = write_page(tmp_path / "folder" / "soup.html")
    text = path.read_text()
    assert path.stat().st_size < 60_000 and "/*LANGUAGES*/" not in text
    assert all(f'"{name}"' in text for name in SPOKEN) and "http" not in text
