"""Text that stands where a checkpoint was expected: pointers, error pages and other files made of text."""

from __future__ import annotations

import json
import re
from typing import Final

from .errors import ParamInspectError, UnknownFormat, Unsupported
from .source import ByteSource
from .units import format_bytes
from .untrusted import printable

_SHOWN: Final = 200
"""Characters of a title, message or first line that are shown."""

_DOWNLOAD_AGAIN: Final = "download it again, and look at what the server answers"

_LFS: Final = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\r?\n")
_LFS_OID: Final = re.compile(rb"\noid sha256:([0-9a-f]{64})\r?(?:\n|$)")
_LFS_SIZE: Final = re.compile(rb"\nsize ([0-9]{1,18})\r?(?:\n|$)")
_XET: Final = re.compile(rb"# xet version ")
_XET_SIZE: Final = re.compile(rb"\nfilesize = ([0-9]{1,18})\r?(?:\n|$)")
_XET_HASH: Final = re.compile(rb"\nhash = ['\"]([0-9a-f]{64})['\"]")

_SPACE: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+")
_HTML: Final = re.compile(rb"(?i)<(?:!doctype html|html|head|body)[\s>]")
_TITLE: Final = re.compile(rb"(?i)<title[^<>]{0,200}>([^<]{0,400})")
_XML: Final = re.compile(rb"<(?:\?xml|[A-Za-z][\w:.-]{0,60}[\s>/])")
_XML_CODE: Final = re.compile(rb"<Code>([^<]{0,400})")
_XML_MESSAGE: Final = re.compile(rb"<Message>([^<]{0,400})")
_OPENVINO: Final = re.compile(rb"<net\s[^<>]{0,400}>")

_JSON: Final = re.compile(rb'\{\s*["}]|\[\s*["{\[\]0-9-]')
_JSON_KEYS: Final = ("error", "message", "detail", "error_description", "errors", "Message")
_ERROR_BODY: Final = 16 << 10
"""Characters of the longest JSON that is taken for an error message."""

_JSON_STRING: Final = r'"((?:[^"\\]|\\.){0,1000}+)"'
_XGBOOST: Final = re.compile(rb'\{\s*"learner"\s*:\s*\{')
_CATBOOST: Final = re.compile(rb'"(?:oblivious_trees|features_info)"\s*:')

_TEXT_CONTROLS: Final = frozenset("\t\n\r\f\x1b")


def text_lookalike(source: ByteSource, head: bytes, *, whole: bool) -> ParamInspectError | None:
    """The error for a text, or None where the bytes are none.

    Args:
        source: for the name of the file.
        head: its first bytes.
        whole: whether `head` is all of it.
    """
    if _LFS.match(head):
        return _pointer(source, head, "git-lfs-pointer", "Git LFS", _LFS_OID, _LFS_SIZE)
    if _XET.match(head):
        return _pointer(source, head, "xet-pointer", "Xet", _XET_HASH, _XET_SIZE)
    space = _SPACE.match(head)
    start = 0 if space is None else space.end()
    if _HTML.match(head, start) or (_XML.match(head, start) and _HTML.search(head, start, start + 1024)):
        return _html(source, head)
    text = _decoded(head, whole=whole)
    if text is None:
        return None
    if _XML.match(head, start):
        return _xml(source, head)
    if _JSON.match(head, start):
        return _json(source, head, text, whole=whole)
    return _plain(source, text)


def _pointer(
    source: ByteSource, head: bytes, code: str, system: str, oid: re.Pattern[bytes], size: re.Pattern[bytes]
) -> ParamInspectError:
    told = ""
    found_size, found_oid = size.search(head), oid.search(head)
    if found_size is not None:
        count = int(found_size[1])
        told += f" of {format_bytes(count)} ({count:,} bytes)"
    if found_oid is not None:
        told += f" with the hash {found_oid[1].decode()}"
    command = "git lfs pull" if system == "Git LFS" else "git xet pull"
    return UnknownFormat(
        code,
        f"this is a {system} pointer, not the file it stands for: the weights were never downloaded. "
        f"It stands for a file{told}",
        path=source.name,
        advice=f"run '{command}' in the repository, or download the file itself",
    )


