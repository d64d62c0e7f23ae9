"""The codes of every problem with an input, and what each means. Codes are never reused."""

from __future__ import annotations

from typing import Final

__all__ = ["CODES"]

CODES: Final[dict[str, str]] = {
    # files
    "E-FILE-001": "the path does not exist, is a directory or cannot be read",
    "E-FILE-002": "the file is empty",
    "E-FILE-003": "the file is truncated or damaged",
    "E-FILE-004": "the file is of another kind than the reader takes",
    "E-FILE-005": "an element of the file is missing or cannot be decoded",
    # unsafe HDF5
    "E-HDF-001": "an external link points into another file",
    "E-HDF-002": "a soft link stands where data should",
    "E-HDF-003": "a dataset keeps its values in an external file",
    "E-HDF-004": "a virtual dataset takes its values from other files",
    "E-HDF-005": "a dataset needs a filter that is not one of HDF5's own",
    "E-HDF-006": "the declared size is out of proportion to the file, or above memory",
    "E-HDF-007": "the file holds implausibly many objects or attributes",
    # tables
    "E-CSV-001": "the table is not UTF-8 text",
    "E-CSV-002": "the table is not separated by commas (or tabs)",
    "E-CSV-003": "numbers are written with a decimal comma",
    "E-CSV-004": "rows and header disagree, or the table has no rows",
    "E-CSV-005": "a column name stands twice in the header",
    # columns
    "E-COL-001": "a column that the configuration names is in no table",
    "E-COL-002": "neither a sample nor a patient column was found",
    "E-COL-003": "a sample column without any patient column",
    "E-COL-004": "a column that should hold numbers does not",
    # identifiers
    "E-ID-001": "a cell id stands twice in one sample",
    "E-ID-002": "two spellings of what is probably one id",
    "E-ID-003": "an id is missing",
    "E-ID-004": "the same barcode with the same counts in two patients",
    # samples and patients
    "E-SMP-001": "a sample belongs to two patients",
    "E-SMP-002": "a property of the sample differs between its cells",
    "E-SMP-003": "cells of a sample that the sample table lacks",
    "E-SMP-004": "a sample or patient stands twice in its table",
    "E-SMP-005": "the batch is known for some samples only",
    "E-SMP-006": "a patient that the patient table lacks",
    # sample sheet
    "E-SHEET-001": "the sample sheet lacks a column it needs, or no run was found",
    "E-SHEET-002": "a file named in the sample sheet is missing",
    "E-SHEET-003": "the same file under two samples",
    # RNA
    "E-RNA-001": "negative RNA counts",
    "E-RNA-002": "fractional RNA counts",
    "E-RNA-003": "log-transformed or otherwise normalised RNA where counts are needed",
    "E-RNA-004": "NaN in RNA",
    "E-RNA-005": "infinity in RNA",
    "E-RNA-006": "an RNA count too large to be one",
    "E-RNA-007": "raw counts declared as normalised",
    "E-RNA-008": "X, raw and layers disagree on which of them holds counts",
    "E-RNA-009": "the RNA matrix holds no numbers",
    "W-RNA-006": "an unusually large RNA count",
    # genes
    "E-GENE-001": "duplicate gene names",
    "E-GENE-002": "genes without a name",
    "E-GENE-003": "gene names turned into dates by a spreadsheet",
    "E-GENE-004": "the samples share too few genes",
    "E-GENE-005": "gene names of another species",
    # protein
    "E-PROT-001": "negative protein values: CLR or dsb, not counts",
    "E-PROT-002": "fractional protein values: normalised, not counts",
    "E-PROT-003": "NaN in protein counts",
    "E-PROT-004": "infinity in protein counts",
    "E-PROT-005": "a protein count too large to be one",
    "E-PROT-006": "duplicate protein names",
    "E-PROT-007": "proteins without names, names that do not fit the matrix, or no numbers",
    "W-PROT-008": "a measured protein is zero in every cell of a sample",
    "W-PROT-009": "samples seem to have one antibody under several names",
    # modalities
    "E-MOD-001": "the cell barcodes of two modalities do not match",
    # receptors
    "E-REC-001": "nucleotides where the CDR3 amino acids should be",
    "E-REC-002": "receptor columns that cannot be read",
    "W-REC-003": "many junctions that are no CDR3",
    "W-REC-012": "clone ids without sequences that start anew in each sample",
    "W-REC-013": "samples without a clone, of which it is not said whether they were sequenced",
    # labels
    "E-LAB-001": "the endpoint column is in no table",
    "E-LAB-002": "the endpoint differs within a patient or sample",
    "E-LAB-003": "the endpoint has one class only, or none",
    "E-LAB-004": "a class has too few patients",
    "E-LAB-005": "endpoint values that are neither positive, negative nor excluded",
    "E-LAB-006": "a value is listed in two of positive, negative and exclude",
    "E-LAB-007": "ordinal levels that are no order, or a cut that divides nothing",
    "E-LAB-008": "months of a survival endpoint that are no times, or a landmark beside them",
    "E-LAB-009": "times to an event that are no numbers, or below 0",
    "E-LAB-010": "several endpoints that are fewer than two, or nested",
    "E-LAB-011": "the head can not be fitted to the endpoint",
    "E-LAB-012": "folds that leave a further endpoint too few patients of a class",
    # libraries
    "W-LIB-001": "a failed library: too few counts per cell or too few cells",
    "E-LIB-002": "too many empty cells in a patient",
    "E-LIB-003": "no sample is left",
}
