"""Tables of engine/text that follow ftfy: tables_text.py ROOT writes entities_upper.inc and widths.inc there."""
import html
import html.entities
import pathlib
import sys

from ftfy import chardata


def c_text(text):
    return '"' + "".join("\\%03o" % byte for byte in text.encode()) + '"'


folder = pathlib.Path(sys.argv[1]) / "engine" / "text"
upper = {name[1:]: text for name, text in chardata.HTML_ENTITIES.items() if name[1:] not in html.entities.html5}
lines = [f"    {{\"{name}\", {c_text(upper[name])}}},\n" for name in sorted(upper)]
(folder / "entities_upper.inc").write_text("/* Made by tests/oracle/tables_text.py: entities that ftfy knows in capitals. */\n" + "".join(lines))
wide = {**chardata.WIDTH_MAP, **chardata.LIGATURES}
lines = [f"    {{0x{point:04x}, {c_text(wide[point])}}},\n" for point in sorted(wide)]
(folder / "widths.inc").write_text("/* Made by tests/oracle/tables_text.py: characters of another width, and ligatures. */\n" + "".join(lines))
