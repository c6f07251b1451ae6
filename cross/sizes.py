#!/usr/bin/env python3
"""sizes.py README TARGET DIR DIR: writes the row of a target into the table of README that stands
between lines <!-- sizes --> and <!-- /sizes -->: zerotier-one of both folders, default set and
`small`, as it is and by gzip -9. Other rows stay; KB are 1000 bytes."""
import gzip
import sys

BEGIN, END = "<!-- sizes -->\n", "<!-- /sizes -->\n"
HEAD = ["| target | default set | gzip | `small` | gzip |\n", "|---|---|---|---|---|\n"]


def kb(count):
    return f"{(count + 999) // 1000:,} KB".replace(",", " ")


def main(readme, target, *folders):
    cells = [target]
    for folder in folders:
        with open(f"{folder}/zerotier-one", "rb") as file:
            data = file.read()
        cells += [kb(len(data)), kb(len(gzip.compress(data, 9)))]
    with open(readme, encoding="utf-8") as file:
        lines = file.readlines()
    begin, end = lines.index(BEGIN) + 1, lines.index(END)
    rows = {line.split("|")[1].strip(): line for line in lines[begin + len(HEAD):end]}
    rows[target] = "| " + " | ".join(cells) + " |\n"
    lines[begin:end] = HEAD + [rows[name] for name in sorted(rows)]
    with open(readme, "w", encoding="utf-8") as file:
        file.writelines(lines)


if len(sys.argv) != 5:
    raise SystemExit(__doc__)
main(*sys.argv[1:])
