"""What a fused object takes over from the MRI: patient, study, character set, and only values that are valid (middle).

Scanners write values that break the Standard. An identity must not be changed, so an invalid one is refused;
anything else that is invalid is left out, because a shortened number would be a false number.
"""

from collections.abc import Sequence

from pydicom import Dataset, config
from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue
from pydicom.valuerep import TEXT_VR_DELIMS, PersonName, validate_value

from fusionnode.capture.stamp import is_timezone_offset
from fusionnode.errors import CaptureInvalid
from fusionnode.malformed import MALFORMED

_IDENTIFYING = ("StudyInstanceUID", "PatientID", "PatientName", "IssuerOfPatientID")
_EMPTY_IF_UNUSABLE = (
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_ABSENT_IF_UNUSABLE = (
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDescription",
    "LongitudinalTemporalInformationModified",
)
_TERMS = frozenset(python_encoding) - {"ISO 2022 GBK", "ISO 2022 58"}
_BINARY = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_SEXES = ("M", "F", "O")
# Parts there is one of (PS3.16 annex L), so that Laterality must be absent; for all others it must be present.
_UNPAIRED = frozenset({"BRAIN", "FACE", "HEAD", "HEADNECK", "JAW", "NECK", "SKULL"}) | frozenset(
    {"ABDOMEN", "CHEST", "CSPINE", "HEART", "LIVER", "LSPINE", "PELVIS", "PROSTATE", "SPINE", "TSPINE", "WHOLEBODY"}
)


def inherit_patient_and_study(ds: Dataset, source: Dataset) -> None:
    """Copy the Patient, General Study and Patient Study modules and the time zone from ``source`` to ``ds``.

    The character set comes along, so the bytes of the patient's name are those of the MRI.

    Raises:
        CaptureInvalid: a value that identifies the patient or the study is damaged, too long, or cannot be
            written in the character set of the source. The value itself is not part of the error.
    """
    inherit_character_set(ds, source)
    for keyword in _IDENTIFYING:
        _copy_identifying(ds, source, keyword)
    for keyword in _EMPTY_IF_UNUSABLE:
        if not copy_valid(ds, source, keyword):
            setattr(ds, keyword, None)
    if ds.PatientSex not in _SEXES:
        ds.PatientSex = None
    for keyword in _ABSENT_IF_UNUSABLE:
        copy_valid(ds, source, keyword)
    _copy_deidentification(ds, source)
    offset = read_text(source, "TimezoneOffsetFromUTC")
    if is_timezone_offset(offset):
        ds.TimezoneOffsetFromUTC = offset


def inherit_body_part(ds: Dataset, source: Dataset) -> None:
    """Copy Body Part Examined, and Laterality where the part is paired or unknown (PS3.3 C.7.3.1)."""
    copy_valid(ds, source, "BodyPartExamined")
    if read_text(ds, "BodyPartExamined") not in _UNPAIRED:
        side = read_text(source, "Laterality")
        ds.Laterality = side if side in {"L", "R"} else ""


def inherit_character_set(ds: Dataset, source: Dataset) -> None:
    """Copy Specific Character Set when every value is a defined term (PS3.3 C.12.1.1.2); otherwise leave it out."""
    terms = _read_terms(source)
    if terms and _are_defined(terms):
        ds.SpecificCharacterSet = terms if len(terms) > 1 else terms[0]


def copy_valid(ds: Dataset, source: Dataset, keyword: str) -> bool:
    """Copy one attribute if it is there, not empty and valid for its VR, VM and character set; say whether."""
    element = _find_valid(source, keyword)
    if element is None or not _fits_target(element, ds):
        return False
    ds[element.tag] = element
    return True


def copy_items(ds: Dataset, source: Dataset, keyword: str) -> bool:
    """Copy a sequence, empty or not, with what is valid of its items, down to the last; say whether it is one.

    Private attributes stay behind: nobody can tell whether they still hold.
    """
    element = _read_element(source, keyword)
    if element is None or element.VR != "SQ":
        return False
    setattr(ds, keyword, [_copy_item(item, ds) for item in element.value or []])
    return True


def _copy_item(source: Dataset, target: Dataset) -> Dataset:
    item = Dataset()
    # Only while it is being filled: the character set of an item is that of the object around it.
    if "SpecificCharacterSet" in target:
        item.SpecificCharacterSet = target.SpecificCharacterSet
    for tag in list(source.keys()):
        keyword = keyword_for_tag(tag)
        if keyword and keyword != "SpecificCharacterSet" and not copy_items(item, source, keyword):
            copy_valid(item, source, keyword)
    item.pop("SpecificCharacterSet", None)
    return item


def read_text(source: Dataset, keyword: str) -> str:
    """Return a single-valued attribute as text; empty where it is absent, damaged or has several values."""
    element = _read_element(source, keyword)
    if element is None or element.value is None or isinstance(element.value, MultiValue):
        return ""
    return str(element.value).strip()


def _copy_identifying(ds: Dataset, source: Dataset, keyword: str) -> None:
    element = _read_element(source, keyword)
    if keyword not in source or (element is not None and element.is_empty):
        if keyword != "IssuerOfPatientID":  # the others must be present, empty or not
            setattr(ds, keyword, None)
    elif (valid := _find_valid(source, keyword)) is not None:
        # Not held against the character set: where the MRI declares none, the archive knows the name by these bytes.
        ds[valid.tag] = valid
    else:
        raise CaptureInvalid(
            f"{keyword} of the MRI is damaged, too long, or not writable in its own character set, so that the fused"
            " series would belong to somebody else.",
            remedy="Correct the MRI series in the PACS and send it again.",
            attribute=keyword,
            sop_instance_uid=read_text(source, "SOPInstanceUID"),
        )


def _copy_deidentification(ds: Dataset, source: Dataset) -> None:
    """Say that the identity was removed only together with how (PS3.3 C.7.1.1: one of the two is then required)."""
    if read_text(source, "PatientIdentityRemoved") != "YES":
        copy_valid(ds, source, "PatientIdentityRemoved")
        return
    method = copy_valid(ds, source, "DeidentificationMethod")
    items = [_copy_code(item) for item in source.get("DeidentificationMethodCodeSequence") or []]
    codes = [item for item in items if item is not None]
    if codes:
        ds.DeidentificationMethodCodeSequence = codes
    if method or codes:
        ds.PatientIdentityRemoved = "YES"


def _copy_code(source: Dataset) -> Dataset | None:
    code = Dataset()
    complete = [copy_valid(code, source, name) for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")]
    copy_valid(code, source, "CodingSchemeVersion")
    return code if all(complete) and str(code.CodeMeaning).isascii() else None


def _find_valid(source: Dataset, keyword: str) -> DataElement | None:
    """A copy of the attribute if it is there, not empty and valid for its VR, VM and the source's character set."""
    element = _read_element(source, keyword)
    if element is None or element.is_empty or not _is_usable(element, _writable_encodings(source)):
        return None
    return DataElement(element.tag, element.VR, element.value)


def _read_element(source: Dataset, keyword: str) -> DataElement | None:
    if keyword not in source:
        return None
    try:
        return _read_stored_name(source, keyword) or source[keyword]
    except MALFORMED:
        return None


def _read_stored_name(source: Dataset, keyword: str) -> DataElement | None:
    """A person's name as the bytes of the file; None for other attributes, or once somebody has asked for it.

    pydicom decodes and encodes a name when it is first asked for, and then the bytes of the file are gone.
    """
    raw = source.get_item(keyword)
    if not isinstance(raw, RawDataElement) or dictionary_VR(raw.tag) != "PN" or raw.VR not in {"PN", None}:
        return None
    name = PersonName((raw.value or b"").rstrip(b" \0"), _writable_encodings(source) or None)
    return DataElement(raw.tag, "PN", name)


def _is_usable(element: DataElement, encodings: Sequence[str]) -> bool:
    if dictionary_VR(element.tag) != element.VR or (dictionary_VM(element.tag) == "1" and element.VM != 1):
        return False
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    return all(_is_valid(element.VR, value) and _survives(value, encodings) for value in values)


def _is_valid(vr: str, value: object) -> bool:
    if vr == "PN" and "\\" in str(value):  # two names in one
        return False
    try:
        validate_value(vr, value if vr in _BINARY else str(value), config.RAISE)
    except ValueError:
        return False
    return True


def _survives(value: object, encodings: Sequence[str]) -> bool:
    """Whether writing the text and reading it again gives the same text."""
    text = str(value)
    if text.isascii():
        return True
    if "\N{REPLACEMENT CHARACTER}" in text or not encodings:
        return False
    try:
        if isinstance(value, PersonName):
            return str(PersonName(value.encode(encodings), encodings).decode(encodings)) == text
        return decode_bytes(encode_string(text, encodings), encodings, TEXT_VR_DELIMS) == text
    except (UnicodeError, LookupError):
        return False


def _fits_target(element: DataElement, ds: Dataset) -> bool:
    """Text may be written only in the character set that stands here already; without one, only as ASCII."""
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    encodings = _writable_encodings(ds) if _read_terms(ds) else []
    return all(_survives(value, encodings) for value in values)


def _writable_encodings(ds: Dataset) -> list[str]:
    """Python names of the character set; empty (ASCII alone) where the terms are not the Standard's.

    What declares none is read as Latin-1, as nearly every reader does.
    """
    terms = _read_terms(ds)
    return list(convert_encodings(terms or [""])) if _are_defined(terms) else []


def _read_terms(source: Dataset) -> list[str]:
    element = _read_element(source, "SpecificCharacterSet")
    if element is None or element.is_empty:
        return []
    return [str(v) for v in element.value] if isinstance(element.value, MultiValue) else [str(element.value)]


def _are_defined(terms: Sequence[str]) -> bool:
    """Several terms mean code extensions, which have names of their own; the first may be empty."""
    extended = all(term.startswith("ISO 2022 ") for term in terms[1:])
    return all(term in _TERMS for term in terms) and extended
