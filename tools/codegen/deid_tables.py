#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles the vendored tables of data/ to C++.

usage: deid_tables.py dictionary|uids|rules|private DATA_FOLDER OUTPUT

The hash of every input is checked against data/SHA256SUMS, so that a table cannot change without
its record changing too. Output is deterministic.
"""
import csv
import hashlib
import os
import re
import sys

EDITION = "2025b"
DICTIONARY = "dictionary_dcmtk_3.6.7.csv"
RULES = "ps315_e1_1_2025b.csv"
PRIVATE = "safe_private_2024.csv"
UIDS = "uids_pydicom_3.0.2.csv"

# VRs of dicom.dic that stand for a choice; the one an implicit file is read with.
CHOICES = {"xs": "US", "ox": "OW", "px": "OW", "lt": "US", "up": "UL", "na": None}

# What an option does with an attribute, as the source spells it, and as the C++ table does.
ACTIONS = {
    "": "kNone",
    "keep": "kKeep",
    "remove": "kRemove",
    "blank": "kEmpty",
    "replace": "kDummy",
    "func:set_fixed_datetime": "kDummy",
    "func:generate_hmacuid": "kHashUid",
    "func:generate_patient_id": "kPatientCode",
    "func:sq_keep_original_with_review": "kDescend",
    "func:clean_descriptors_with_llm": "kClean",
    "func:generate_hmacdate_shift": "kShiftDate",
    "func:generate_hmacdate_shift_or_remove_epoch": "kShiftDate",
    "func:check_patient_age": "kCapAge",
    "clean_manually": "kClean",
}

# Attributes whose UIDs name kinds of things (classes, syntaxes, vocabularies), not instances.
CLASS_UID = re.compile(
    r"(ClassUID|ClassUIDInFile|TransferSyntaxUID|TransferSyntaxUIDInFile|"
    r"^CodingSchemeUID|^ContextUID|^MappingResourceUID|^ContextGroupExtensionCreatorUID)$")


def fail(message):
    sys.exit(f"deid_tables.py: {message}")


def read(folder, name):
    """Rows of a vendored CSV file as dictionaries, and its hash, once it is what was recorded."""
    path = os.path.join(folder, name)
    with open(path, "rb") as f:
        content = f.read()
    digest = hashlib.sha256(content).hexdigest()
    recorded = {}
    with open(os.path.join(folder, "SHA256SUMS"), encoding="ascii") as f:
        for line in f:
            value, file_name = line.split()
            recorded[file_name] = value
    if recorded.get(name) != digest:
        fail(f"{name} has SHA-256 {digest}, SHA256SUMS says {recorded.get(name)}")
    return list(csv.DictReader(content.decode("utf-8").splitlines())), digest


def vr_constant(text):
    return f"Code('{text[0]}', '{text[1]}')"


def most_values(multiplicity):
    """The most values an attribute can have, 0 for any number: of 1-3 3, of 2-2n 0."""
    last = multiplicity.split("-")[-1]
    return 0 if last.endswith("n") else int(last)


def dictionary(folder):
    rows, digest = read(folder, DICTIONARY)
    single, ranges = {}, []
    for row in rows:
        vr = CHOICES.get(row["VR"], row["VR"])
        if vr is None:
            continue
        kind = "true" if CLASS_UID.search(row["Keyword"]) else "false"
        match = re.fullmatch(r"([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})", row["Tag"])
        if match:
            tag = int(match[1] + match[2], 16)
            # Current names come first in the file; a retired twin does not replace them.
            single.setdefault(tag, (vr, most_values(row["VM"]), kind))
            continue
        match = re.fullmatch(r"(5000|6000|7F00)-(50FF|60FF|7FFF),([0-9A-Fa-f]{4})", row["Tag"])
        if match:
            ranges.append((int(match[1], 16), int(match[2], 16), int(match[3], 16), vr))
    # Attributes that are newer than the dictionary.
    for row in read(folder, RULES)[0]:
        if re.fullmatch(r"[0-9A-Fa-f]{8}", row["Group"] + row["Element"]) and row["VR"]:
            single.setdefault(int(row["Group"] + row["Element"], 16), (row["VR"], 0, "false"))
    out = [f"// Generated from {DICTIONARY} (SHA-256 {digest}) and {RULES}.",
           "static constexpr DictionaryEntry kDictionary[] = {"]
    for tag, (vr, most, kind) in sorted(single.items()):
        out.append(f"    {{0x{tag:08x}, {vr_constant(vr)}, {most}, {kind}}},")
    out.append("};")
    out.append("static constexpr RepeatingEntry kRepeating[] = {")
    for low, high, element, vr in sorted(set(ranges)):
        out.append(f"    {{0x{low:04x}, 0x{high:04x}, 0x{element:04x}, {vr_constant(vr)}}},")
    out.append("};")
    return out


def uids(folder):
    rows, digest = read(folder, UIDS)
    kinds = {"Well-known frame of reference": "kFrameOfReference",
             "Synchronization Frame of Reference": "kFrameOfReference",
             "Well-known SOP Instance": "kInstance"}
    out = [f"// Generated from {UIDS} (SHA-256 {digest}).",
           "static constexpr StandardUid kStandardUids[] = {"]
    for row in sorted(rows, key=lambda r: r["UID"]):
        out.append(f'    {{"{row["UID"]}", UidKind::{kinds.get(row["Type"], "kClass")}}},')
    out.append("};")
    return out


def action(text):
    if text not in ACTIONS:
        fail(f"no meaning for the action {text!r}")
    return "RowAction::" + ACTIONS[text]


def rules(folder):
    rows, digest = read(folder, RULES)
    out = [f"// Generated from {RULES} (SHA-256 {digest}).",
           f'inline constexpr char kRuleTableEdition[] = "{EDITION}";',
           f'inline constexpr char kRuleTableSha256[] = "{digest}";',
           "static constexpr RuleRow kRuleRows[] = {"]
    patterns = {"50xxxxxx": (0x50000000, 0xff000000), "60xx3000": (0x60003000, 0xff00ffff),
                "60xx4000": (0x60004000, 0xff00ffff), "ggggeeeewhereggggisodd": (0x00010000, 0x00010000)}
    entries = []
    for row in rows:
        key = (row["Group"] + row["Element"]).lower()
        if key in patterns:
            tag, mask = patterns[key]
        elif re.fullmatch(r"[0-9a-f]{8}", key):
            tag, mask = int(key, 16), 0xffffffff
        else:
            fail(f"cannot read the tag {key!r}")
        basic = row["Basic Prof."]
        if not basic:
            # Icon Image Sequence stands twice in the source; the row with the footnote rules.
            if not any(r["Basic Prof."] for r in rows
                       if (r["Group"], r["Element"]) == (row["Group"], row["Element"])):
                fail(f"the row {key} has no action")
            continue
        options = [row[c] for c in ("Rtn. UIDs Opt.", "Rtn. Dev. Id. Opt.", "Rtn. Inst. Id. Opt.",
                                    "Rtn. Pat. Chars. Opt.", "Rtn. Long. Full Dates Opt.",
                                    "Rtn. Long. Modif. Dates Opt.", "Clean Desc. Opt.",
                                    "Clean Struct. Cont. Opt.", "Clean Graph. Opt.")]
        cells = ", ".join(action(a) for a in [basic] + options)
        vr = vr_constant(row["VR"]) if row["VR"] else "0"
        entries.append((tag, f"    {{0x{tag:08x}, 0x{mask:08x}, {vr}, {{{cells}}}}},"))
    if len({e[0] for e in entries}) != len(entries):
        fail("a tag stands twice in the table")
    out += [text for _, text in sorted(entries)]
    out.append("};")
    return out


def private(folder):
    rows, digest = read(folder, PRIVATE)
    best = {}
    for row in rows:
        match = re.fullmatch(r"xx([0-9a-f]{2})", row["Element"].lower())
        if not match:
            fail(f"cannot read the private element {row['Element']!r}")
        key = (row["Private Creator"].strip(), int(row["Group"], 16), int(match[1], 16))
        vr = row["VR"].split("/")[0] or "UN"
        in_standard = row["IsInDICOMRetainSafePrivateTags"] == "True"
        known = best.get(key)
        # The same element may be listed at several places; what the standard lists wins.
        if known is None or (in_standard and not known[2]):
            best[key] = (vr, action(row["Rtn. Safe Priv. Opt."]), in_standard)
    out = [f"// Generated from {PRIVATE} (SHA-256 {digest}).",
           f'inline constexpr char kSafePrivateSha256[] = "{digest}";',
           "static constexpr PrivateRow kPrivateRows[] = {"]
    for (creator, group, low), (vr, what, in_standard) in sorted(best.items()):
        name = creator.replace("\\", "\\\\").replace('"', '\\"')
        out.append(f'    {{"{name}", 0x{group:04x}, 0x{low:02x}, {vr_constant(vr)}, {what}, '
                   f'{"true" if in_standard else "false"}}},')
    out.append("};")
    return out


TABLES = {"dictionary": dictionary, "uids": uids, "rules": rules, "private": private}


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in TABLES:
        fail("usage: deid_tables.py dictionary|uids|rules|private DATA_FOLDER OUTPUT")
    lines = TABLES[sys.argv[1]](sys.argv[2])
    temporary = sys.argv[3] + ".tmp"
    with open(temporary, "w", encoding="utf-8") as f:
        f.write("// SPDX-License-Identifier: Apache-2.0\n// clang-format off\n")
        f.write("\n".join(lines) + "\n")
    os.replace(temporary, sys.argv[3])


main()
