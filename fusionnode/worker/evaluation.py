"""Measuring fusers on folders of PNG pairs (edge): ``fusionnode evaluate``."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionnode import __version__
from fusionnode.capture.sheet import SheetRow, encode_png, render_contact_sheet
from fusionnode.domain.images import RgbStack, SliceStack
from fusionnode.domain.model import ModelCard, ModelKind
from fusionnode.evaluation.compare import PictureScore, compare_fusers
from fusionnode.evaluation.guards import DARK, measure_brightness, measure_guards, measure_readback
from fusionnode.evaluation.metrics import measure_metrics
from fusionnode.evaluation.report import build_report, render_markdown
from fusionnode.fusion.cards import CARDS, find_card
from fusionnode.fusion.colour import chroma_of, find_paled, luminance, recombine
from fusionnode.fusion.fuse import Fuser, fuse_slices
from fusionnode.fusion.readback import locate_uptake, read_uptake, trace_palette
from fusionnode.wiring import open_fuser
from fusionnode.worker.picture_sets import PairName, PicturePair, list_pairs, measure_luminance, read_pair

SHEET_ROWS = 6
"""Pairs of each set on the contact sheet, evenly spread."""


@dataclass(frozen=True)
class EvaluationRequest:
    """One call of ``fusionnode evaluate``.

    Attributes:
        folder: holds SET/MRI/NAME.png and SET/PET/NAME.png or SET/SPECT/NAME.png.
        networks: beside the classical fusers, by name; all that are available when empty.
        cases: only these, each as CASE or as SET/CASE; all when empty.
        report: JSON file to write, if any.
        save: folder for the fused pictures, NETWORK/SET/NAME.png, if any.
        sheet: PNG file for a contact sheet, if any.
    """

    folder: Path
    networks: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    report: Path | None = None
    save: Path | None = None
    sheet: Path | None = None


@dataclass(frozen=True, eq=False)
class FusedPicture:
    """What one fuser made of one pair: displayed RGB, uint8 [row, column, 3], and its figures."""

    rgb: RgbStack
    score: PictureScore


def evaluate_folder(request: EvaluationRequest, on_progress: Callable[[int, int], None]) -> tuple[dict[str, Any], str]:
    """Fuse every pair with every fuser, measure the displayed pictures, and write what was asked for.

    Files that are there already are replaced. Returns the report as JSON values, and as Markdown tables.

    Args:
        request: what to measure and where to write.
        on_progress: called with the pictures done and the pictures to do.

    Raises:
        PicturesUnusable: the folder is not laid out in pairs, or one cannot be measured.
        Misconfigured: an unknown network was named, or one that is not available.
    """
    fusers = choose_fusers(request.networks)
    names = list_pairs(request.folder, request.cases)
    rows: list[SheetRow] = []
    scores: list[PictureScore] = []
    shown = choose_shown(names) if request.sheet else set()
    for pair, palette in read_cases(names):
        fused = []
        for fuser in fusers:
            fused.append(fuse_pair_of_pictures(pair, palette, fuser))
            scores.append(fused[-1].score)
            on_progress(len(scores), len(names) * len(fusers))
        if request.save:
            _save_pictures(request.save, fused)
        if pair.name in shown:
            rows.append(_lay_row(pair, fused))
    comparisons = compare_fusers(scores)
    report = {**_tell_run(request, fusers), **build_report(comparisons, scores)}
    if request.sheet:
        _write(request.sheet, encode_png(_lay_sheet(rows, fusers)))
    if request.report:
        _write(request.report, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())
    return report, render_markdown(comparisons)


def choose_fusers(networks: Sequence[str]) -> list[Fuser]:
    """The classical fusers, and the networks named, or all that are available when none is.

    Raises:
        ModelUnknown: there is no such fuser.
        ModelUnavailable: its weights are missing, altered or another network's.
    """
    classical = [card for card in CARDS.values() if card.kind is ModelKind.CLASSICAL]
    named = [find_card(name) for name in networks] or [card for card in CARDS.values() if card.available]
    return [open_fuser(name, "auto") for name in dict.fromkeys(card.name for card in [*classical, *named])]


def choose_shown(names: Sequence[PairName]) -> set[PairName]:
    """The pairs of each set that go on the contact sheet."""
    shown: set[PairName] = set()
    for _, group in groupby(names, key=lambda name: name.collection):
        pairs = list(group)
        shown.update(pairs[place] for place in np.linspace(0, len(pairs) - 1, SHEET_ROWS + 2).round().astype(int)[1:-1])
    return shown


def read_cases(names: Sequence[PairName]) -> Iterator[tuple[PicturePair, NDArray[np.uint8] | None]]:
    """Read the pairs, each with the palette of its case; None where that cannot be told from the colours."""
    for _, group in groupby(names, key=lambda name: (name.collection, name.case)):
        pairs = [read_pair(name) for name in group]
        palette = trace_palette(np.concatenate([pair.coloured.reshape(1, -1, 3) for pair in pairs], axis=1))
        yield from ((pair, palette) for pair in pairs)


def fuse_pair_of_pictures(pair: PicturePair, palette: NDArray[np.uint8] | None, fuser: Fuser) -> FusedPicture:
    """Fuse the luminances, put the functional picture's own colours back, and measure what is then displayed."""
    coloured = pair.coloured[None]
    fused = fuse_slices(pair.fixed[None].astype(np.float32) / np.float32(255), luminance(coloured), fuser)
    rgb = recombine(fused, coloured)[0]
    shown = measure_luminance(rgb)
    figures = {
        **measure_metrics(pair.fixed, pair.moving, shown),
        **measure_guards(pair.fixed, pair.moving, shown),
        "paled": _measure_paled(pair, fused),
    }
    if palette is not None:
        recovered = read_uptake(rgb, chroma_of(palette / 255))
        figures["readback"] = measure_readback(recovered, locate_uptake(pair.coloured, palette))
    score = PictureScore(
        collection=pair.name.collection,
        modality=pair.name.modality,
        case=pair.name.case,
        name=pair.name.name,
        slice_number=pair.name.slice_number,
        fuser=fuser.card.name,
        figures=figures,
        brightness=measure_brightness(pair.fixed, pair.moving, shown),
    )
    return FusedPicture(rgb, score)


