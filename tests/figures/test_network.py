import shutil
import xml.etree.ElementTree as ET

import pytest

from vae_experiments.figures.network import PARTS, diagram, summary, svg
from vae_experiments.generation.layers import read_network

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")


def test_the_summary_lists_every_layer_and_the_totals(make_vae):
    vae = make_vae(3, (3, 6, 5))
    network = read_network(vae)
    text = summary(network)
    total = sum(p.numel() for p in vae.parameters())
    assert f"{total:,} parameters" in text
    assert "3 x 6 x 5" in text
    for layer in network.encoder + network.decoder:
        (line,) = [line for line in text.splitlines() if line.startswith(layer.name + " ")]
        assert line.split()[-1] == f"{layer.params:,}"
    assert text.isascii()


@pytest.mark.parametrize("part", PARTS)
def test_a_diagrams_source_has_shapes_and_parameters(make_vae, part):
    network = read_network(make_vae(3, (3, 6, 5)))
    source = diagram(network, part).source
    assert "3 x 6 x 5" in source
    shown = {"encoder": network.encoder, "decoder": network.decoder, "vae": network.encoder + network.decoder}
    for layer in shown[part]:
        assert not layer.params or f"{layer.params:,} parameters" in source


@needs_dot
@pytest.mark.parametrize("part", PARTS)
def test_a_diagram_is_well_formed_svg(make_vae, part):
    network = read_network(make_vae(3, (3, 6, 5)))
    root = ET.fromstring(svg(diagram(network, part)))
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "3 x 6 x 5" in texts
    assert ("encoder" in texts) == (part != "decoder")
    assert ("decoder" in texts) == (part != "encoder")


@needs_dot
def test_names_cannot_become_markup(make_vae):
    network = read_network(make_vae())
    network.encoder[1].kind = "<script>alert('&')</script>"
    network.encoder[1].name = '"]; evil [label="<b>'
    drawn = svg(diagram(network, "vae"))
    root = ET.fromstring(drawn)
    assert "<script>alert('&')</script>" in [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_without_dot_there_is_no_drawing_and_no_error(make_vae, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert svg(diagram(read_network(make_vae()), "vae")) is None
