"""Files that are often taken for checkpoints, as data: their fixed bytes, and what to tell who holds one."""

from __future__ import annotations

from typing import Final, NamedTuple


class Lookalike(NamedTuple):
    """One kind of file that no reader opens."""

    code: str
    """Of the error. `format-`: a model in a format that is not read here; `archive-` and `compressed-`: a
    wrapper that may hold one; `file-`: no model at all."""

    what: str
    """With its article: completes "this is ..."."""

    advice: str | None = None

    @property
    def may_hold_a_model(self) -> bool:
        """Whether parameters may be inside, out of reach of this version."""
        return not self.code.startswith("file-")


Signature = tuple[int, bytes, Lookalike]
"""Offset, bytes that must stand there, and what they mean."""

_UNPACK: Final = "unpack it first, and open what was inside"
_EXPORT: Final = "save its weights as safetensors with the library that wrote it"

HDF5: Final = Lookalike("format-hdf5", "an HDF5 file (Keras .h5 files are such)", _EXPORT)
GZIP: Final = Lookalike("compressed-gzip", "gzip-compressed data", "unpack it with gunzip first")
BZIP2: Final = Lookalike("compressed-bzip2", "bzip2-compressed data", "unpack it with bunzip2 first")
XZ: Final = Lookalike("compressed-xz", "xz-compressed data", "unpack it with unxz first")
LZMA: Final = Lookalike("compressed-lzma", "data compressed with lzma", "unpack it with unlzma first")
ZLIB: Final = Lookalike("compressed-zlib", "a zlib stream", "decompress it first")
TAR: Final = Lookalike(
    "archive-tar", "a tar archive", "unpack it with tar -x first, and open what was inside"
)
PADDLE: Final = Lookalike("format-paddle", "by its first fields a Paddle parameter file", _EXPORT)
MSGPACK: Final = Lookalike(
    "format-msgpack", "perhaps a MessagePack map, as Flax writes its checkpoints", _EXPORT
)
TF_DATA: Final = Lookalike("format-tensorflow-checkpoint", "a part of a TensorFlow checkpoint", _EXPORT)

_MODELS: Final[tuple[Signature, ...]] = (
    (0, b"GGUF", Lookalike("format-gguf", "a GGUF file")),
    (0, b"lmgg", Lookalike("format-ggml", "a GGML file, older than GGUF", "convert it to GGUF")),
    (0, b"fmgg", Lookalike("format-ggml", "a GGML file (ggmf), older than GGUF", "convert it to GGUF")),
    (0, b"tjgg", Lookalike("format-ggml", "a GGML file (ggjt), older than GGUF", "convert it to GGUF")),
    (4, b"TFL3", Lookalike("format-tflite", "a TensorFlow Lite model", _EXPORT)),
    (4, b"ORTM", Lookalike("format-onnxruntime", "an ONNX Runtime model", _EXPORT)),
    (4, b"PTMF", Lookalike("format-torch-mobile", "a torch mobile model (flatbuffer)", _EXPORT)),
    (4, b"ET12", Lookalike("format-executorch", "an ExecuTorch program", _EXPORT)),
    (4, b"ET13", Lookalike("format-executorch", "an ExecuTorch program", _EXPORT)),
    (0, b"CBM1", Lookalike("format-catboost", "a CatBoost model")),
    (0, b"binf", Lookalike("format-xgboost", "an XGBoost model in its old binary form")),
    (0, b"{L\0\0\0\0\0\0\0\x07learner", Lookalike("format-xgboost", "an XGBoost model (UBJSON)")),
    (0, b"tree\nversion=", Lookalike("format-lightgbm", "a LightGBM model (text)")),
    (0, b"\x12\x01" + bytes(14), Lookalike("format-mxnet", "an MXNet parameter file", _EXPORT)),
    (0, b"\xba\x16\x4f\x2f", Lookalike("format-fasttext", "a fastText model")),
    (0, b"7767517\n", Lookalike("format-ncnn", "an ncnn network description")),
    (0, b"model_checkpoint_path:", Lookalike("format-tensorflow-checkpoint",
        "the text file that names the newest TensorFlow checkpoint", _EXPORT)),
    (0, b"MATLAB 5.0 MAT-file", Lookalike("format-matlab", "a MATLAB file")),
)  # fmt: skip

