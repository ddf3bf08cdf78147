"""Networks of which pruning left a layer without weights, or no path from inputs to outputs."""

from lottery.analysis.collapse import layer_collapses
from lottery.analysis.figures.axes import percent_of
from lottery.analysis.figures.style import branch_look, scheme_name
from lottery.analysis.report.document import listed, number, table
from lottery.analysis.report.sources import Source, Sources, cell_rows
from lottery.analysis.report.study import Study


def layer_collapse(study: Study, sources: Sources) -> str:
    """Where layers lost all their weights, or a network all its paths; empty where none did."""
    found = layer_collapses(study.layers, study.diagnostics)
    if found.empty:
        return ""
    rows = []
    for (variant, branch, init), own in found.groupby(["variant", "branch", "init"]):
        of = study.layers[
            (study.layers["variant"] == variant)
            & (study.layers["branch"] == branch)
            & (study.layers["init"] == init)
        ]
        first = own.sort_values("level").groupby("cell", as_index=False).first()
        source = Source(
            f"Layer collapse: {variant}, {branch_look(str(branch))[0]}, {scheme_name(str(init))}",
            "weights_remaining",
            f"variant = {variant}, branch = {branch}, init = {init}: weights remaining in all "
            "layers at a cell's first level of which a layer's `remaining` is 0, or, where it is "
            "recorded, the network's `effective_density` in `diagnostics.parquet`",
            cell_rows(first, "weights_remaining", tuple(sorted(set(first["level"])))),
            (),
            table="layers.parquet",
        )
        names = sorted({name for text in own["layers"] if text for name in text.split(", ")})
        where = listed(f"`{name}`" for name in names)
        no_path = "no path" if (own["layers"] == "").any() else ""
        rows.append([
            str(variant),
            branch_look(str(branch))[0],
            scheme_name(str(init)),
            sources.link(source, f"{len(first)} of {of['cell'].nunique()}"),
            sources.link(source, f"{int(own['level'].min())}"),
            sources.link(source, number(100 * float(first["weights_remaining"].max()))),
            ", ".join(filter(None, [where, no_path])),
        ])  # fmt: skip
    header = ["Variant", "Branch", "Scheme", "Cells", "First level", percent_of(study.left),
              "Layers without weights"]  # fmt: skip
    paths = (
        "Whether the other levels have a path is not known, as no diagnostics were recorded."
        if study.diagnostics is None
        else "*No path*: all layers have weights, none of which lies on a path through the network."
    )
    return (
        "In these networks pruning left a layer without weights, or no path from inputs to "
        "outputs. A feed-forward network then predicts the same for every image; its accuracies "
        "stand in all figures and tables as they are. *Cells* that collapse at any level, of all; "
        f"the first level at which one does, and the {study.left} there. {paths}\n\n"
        + table(header, rows, aligned="lllrrrl")
    )
