"""The network as a text table and as Graphviz diagrams."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Literal

import graphviz

if TYPE_CHECKING:  # only what is read off it is used here, not torch
    from vae_experiments.generation.layers import Layer, Network, Shape

Part = Literal["encoder", "decoder", "vae"]
PARTS: tuple[Part, ...] = ("encoder", "decoder", "vae")

FONT = "Helvetica,Arial,sans-serif"
# Fills light enough for black text; the layers' names tell them apart without colour.
END = "#e9e9e9"
FILLS = {"Conv": "#d3e5f6", "Linear": "#fce2c8"}
OTHER = "#ffffff"


def summary(network: "Network") -> str:
    """Every layer with its output's shape and its parameters, as a plain table."""
    rows = [("name", "layer", "output (C x H x W)", "parameters")]
    for layer in (*network.encoder, *network.decoder):
        words = ", ".join(word for word in (layer.kind, layer.detail, layer.activation) if word)
        rows.append((layer.name, words, shape_text(layer.output), f"{layer.params:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    aligned = [[cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)] for row in rows]
    table = ["  ".join([*cells, row[3].rjust(widths[3])]) for cells, row in zip(aligned, rows, strict=True)]
    rule = "-" * (sum(widths) + 6)
    facts = {
        "image": shape_text(network.image_shape),
        "latent_dim": str(network.latent_dim),
        "posterior": network.posterior,
        "prior": network.prior + (f", {network.prior_params:,} parameters" if network.prior_params else ""),
        "likelihood": network.likelihood,
        "encoder": f"{network.encoder_params:,} parameters, the posterior's among them",
        "decoder": f"{network.decoder_params:,} parameters",
        "total": f"{network.params:,} parameters",
    }
    return "\n".join([table[0], rule, *table[1:], rule, *(f"{k:<12}{v}" for k, v in facts.items())]) + "\n"


def diagram(network: "Network", part: Part) -> graphviz.Digraph:
    """The encoder, the decoder or the whole VAE as a graph from top to bottom, with shapes and parameters."""
    graph = graphviz.Digraph(
        part,
        graph_attr={"nodesep": "0.3", "ranksep": "0.25", "fontname": FONT, "fontsize": "10"},
        node_attr={"shape": "plain", "fontname": FONT, "fontsize": "10"},
        edge_attr={"arrowsize": "0.6", "color": "#555555"},
    )
    if part != "decoder":
        _box(graph, "x", "images x", "", network.image_shape, fill=END)
        _layers(graph, "encoder", network.encoder, "x", network.encoder_params)
        _align_heads(graph, network)
    posterior = network.posterior if part != "decoder" else ""
    _box(graph, "z", "latents z", posterior, (network.latent_dim,), fill=END)
    if part != "decoder":
        for head in network.heads:
            graph.edge(f"encoder{head}", "z")
    if part != "encoder":
        _layers(graph, "decoder", network.decoder, "z", network.decoder_params)
        _box(graph, "p", "p(x | z)", network.likelihood, network.image_shape, fill=END)
        graph.edge(f"decoder{len(network.decoder) - 1}", "p")
    return graph


def svg(graph: graphviz.Digraph) -> str | None:
    """The graph as SVG; None where Graphviz's `dot` program is not installed."""
    try:
        drawn: str = graph.pipe(format="svg", encoding="utf-8")
    except graphviz.ExecutableNotFound:
        return None
    return drawn


def shape_text(shape: "Shape") -> str:
    """(1, 28, 28) as "1 x 28 x 28"."""
    return " x ".join(map(str, shape))


def _layers(graph: graphviz.Digraph, name: str, layers: "Sequence[Layer]", source: str, params: int) -> None:
    """A framed part: its layers, and edges into them from each other and from the node `source`."""
    with graph.subgraph(name=f"cluster_{name}") as part:
        part.attr(label=f"{name}\\l{params:,} parameters\\l", labeljust="l", margin="12")
        part.attr(style="rounded", color="#999999")
        for i, layer in enumerate(layers):
            fill = next((fill for kind, fill in FILLS.items() if kind in layer.kind), OTHER)
            own = layer.name.rpartition(".")[2]
            words = ["" if own.isdigit() else own, layer.detail, layer.activation]  # a name only if it tells
            detail = ", ".join(word for word in words if word)
            _box(part, f"{name}{i}", layer.kind, detail, layer.output, layer.params, layer.name, fill)
    for i, layer in enumerate(layers):
        for j in layer.inputs:
            graph.edge(source if j < 0 else f"{name}{j}", f"{name}{i}")


def _align_heads(graph: graphviz.Digraph, network: "Network") -> None:
    """Keeps two heads left and right of the line from what they read to the latents."""
    trunks = {tuple(network.encoder[head].inputs) for head in network.heads}
    if len(network.heads) != 2 or len(trunks) != 1:
        return
    left, right = (f"encoder{head}" for head in network.heads)
    (trunk,) = trunks
    with graph.subgraph(name="cluster_encoder") as part, part.subgraph() as level:
        level.attr(rank="same")
        level.node("middle", shape="point", style="invis", width="0")
        level.edge(left, "middle", style="invis")
        level.edge("middle", right, style="invis")
    graph.edge("x" if trunk[0] < 0 else f"encoder{trunk[0]}", "middle", style="invis", weight="50")
    graph.edge("middle", "z", style="invis", weight="50")


def _box(
    graph: graphviz.Digraph,
    node: str,
    title: str,
    detail: str,
    shape: "Shape",
    params: int = 0,
    tooltip: str = "",
    fill: str = OTHER,
) -> None:
    """A box: what the layer is on the left; on the right its output's shape above its parameters."""
    small = '<BR/><FONT POINT-SIZE="9">{}</FONT>'
    left = f"<B>{escape(title)}</B>" + (small.format(escape(detail)) if detail else "")
    right = shape_text(shape) + (small.format(f"{params:,} parameters") if params else "")
    label = (
        f'<<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="0" CELLPADDING="5" COLOR="#555555" BGCOLOR="{fill}">'
        f'<TR><TD WIDTH="130">{left}</TD><TD WIDTH="110">{right}</TD></TR></TABLE>>'
    )
    graph.node(node, label, tooltip=graphviz.escape(tooltip or title))
