"""fusionnode: pairs MRI with PET or SPECT, registers and fuses them, and returns the fused series to the PACS."""

__version__ = "0.1.0"
