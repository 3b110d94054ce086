#!/usr/bin/env python3
"""Writes entities.inc: HTML's named character references, as Python's html module knows them.

Run by hand, in this folder, when HTML gets new names: python3 entities.py > entities.inc
"""
import html.entities


def literal(text):
    return '"%s"' % "".join("\\%03o" % byte for byte in text.encode("utf-8"))


def main():
    print("/* Written by entities.py: name without its '&', text in UTF-8; sorted by name. */")
    for name, text in sorted(html.entities.html5.items()):
        # html_unescape.c sizes its buffer by this.
        assert len(text.encode("utf-8")) <= 2 * (len(name) + 1)
        print('{"%s", %s},' % (name, literal(text)))


main()