def _html(source: ByteSource, head: bytes) -> ParamInspectError:
    return UnknownFormat(
        "html-page",
        f"this is a web page{_quoted(_TITLE.search(head), ', titled ')}: the download gave a page and not "
        "the file",
        path=source.name,
        advice="download it again; a login, a licence or a wrong address is the usual reason",
    )


def _xml(source: ByteSource, head: bytes) -> ParamInspectError:
    if _OPENVINO.search(head, 0, 2048):
        return Unsupported(
            "format-openvino",
            "this is an OpenVINO network, which this version does not read",
            path=source.name,
        )
    error_code, message = _XML_CODE.search(head), _XML_MESSAGE.search(head)
    if error_code is None and message is None:
        return UnknownFormat("file-xml", "this is an XML document, not a checkpoint", path=source.name)
    told = _quoted(error_code, " ") + _quoted(message, ": ")
    return UnknownFormat(
        "xml-error",
        f"this is an error message of a storage server{told}",
        path=source.name,
        advice=_DOWNLOAD_AGAIN,
    )


def _quoted(found: re.Match[bytes] | None, before: str) -> str:
    if found is None:
        return ""
    text = " ".join(found[1].decode("utf-8", "replace").split())
    return f'{before}"{printable(text, _SHOWN)}"' if text else ""


def _json(source: ByteSource, head: bytes, text: str, *, whole: bool) -> ParamInspectError:
    if _XGBOOST.match(head.lstrip()):
        return _model_as_json(source, "format-xgboost", "an XGBoost model")
    if _CATBOOST.search(head):
        return _model_as_json(source, "format-catboost", "a CatBoost model")
    for key in _JSON_KEYS if whole and len(text) <= _ERROR_BODY else ():
        message = _string_value(text, key)
        if message:
            return UnknownFormat(
                "json-error",
                f'this is an error message of a server: "{printable(message, _SHOWN)}"',
                path=source.name,
                advice=_DOWNLOAD_AGAIN,
            )
    return UnknownFormat(
        "file-json",
        "this is JSON, and not an index of shards: it holds no parameters",
        path=source.name,
        advice="if it lies beside a model, open the model's own file or the folder",
    )


def _model_as_json(source: ByteSource, code: str, what: str) -> ParamInspectError:
    return Unsupported(code, f"this is {what} (JSON), which this version does not read", path=source.name)


def _string_value(text: str, key: str) -> str | None:
    """The first string that stands behind a key; found without parsing, which could nest without end."""
    found = re.search(rf'"{key}"\s*:\s*{_JSON_STRING}', text)
    if found is None:
        return None
    try:
        value = json.loads(f'"{found[1]}"', strict=False)
    except ValueError:
        return found[1]
    assert isinstance(value, str)
    return value


def _plain(source: ByteSource, text: str) -> ParamInspectError:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return UnknownFormat(
        "plain-text",
        f'this is a text, not a checkpoint; it begins with "{printable(line, 60)}"',
        path=source.name,
    )


def _decoded(head: bytes, *, whole: bool) -> str | None:
    """The text, where the bytes are UTF-8 text (UTF-16 with a byte order mark). A character that the end of
    `head` cuts does not count.
    """
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    raw = head.removeprefix(b"\xef\xbb\xbf")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        if whole or error.start < len(raw) - 3:
            return None
        text = raw.decode(encoding, "ignore")
    return text if _reads_as_text(text) else None


def _reads_as_text(text: str) -> bool:
    unprintable = sum(not character.isprintable() and character not in _TEXT_CONTROLS for character in text)
    return text != "" and unprintable * 50 <= len(text)
