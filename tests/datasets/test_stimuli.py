"""Pictures with a shape and a texture label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from advbench.bench.stimulus_folder import write_labels, write_picture
from advbench.datasets.stimuli import read_groups, read_stimuli
from advbench.types import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        Image.fromarray(np.full((20, 24, 3), 80 * i, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.csv").write_text(
        "file,shape,texture,people\n0.png,cat,dog,9\n1.png,dog,car,3\n2.png,cat,cat,1\n"
    )
    return tmp_path


def test_images_and_both_labels_in_the_order_of_the_file(folder: Path) -> None:
    found = read_stimuli(folder, size=16)
    assert found.names == ("car", "cat", "dog")
    assert found.shape.tolist() == [1, 2, 1]
    assert found.texture.tolist() == [2, 0, 1]
    assert found.images.shape == (3, 3, 16, 16)
    assert torch.allclose(found.images.mean((1, 2, 3)), torch.tensor([0.0, 80.0, 160.0]) / 255)
    assert read_stimuli(folder, size=16, names=("dog", "cat", "car")).shape.tolist() == [1, 0, 1]


def test_mistakes_name_file_line_and_what_is_allowed(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"labels.csv:2: no class 'cat'; .*all: dog, car"):
        read_stimuli(folder, names=("dog", "car"))
    (folder / "labels.csv").write_text("file,shape\n0.png,cat\n")
    with pytest.raises(ConfigError, match="no column 'texture'"):
        read_stimuli(folder)
    (folder / "labels.csv").write_text("file,shape,texture\n")
    with pytest.raises(ConfigError, match="lists no picture"):
        read_stimuli(folder)
    with pytest.raises(ConfigError, match="no such file"):
        read_stimuli(folder / "nowhere")


def test_groups_of_classes(tmp_path: Path) -> None:
    file = tmp_path / "groups.json"
    file.write_text('{"cat": [281, 282], "dog": [258]}')
    assert read_groups(file) == {"cat": [281, 282], "dog": [258]}
    for text in ('{"cat": []}', '["cat"]', '{"cat": ["a"]}'):
        file.write_text(text)
        with pytest.raises(ConfigError, match="must hold an object of class names"):
            read_groups(file)
    file.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        read_groups(file)


def test_written_pictures_come_back_and_shrink_whole(tmp_path: Path) -> None:
    image = torch.zeros(3, 32, 32)
    image[0, 0], image[1, :, 0] = 1.0, 0.5  # the border is what a crop would lose
    write_picture(tmp_path / "a.png", image)
    write_labels(tmp_path, [{"file": "a.png", "shape": "cat", "texture": "a, dog", "edges": "0.5"}])
    found = read_stimuli(tmp_path, size=32)
    assert (found.names, found.shape.tolist(), found.texture.tolist()) == (("a, dog", "cat"), [1], [0])
    assert torch.allclose(found.images[0], image, atol=0.5 / 255)
    small = read_stimuli(tmp_path, size=16, cropped=False).images[0]
    assert float(small[0, 0].min()) > 0.3
    assert float(read_stimuli(tmp_path, size=16).images[0][0, 0].max()) < 0.3
    grey = read_stimuli(tmp_path, size=32, channels=1).images
    assert torch.allclose(grey[0], image.mean(0, keepdim=True), atol=1 / 255)
