from pathlib import Path

import pytest
from pydicom import Dataset, config, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag

from fusionnode.capture.build import build_captures
from fusionnode.capture.inherit import copy_items, copy_valid, inherit_body_part, inherit_patient_and_study, read_text
from fusionnode.errors import CaptureInvalid
from tests.support.captures import Scene, make_request, make_scene, raw_value, write_and_read

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is damaged on purpose here

# PS3.5 annexes H, I, J, K and single-byte sets; each as (Specific Character Set, name).
NAMES = [
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ("GB18030", "Wang^XiaoDong=王^小东"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    ("ISO_IR 100", "Äneas^Rüdiger"),
    ("ISO_IR 144", "Люкceмбypг"),
    ("ISO_IR 126", "Διονυσιος"),
    ("ISO_IR 127", "قباني^لنزار"),
    ("ISO_IR 138", "שרון^דבורה"),
    ("ISO_IR 166", "นามสกุล^ชื่อ"),
    (["ISO 2022 IR 100", "ISO 2022 IR 144"], "Müller^Люк"),
]


def make_source(**values: object) -> Dataset:
    """An MRI header with ``values`` set whatever they are, as damaged scanners do."""
    ds = make_scene().fixed[0]
    for keyword, value in values.items():
        set_anyhow(ds, keyword, value)
    return ds


def set_anyhow(ds: Dataset, keyword: str, value: object) -> None:
    """As if read from a file: not one value is looked at before somebody asks for it."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    data = value if isinstance(value, bytes) else "\\".join(value if isinstance(value, list) else [str(value)]).encode()
    ds[tag] = RawDataElement(BaseTag(tag), dictionary_VR(tag), len(data), data, 0, False, True)


def inherit(source: Dataset) -> Dataset:
    ds = Dataset()
    inherit_patient_and_study(ds, source)
    return ds


@pytest.mark.parametrize(("character_set", "name"), NAMES)
def test_the_name_keeps_its_text_and_its_bytes_in_every_character_set(character_set: object, name: str) -> None:
    scene = make_scene()
    for ds in scene.fixed:
        ds.SpecificCharacterSet, ds.PatientName = character_set, name
    stored = write_and_read(scene.fixed)
    captures = build_captures(make_request(Scene(stored, scene.moving, scene.motion)))
    assert raw_value(captures[2], "PatientName") == raw_value(stored[2], "PatientName")
    [again] = write_and_read([captures[2]])
    assert str(again.PatientName) == name
    assert again.SpecificCharacterSet == stored[2].SpecificCharacterSet


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 58"], b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="),  # PS3.5 K.2
        ("ISO_IR 13", b"Test-\x84D\x83\xa6\xc8 "),  # Shift JIS where JIS X 0201 was promised
        ("GB18030", "Li^\N{CJK UNIFIED IDEOGRAPH-8A89}".encode("gb18030") + b"\x81\x5c "),  # a backslash as second byte
    ],
)
def test_bytes_that_pydicom_would_not_write_again_are_kept(character_set: object, name: bytes) -> None:
    scene = make_scene()
    for ds in scene.fixed:
        set_anyhow(ds, "SpecificCharacterSet", character_set)
        set_anyhow(ds, "PatientName", name)
    captures = build_captures(make_request(scene))
    assert raw_value(captures[0], "PatientName").rstrip() == name.rstrip()


def test_a_name_that_was_garbled_by_an_earlier_look_is_refused() -> None:
    source = make_source(SpecificCharacterSet="ISO_IR 13", PatientName=b"Test-\x84D\x83\xa6\xc8")
    with config.disable_value_validation():
        assert source.PatientName.original_string == b"Test-???"
    with pytest.raises(CaptureInvalid):
        inherit(source)


@pytest.mark.real_data
def test_names_of_real_files_in_fourteen_character_sets_keep_their_bytes(real_data: Path) -> None:
    files = sorted((real_data / "robustness" / "orthanc" / "Encodings").glob("*.dcm"))
    assert len(files) == 14
    for path in files:
        stored = dcmread(path, stop_before_pixels=True)
        written = dcmread(path, stop_before_pixels=True).get_item("PatientName")
        assert written is not None
        ds = inherit(stored)
        ds.file_meta = make_source().file_meta
        ds.SOPClassUID, ds.SOPInstanceUID = stored.SOPClassUID, stored.SOPInstanceUID
        assert raw_value(ds, "PatientName") == written.value, path.name


def test_a_name_in_an_undeclared_set_keeps_its_bytes_and_is_not_declared_anew() -> None:
    source = make_source(PatientName=b"\xc4neas")
    del source.SpecificCharacterSet
    captures = build_captures(make_request(Scene([source, *make_scene().fixed[1:]], make_scene().moving)))
    assert "SpecificCharacterSet" not in captures[0]
    assert raw_value(captures[0], "PatientName") == b"\xc4neas "


def test_other_text_in_an_undeclared_set_is_left_out_unless_it_is_ascii() -> None:
    source = make_source(PatientName=b"\xc4neas", StudyDescription="Sch\xe4del", ReferringPhysicianName="Plain")
    del source.SpecificCharacterSet
    ds = inherit(source)
    assert "StudyDescription" not in ds
    assert ds.ReferringPhysicianName == "Plain"
    target, functional = Dataset(), Dataset()
    functional.SpecificCharacterSet, functional.StationName = "ISO_IR 100", "S\xfcd"
    assert not copy_valid(target, functional, "StationName")


@pytest.mark.parametrize("character_set", ["ISO_IR 999", "utf8", ["ISO 2022 IR 100", "ISO_IR 192"]])
def test_a_foreign_name_in_an_unknown_set_is_refused_and_not_repeated(character_set: object) -> None:
    source = make_source(PatientName="Äneas", SpecificCharacterSet=character_set)
    with pytest.raises(CaptureInvalid) as refusal:
        inherit(source)
    assert refusal.value.facts["attribute"] == "PatientName"
    assert "neas" not in f"{refusal.value} {refusal.value.facts}"


def test_an_ascii_name_survives_an_unknown_set_without_it() -> None:
    ds = inherit(make_source(SpecificCharacterSet="ISO_IR 999"))
    assert "SpecificCharacterSet" not in ds
    assert str(ds.PatientName) == "Synthetic^Nobody"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "7" * 65),
        ("PatientID", ["12", "34"]),
        ("PatientName", "A" * 65),
        ("PatientName", "One^Name\\Another^Name"),
        ("PatientName", "Lost\N{REPLACEMENT CHARACTER}letter"),
        ("StudyInstanceUID", "1.2.03.x"),
        ("IssuerOfPatientID", "9" * 65),
    ],
)
def test_a_damaged_identity_is_refused_and_never_shortened(keyword: str, value: object) -> None:
    with pytest.raises(CaptureInvalid) as refusal:
        inherit(make_source(**{keyword: value}))
    assert refusal.value.facts["attribute"] == keyword


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyID", "IBSI_1_STS_001_MR_T1"),
        ("AccessionNumber", "12345678901234567"),
        ("PatientBirthDate", "unknown"),
        ("PatientSex", "X"),
        ("StudyTime", "noon"),
        ("ReferringPhysicianName", "B" * 65),
    ],
)
def test_an_invalid_required_value_becomes_empty(keyword: str, value: str) -> None:
    assert inherit(make_source(**{keyword: value}))[keyword].is_empty


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientAge", "forty"), ("PatientWeight", "70 kg"), ("StudyDescription", "S" * 65), ("PatientSize", "")],
)
def test_an_invalid_optional_value_is_left_out(keyword: str, value: str) -> None:
    assert keyword not in inherit(make_source(**{keyword: value}))


def test_what_is_valid_is_taken_over() -> None:
    values = {"PatientAge": "055Y", "PatientSize": "1.72", "PatientWeight": "70.5", "StudyDescription": "BRAIN"}
    ds = inherit(make_source(**values, IssuerOfPatientID="HOSPITAL", TimezoneOffsetFromUTC="+0900"))
    assert {keyword: str(ds[keyword].value) for keyword in values} == values
    assert (ds.IssuerOfPatientID, ds.TimezoneOffsetFromUTC, ds.PatientSex) == ("HOSPITAL", "+0900", "O")


def test_an_identity_that_is_missing_stays_missing_but_present() -> None:
    source = make_source()
    del source.PatientID, source.PatientName
    ds = inherit(source)
    assert ds["PatientID"].is_empty
    assert ds["PatientName"].is_empty
    assert "IssuerOfPatientID" not in ds


def test_removal_of_the_identity_is_said_only_together_with_how() -> None:
    assert "PatientIdentityRemoved" not in inherit(make_source(PatientIdentityRemoved="YES"))
    ds = inherit(make_source(PatientIdentityRemoved="YES", DeidentificationMethod="teaching atlas"))
    assert (ds.PatientIdentityRemoved, ds.DeidentificationMethod) == ("YES", "teaching atlas")
    assert inherit(make_source(PatientIdentityRemoved="NO")).PatientIdentityRemoved == "NO"


def test_text_of_another_series_is_left_out_where_the_character_set_cannot_hold_it() -> None:
    target, source = Dataset(), Dataset()
    target.SpecificCharacterSet = "ISO_IR 100"
    source.SpecificCharacterSet, source.InstitutionName, source.StationName = "ISO_IR 192", "病院", "Süd"
    assert not copy_valid(target, source, "InstitutionName")
    assert copy_valid(target, source, "StationName")


@pytest.mark.parametrize(
    ("part", "side", "expected"),
    [("BRAIN", "", None), ("BRAIN", "L", None), ("KNEE", "R", "R"), ("KNEE", "X", ""), ("", "", ""), ("", "L", "L")],
)
def test_laterality_is_there_only_for_what_may_be_paired(part: str, side: str, expected: str | None) -> None:
    ds = Dataset()
    inherit_body_part(ds, make_source(BodyPartExamined=part, Laterality=side))
    assert ds.get("Laterality") == expected


def test_several_values_are_no_single_text() -> None:
    assert read_text(make_source(ImageType=["A", "B"]), "ImageType") == ""
    assert read_text(Dataset(), "PatientID") == ""


def make_drug() -> Dataset:
    code, drug, source = Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "77004003", "SCT", "Fluor"
    drug.RadionuclideTotalDose = "185000000"
    drug.RadionuclideCodeSequence = [code]
    drug.RadiopharmaceuticalCodeSequence = []
    drug.add_new(0x00091001, "LO", "private")
    source.RadiopharmaceuticalInformationSequence = [drug]
    source.SpecificCharacterSet = "ISO_IR 100"
    return source


def test_a_sequence_is_copied_down_to_its_last_item_without_what_is_private() -> None:
    source, target = make_drug(), Dataset()
    assert copy_items(target, source, "RadiopharmaceuticalInformationSequence")
    [drug] = target.RadiopharmaceuticalInformationSequence
    assert drug.RadionuclideTotalDose == 185e6
    assert drug.RadionuclideCodeSequence[0].CodeMeaning == "Fluor"
    assert len(drug.RadiopharmaceuticalCodeSequence) == 0
    assert 0x00091001 not in drug
    drug.RadionuclideCodeSequence[0].CodeMeaning = "changed"
    assert source.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence[0].CodeMeaning == "Fluor"


def test_of_an_item_only_what_is_valid_and_writable_is_copied() -> None:
    source, target = make_drug(), Dataset()
    [drug] = source.RadiopharmaceuticalInformationSequence
    drug.Radiopharmaceutical = "Fluordesoxyglukose für Ärzte"
    drug["RadiopharmaceuticalVolume"] = DataElement(tag_for_keyword("RadiopharmaceuticalVolume"), "DS", "5")
    drug["RadiopharmaceuticalVolume"]._value = "about five millilitres"
    target.SpecificCharacterSet = "ISO_IR 100"
    copy_items(target, source, "RadiopharmaceuticalInformationSequence")
    [kept] = target.RadiopharmaceuticalInformationSequence
    assert kept.Radiopharmaceutical == "Fluordesoxyglukose für Ärzte"
    assert "RadiopharmaceuticalVolume" not in kept
    assert "SpecificCharacterSet" not in kept
    cyrillic = Dataset()
    cyrillic.SpecificCharacterSet = "ISO_IR 144"
    copy_items(cyrillic, source, "RadiopharmaceuticalInformationSequence")
    assert "Radiopharmaceutical" not in cyrillic.RadiopharmaceuticalInformationSequence[0]


def test_what_is_no_sequence_is_not_copied_as_one() -> None:
    source, target = make_drug(), Dataset()
    assert not copy_items(target, source, "SpecificCharacterSet")
    assert not copy_items(target, source, "PatientOrientationCodeSequence")
    assert len(target) == 0


def test_whole_numbers_of_binary_fields_are_copied_and_others_not() -> None:
    source, target = Dataset(), Dataset()
    source.NumberOfFramesInRotation = 120
    assert copy_valid(target, source, "NumberOfFramesInRotation")
    assert target.NumberOfFramesInRotation == 120


@pytest.mark.parametrize(("vr", "stored"), [("US", b"\1\0\1"), ("IS", b"1e400 "), ("SQ", b"text"), ("ZZ", b"a ")])
def test_an_element_that_cannot_even_be_read_is_left_out_and_an_identity_refused(vr: str, stored: bytes) -> None:
    ds, source = Dataset(), make_source()
    for keyword in ("PatientAge", "StudyInstanceUID"):
        tag = BaseTag(tag_for_keyword(keyword))  # type: ignore[arg-type]
        source[tag] = RawDataElement(tag, vr, len(stored), stored, 0, False, True)
    assert copy_valid(ds, source, "PatientAge") is False
    with pytest.raises(CaptureInvalid, match="StudyInstanceUID"):
        inherit_patient_and_study(ds, source)