_WRAPPERS: Final[tuple[Signature, ...]] = (
    (0, b"7z\xbc\xaf\x27\x1c", Lookalike("archive-7z", "a 7z archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", Lookalike("archive-rar", "a RAR archive", _UNPACK)),
    (0, b"\x1f\x8b\x08", GZIP),
    (4, b"1AY&SY", BZIP2),
    (0, b"\xfd7zXZ\0", XZ),
    (0, b"\x5d\0\0", LZMA),
    (0, b"\x28\xb5\x2f\xfd", Lookalike("compressed-zstd", "zstd-compressed data", "use unzstd first")),
    (0, b"\x04\x22\x4d\x18", Lookalike("compressed-lz4", "lz4-compressed data", "use unlz4 first")),
    (0, b"\x02\x21\x4c\x18", Lookalike("compressed-lz4", "lz4-compressed data", "use unlz4 first")),
    (0, b"ZF0x", Lookalike("compressed-joblib", "a joblib file of the kind written before version 0.10",
        "load and save it again with a newer joblib")),
    (257, b"ustar", TAR),
)  # fmt: skip

_OTHERS: Final[tuple[Signature, ...]] = (
    (0, b"%PDF-", Lookalike("file-pdf", "a PDF document")),
    (0, b"\x89PNG\r\n\x1a\n", Lookalike("file-image", "a PNG image")),
    (0, b"\xff\xd8\xff", Lookalike("file-image", "a JPEG image")),
    (0, b"GIF8", Lookalike("file-image", "a GIF image")),
    (8, b"WEBP", Lookalike("file-image", "a WebP image")),
    (8, b"WAVE", Lookalike("file-sound", "a WAV sound file")),
    (4, b"ftyp", Lookalike("file-video", "an MP4 or QuickTime file")),
    (0, b"\x7fELF", Lookalike("file-program", "a program or library (ELF)")),
    (0, b"\xfe\xed\xfa\xce", Lookalike("file-program", "a program or library (Mach-O)")),
    (0, b"\xfe\xed\xfa\xcf", Lookalike("file-program", "a program or library (Mach-O)")),
    (0, b"\xce\xfa\xed\xfe", Lookalike("file-program", "a program or library (Mach-O)")),
    (0, b"\xcf\xfa\xed\xfe", Lookalike("file-program", "a program or library (Mach-O)")),
    (0, b"\xca\xfe\xba\xbe", Lookalike("file-program", "a program or library (Mach-O, or a Java class)")),
    (0, b"MZ\x90\0", Lookalike("file-program", "a program or library (Windows)")),
    (0, b"\0asm", Lookalike("file-program", "a WebAssembly module")),
    (0, b"#!/", Lookalike("file-program", "a script")),
    (0, b"SQLite format 3\0", Lookalike("file-sqlite", "an SQLite database")),
    (0, b"PAR1", Lookalike("file-parquet", "a Parquet table")),
    (0, b"ARROW1", Lookalike("file-arrow", "an Arrow table")),
    (0, b"FEA1", Lookalike("file-arrow", "a Feather table")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Lookalike("file-office", "an old Office document")),
    (23, b"brain.Event:", Lookalike("file-tfevents", "a TensorBoard log")),
)  # fmt: skip

SIGNATURES: Final = _MODELS + _WRAPPERS + _OTHERS

ZIP_MEMBERS: Final[tuple[tuple[frozenset[str], Lookalike], ...]] = (
    (frozenset({"config.json", "model.weights.h5"}),
        Lookalike("format-keras", "a Keras 3 model (.keras)", _EXPORT)),
    (frozenset({"archive_format", "archive_version"}),
        Lookalike("format-torch-export", "a program of torch.export (.pt2)", "save its state dict")),
    (frozenset({"[Content_Types].xml"}), Lookalike("file-office", "an Office document")),
    (frozenset({"META-INF/MANIFEST.MF"}), Lookalike("file-program", "a Java archive")),
    (frozenset({"AndroidManifest.xml"}), Lookalike("file-program", "an Android application")),
)  # fmt: skip
"""Members that together tell what a zip archive is."""
