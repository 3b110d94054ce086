"""poison.py SOURCE TARGET NAME VALUE: a copy of a safetensors file in which one value of tensor NAME
is VALUE (nan, inf): the first, or of a table of tokens the end token's first, which every text has.
poison.py SOURCE: the names."""
import json
import struct
import sys

data = bytearray(open(sys.argv[1], "rb").read())
length = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + length])
header.pop("__metadata__", None)
if len(sys.argv) == 2:
    print("\n".join(sorted(header)))
    sys.exit()
name, value = sys.argv[3], float(sys.argv[4])
entry = header[name]
index = entry["shape"][1] if name in ("shared.weight", "encoder.embed_tokens.weight") else 0
kept = {"F32": struct.pack("<f", value), "BF16": struct.pack("<f", value)[2:], "F16": struct.pack("<e", value)}
piece = kept[entry["dtype"]]
at = 8 + length + entry["data_offsets"][0] + index * len(piece)
data[at:at + len(piece)] = piece
open(sys.argv[2], "wb").write(data)
