import numpy as np
import pytest
from PIL import Image

from neuralmutator.nca import patterns
from neuralmutator.runs import targets
from neuralmutator.runs.targets import load_target, load_texture


def test_colours_are_premultiplied_and_the_image_lies_in_the_middle(tmp_path):
    image = np.zeros((4, 8, 4), np.uint8)
    image[..., 0], image[..., 3] = 200, 128
    Image.fromarray(image).save(tmp_path / "flag.png")
    target = load_target(str(tmp_path / "flag.png"), size=8, padding=3)
    assert target.shape == (14, 14, 4) and target.dtype == np.float32
    expected = np.zeros((14, 14, 4), np.float32)
    expected[5:9, 3:11] = [200 / 255 * 128 / 255, 0, 0, 128 / 255]
    np.testing.assert_allclose(target, expected, atol=1e-6)


def test_the_bundled_target():
    target = load_target("newt", 40, 16)
    assert target.shape == (72, 72, 4)
    assert 300 < (target[..., 3] > 0.1).sum() < 700
    assert (target[..., :3] <= target[..., 3:] + 1e-6).all()


@pytest.mark.skipif(not any(map(targets.Path.exists, map(targets.Path, targets.FONTS))), reason="needs the Noto font")
def test_an_emoji_by_name_or_by_itself():
    lizard = load_target("lizard")
    np.testing.assert_array_equal(lizard, load_target("🦎"))
    assert np.log10(np.mean(lizard**2)) == pytest.approx(-1.52, abs=0.01)
    assert (lizard[..., 3] > 0.1).sum() == 516


def test_an_emoji_without_the_font(monkeypatch):
    monkeypatch.setattr(targets, "FONTS", ())
    with pytest.raises(ValueError, match="needs the Noto colour font"):
        load_target("lizard")


def bad_images(folder):
    Image.new("RGB", (9, 9)).save(folder / "opaque.png")
    Image.new("RGBA", (9, 9)).save(folder / "empty.png")
    Image.new("RGBA", (5000, 10), "red").save(folder / "huge.png")
    (folder / "text.png").write_text("no image")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("opaque.png", {}, "has no alpha channel"),
        ("empty.png", {}, "is empty"),
        ("huge.png", {}, "at most 4096 pixels"),
        ("text.png", {}, "cannot read .* as an image"),
        ("nowhere.png", {}, "target must be an image file, 'newt', or the name of an emoji"),
        ("newt", {"size": 2}, "size must be .* got 2"),
        ("newt", {"padding": -1}, "padding must be .* got -1"),
        ("newt", {"size": 500}, "at most 512 cells wide, got 532"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, name, options, message):
    bad_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_target(name, **options)


def test_a_texture_is_the_middle_of_an_image(tmp_path):
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[:, 20:80] = (255, 51, 0)
    Image.fromarray(picture).save(tmp_path / "a.png")
    texture = load_texture(str(tmp_path / "a.png"), 128)
    assert texture.shape == (60, 60, 3) and texture.dtype == np.float32
    np.testing.assert_allclose(texture, np.broadcast_to((1, 0.2, 0), (60, 60, 3)))
    Image.fromarray(np.repeat(np.repeat(picture, 2, 0), 2, 1)).save(tmp_path / "b.png")
    np.testing.assert_allclose(load_texture(str(tmp_path / "b.png"), 60), texture, atol=0.06)  # its edges
    assert load_texture("dots", 64).shape == (64, 64, 3)
    np.testing.assert_array_equal(load_texture("dots:10", 64), patterns.dots(64, period=10))
    np.testing.assert_array_equal(load_texture("checks:4", 64), patterns.checks(64, side=4))
    for bad, said in (("dots:", "must end in a number"), ("dots:x", "must end in a number"), ("dots:0", "period must")):
        with pytest.raises(ValueError, match=said):
            load_texture(bad, 64)
    with pytest.raises(ValueError, match="image_size must be at most 512, got 600"):
        load_texture("dots", 600)
    (tmp_path / "c.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"cannot read .*c.png as an image"):
        load_texture(str(tmp_path / "c.png"))
