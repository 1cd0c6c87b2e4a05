"""The report says what was measured, all of it and nothing else."""

import json

from fusionnode.evaluation.compare import PictureScore, compare_fusers
from fusionnode.evaluation.guards import Brightness
from fusionnode.evaluation.metrics import CLASSIC
from fusionnode.evaluation.report import build_report, render_markdown


def _scores() -> list[PictureScore]:
    figures = {"average": 0.5, "maximum": 0.73951}
    return [
        PictureScore("PET-MRI", "PET", "41", f"4100{number}", number, fuser, own, Brightness(number, 0, number / 2))
        for fuser, value in figures.items()
        for number in (1, 2)
        for own in [{**dict.fromkeys(CLASSIC, value), "haze": 1.5}]
    ]


def test_the_report_is_json_and_keeps_every_picture() -> None:
    scores = _scores()
    report = build_report(compare_fusers(scores), scores)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert [(one["fuser"], one["name"]) for one in report["pictures"]] == [(one.fuser, one.name) for one in scores]
    assert report["pictures"][0]["figures"] == scores[0].figures
    assert list(report["sets"]["PET-MRI"]["fusers"]) == ["maximum", "average"]


def test_what_was_not_measured_is_null_and_no_goal_is_met_by_it() -> None:
    scores = _scores()
    own = build_report(compare_fusers(scores), scores)["sets"]["PET-MRI"]["fusers"]["maximum"]
    assert own["means"]["readback"] is None
    assert own["means"]["flicker"] == 1
    [verdict] = [verdict for verdict in own["goal"] if verdict["figure"] == "readback"]
    assert (verdict["value"], verdict["met"]) == (None, False)
    assert own["goal_met"] is False


def test_the_tables_are_rectangular_and_hold_the_figures() -> None:
    text = render_markdown(compare_fusers(_scores()))
    tables = [part.strip().splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({len(line) for line in table}) == 1
        assert len({line.count("|") for line in table}) == 1
    assert text.startswith("## PET-MRI: 2 pairs of case 41\n\n")
    assert tables[0][2].split() == ["|", "maximum", "|", "1.00", *["|", "0.740"] * 10, "|"]


def test_a_mean_just_short_of_its_goal_is_not_printed_as_the_goal() -> None:
    text = render_markdown(compare_fusers(_scores()))
    [row] = [line for line in text.split("\n\n")[3].splitlines() if line.startswith("| maximum")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == "0.7395 low"
    assert cells[-1] == "-"
    assert "1.5000 high" in cells


def test_a_set_without_a_goal_has_no_table_of_verdicts() -> None:
    score = PictureScore("X", "CT", "1", "1001", 1, "one", dict.fromkeys(CLASSIC, 1.0), Brightness(1, 1, 1))
    assert "goal" not in render_markdown(compare_fusers([score]))
