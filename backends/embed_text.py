# SPDX-License-Identifier: GPL-2.0-or-later
"""Turn a text file into a C function that returns it: embed_text.py FUNCTION IN OUT."""
import sys

function, source, target = sys.argv[1:]
with open(source, encoding="ascii") as file:
    lines = file.read().splitlines()
with open(target, "w", encoding="ascii") as file:
    file.write("/* Generated; do not edit. */\n#include \"backends/nft.h\"\n\n")
    file.write(f"const char *{function}(void)\n{{\n\treturn \"\"\n")
    for line in lines:
        # Comments stay in the source: what is loaded is what counts.
        if line.strip() and not line.strip().startswith("#"):
            text = line.strip().replace("\\", "\\\\").replace('"', '\\"')
            file.write(f'\t       "{text}\\n"\n')
    file.write("\t\t;\n}\n")
