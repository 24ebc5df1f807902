# SPDX-License-Identifier: Apache-2.0
"""Finds words in bytes whatever they are wrapped in."""

from __future__ import annotations

import base64
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

_DEEPEST = 4
_LARGEST = 1 << 28  # of what one stream inflates to
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_PREFIX = 4
_BLOCK = 1 << 24
_DEFLATED_DICOM = b"1.2.840.10008.1.2.1.99"


def forms(word: str) -> set[bytes]:
    """How a word can stand in a file: character sets, cases, base64 at every alignment, hex."""
    found = set()
    for text in {word, word.lower(), word.upper()}:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "latin-1"):
            raw = text.encode(encoding)
            found.add(raw)
            found.add(raw.hex().encode())
            found.add(raw.hex().upper().encode())
            for shift in range(3):
                # The characters that bytes before and after the word do not touch.
                coded = base64.b64encode(b"\0" * shift + raw + b"\0" * 3)
                begin = (shift * 8 + 5) // 6
                found.add(coded[begin : (shift + len(raw)) * 8 // 6])
    return found | {form.translate(bytes.maketrans(b"+/", b"-_")) for form in found}


def layers(content: bytes, depth: int = 0) -> Iterator[bytes]:
    """The bytes themselves, and what gzip, zlib, deflate and zip hide in them, at any place."""
    yield content
    if depth == _DEEPEST:
        return
    for inner in _inflated(content):
        yield from layers(inner, depth + 1)
    if b"PK\x03\x04" in content:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    yield name.encode()
                    yield from layers(archive.read(name), depth + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error):
            pass


def _inflated(content: bytes) -> Iterator[bytes]:
    for place in _places(content, b"\x1f\x8b\x08"):
        yield from _inflate(content, place, 31)
    for magic in _ZLIB:
        for place in _places(content, magic):
            yield from _inflate(content, place, 15)
    if content[128:132] == b"DICM" and _DEFLATED_DICOM in content[:1024]:
        # The meta information says how long it is, in the element (0002,0000).
        length = int.from_bytes(content[140:144], "little")
        yield from _inflate(content, 144 + length, -15)


def _places(content: bytes, magic: bytes) -> Iterator[int]:
    place = content.find(magic)
    while place >= 0:
        yield place
        place = content.find(magic, place + 1)


def _inflate(content: bytes, place: int, window: int) -> Iterator[bytes]:
    """What inflates from `place` on; also the beginning of a stream that is cut or damaged."""
    engine = zlib.decompressobj(window)
    out = bytearray()
    view = memoryview(content)[place:]
    try:
        for begin in range(0, len(view), 1 << 16):
            out += engine.decompress(view[begin : begin + (1 << 16)])
            if engine.eof or len(out) > _LARGEST:
                break
    except zlib.error:
        pass
    if len(out) >= 8:
        yield bytes(out)


class Search:
    """Which of some words are in bytes. A word has at least four characters.

    One of `numbers` counts as text only where no other digit touches it: eight digits of a date
    stand by chance in a folder full of UIDs.
    """

    def __init__(self, words: Iterable[str], numbers: Iterable[str] = ()) -> None:
        self._alone = {number.encode() for number in numbers}
        self._forms: dict[int, list[tuple[bytes, str]]] = {}
        for word in {*words, *numbers}:
            for form in forms(word):
                if len(form) < _PREFIX:
                    raise ValueError("a word has at least four characters")
                begin = int.from_bytes(form[:_PREFIX], "little")
                self._forms.setdefault(begin, []).append((form, word))
        self._begins = np.array(sorted(self._forms), np.uint32)
        self._pairs = np.zeros(1 << 16, bool)
        self._pairs[self._begins & 0xFFFF] = True

    def find(self, content: bytes) -> set[str]:
        """The words that are in there, in any form."""
        found: set[str] = set()
        for layer in layers(content):
            for place in self._candidates(layer):
                begin = int.from_bytes(layer[place : place + _PREFIX], "little")
                for form, word in self._forms[begin]:
                    if layer.startswith(form, place) and not self._is_part(layer, place, form):
                        found.add(word)
        return found

    def _is_part(self, layer: bytes, place: int, form: bytes) -> bool:
        """Whether digits are only some of a longer number."""
        after = place + len(form)
        return form in self._alone and (
            layer[max(place - 1, 0) : place].isdigit() or layer[after : after + 1].isdigit()
        )

    def _candidates(self, layer: bytes) -> Iterator[int]:
        """Where the first four bytes of a form are: hundreds of forms in one pass."""
        for first in range(0, len(layer) - _PREFIX + 1, _BLOCK):
            block = np.frombuffer(layer[first : first + _BLOCK + _PREFIX - 1], np.uint8)
            # A pair of bytes leaves few places; of these the four bytes are looked up.
            pair = block[:-1] | block[1:].astype(np.uint16) << 8
            places = np.flatnonzero(self._pairs[pair[: len(block) - _PREFIX + 1]])
            four = pair[places] | pair[places + 2].astype(np.uint32) << 16
            for place in places[np.isin(four, self._begins)]:
                yield first + int(place)
