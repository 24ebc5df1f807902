#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The pseudonyms of doc/formats/manifest.md from Python's own hmac: an implementation that shares nothing with ours."""
import base64
import hashlib
import hmac
import struct

K = bytes(range(32))


def mac(domain, data):
    part = lambda b: struct.pack(">I", len(b)) + b
    return hmac.new(K, b"oncomesh-deid/1" + part(domain) + part(data), hashlib.sha256).digest()


def uid(text):
    raw = bytearray(mac(b"uid", text.encode())[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return f'2.25.{int.from_bytes(raw, "big")}'


def code(domain, data):
    return base64.b32encode(mac(domain, data)[:10]).decode()


def offset(data):
    return -7 * (52 + int.from_bytes(mac(b"date", data)[:8], "big") % 469)


def derive(info):
    prk = hmac.new(bytes(32), K, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


print("uid 1.2.3.4.5.6 =", uid("1.2.3.4.5.6"))
print("patient PAT-001 =", code(b"patient", b"PAT-001"))
print("patient PAT-001 of issuer HOSP =", code(b"patient", b"PAT-001\0HOSP"))
print("accession A1 =", code(b"accession", b"A1"))
print("device SN1 =", code(b"device", b"SN1"))
print("offset PAT-001 =", offset(b"PAT-001"))
print("key id =", derive(b"oncomesh-deid/1/key-id")[:8].hex())
print("quarantine key =", derive(b"oncomesh-deid/1/quarantine").hex())
