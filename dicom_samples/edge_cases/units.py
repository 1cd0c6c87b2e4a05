"""Cases in which the values of the PET are no Bq/ml, or SUV cannot be computed from them (pure)."""

from pydicom import Dataset

from dicom_samples.edge_cases.study import Builder, spoil_each


def _state_counts(ds: Dataset) -> None:
    ds.Units = "CNTS"


def _state_rate(ds: Dataset) -> None:
    ds.Units = "PROPCPS"


def _state_suv(ds: Dataset) -> None:
    """Bq/ml times weight over what is left of the dose: the slope carries it."""
    ds.Units, ds.SUVType = "GML", "BW"
    ds.RescaleSlope = f"{float(ds.RescaleSlope) * 70_000 / (185e6 * 2 ** (-3600 / 6586.2)):.10g}"


def _forget_units(ds: Dataset) -> None:
    del ds.Units


def _forget_slope(ds: Dataset) -> None:
    del ds.RescaleSlope


def _forget_weight(ds: Dataset) -> None:
    del ds.PatientWeight


def _forget_dose(ds: Dataset) -> None:
    del ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose


def _state_megabecquerels(ds: Dataset) -> None:
    ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "185"


def _inject_later(ds: Dataset) -> None:
    drug = ds.RadiopharmaceuticalInformationSequence[0]
    drug.RadiopharmaceuticalStartDateTime, drug.RadiopharmaceuticalStartTime = "20250310120000", "120000"


def _leave_decay(ds: Dataset) -> None:
    ds.DecayCorrection, ds.CorrectedImage = "NONE", ["NORM", "DTIM", "ATTN", "SCAT", "RAN"]


def _blank(ds: Dataset) -> None:
    ds.PixelData = bytes(len(ds.PixelData))


CASES: dict[str, Builder] = {
    "pet-gml": spoil_each("pt", _state_suv),
    "pet-counts": spoil_each("pt", _state_counts),
    "pet-propcps": spoil_each("pt", _state_rate),
    "pet-no-units": spoil_each("pt", _forget_units),
    "pet-no-slope": spoil_each("pt", _forget_slope),
    "pet-no-weight": spoil_each("pt", _forget_weight),
    "pet-no-dose": spoil_each("pt", _forget_dose),
    "pet-dose-in-mbq": spoil_each("pt", _state_megabecquerels),
    "pet-injected-after-scan": spoil_each("pt", _inject_later),
    "pet-no-decay-correction": spoil_each("pt", _leave_decay),
    "pet-blank": spoil_each("pt", _blank),
}