def _tell_run(request: EvaluationRequest, fusers: Collection[Fuser]) -> dict[str, Any]:
    return {
        "fusionnode": __version__,
        "folder": str(request.folder),
        "cases": list(request.cases),
        "fusers": [_tell_card(fuser.card) for fuser in fusers],
    }


def _tell_card(card: ModelCard) -> dict[str, Any]:
    return {"name": card.name, "version": card.version, "kind": card.kind.value, "sha256": card.sha256}


def _measure_paled(pair: PicturePair, fused: SliceStack) -> float:
    """Share of the pixels with uptake whose colour does not exist at the fused luminance."""
    paled = find_paled(fused, pair.coloured[None])[0][pair.moving > DARK]
    return float(paled.mean()) if paled.size else 0.0


def _save_pictures(save: Path, fused: Sequence[FusedPicture]) -> None:
    for picture in fused:
        score = picture.score
        _write(save / score.fuser / score.collection / f"{score.name}.png", encode_png(picture.rgb))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def _lay_row(pair: PicturePair, fused: Sequence[FusedPicture]) -> SheetRow:
    grey = np.repeat(pair.fixed[..., None], 3, axis=-1)
    panels = (grey, pair.coloured, *(picture.rgb for picture in fused))
    return SheetRow(f"{pair.name.collection} {pair.name.name}", panels, "", "")


def _lay_sheet(rows: Sequence[SheetRow], fusers: Collection[Fuser]) -> RgbStack:
    return render_contact_sheet(rows, ("MRI", "PET or SPECT", *(fuser.card.name for fuser in fusers)))
