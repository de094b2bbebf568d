#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each rule of lint.py finds a violation planted for it, and nothing in clean code."""

import os
import shutil
import subprocess

import lint
import pytest

SPDX = "/* SPDX-License-Identifier: GPL-2.0-or-later */\n"


def body(lines):
    return "".join(f"\tx += {n};\n" for n in range(lines))


def function(lines, name="a_run_it", inner=None):
    return f"static int {name}(int x)\n{{\n{inner or body(lines)}\treturn x;\n}}\n"


def table(cases):
    inner = "".join(f"\tcase {n}:\n\t\treturn {n};\n" for n in range(cases))
    return f"static int a_run_it(int x)\n{{\n\tswitch (x) {{\n{inner}\t}}\n\treturn x;\n}}\n"


NESTED = ("\tif (x)\n\t\tfor (;;)\n\t\t\twhile (x)\n\t\t\t\tif (x)\n\t\t\t\t\tx++;\n")
NESTED_FINE = ("\tif (x) {\n\t\tx = (int[]){{1}}[0];\n\t} else if (x) {\n"
               "\t\tfor (;;)\n\t\t\tif (x)\n\t\t\t\tx++;\n\t}\n")

# rule, files of a tree that breaks it (SPDX line added unless given)
VIOLATIONS = [
    ("layering", {"base/a.c": '#include "conf/c.h"\n', "conf/c.h": ""}),
    ("layering", {"protocols/a.c": '#include "backends/b.h"\n', "backends/b.h": ""}),
    ("layering", {"backends/a.c": '#include "protocols/b.h"\n', "protocols/b.h": ""}),
    ("layering", {"admin/a.c": '#include "daemon/b.h"\n', "daemon/b.h": ""}),
    ("layering", {"daemon/a.c": '#include "b.h"\n', "daemon/b.h": ""}),
    ("layering", {"probe/a.c": '#include "daemon/b.h"\n', "daemon/b.h": ""}),
    ("layering", {"probe/a.c": '#include "protocols/worker.h"\n',
                  "protocols/worker.h": ""}),
    ("own-header-first", {"base/a.c": '#include <stdio.h>\n#include "base/a.h"\n',
                          "base/a.h": ""}),
    ("include-cycle", {"base/a.h": '#include "base/b.h"\n',
                       "base/b.h": '#include "base/a.h"\n'}),
    ("call-cycle", {"base/a.c": "void a_go(void)\n{\n\tb_go();\n}\n",
                    "base/b.c": "void b_go(void)\n{\n\ta_go();\n}\n"}),
    ("function-size", {"base/a.c": function(70)}),
    ("function-size", {"base/a.c": table(45)}),
    ("function-size", {"test/unit/a.c": function(70)}),
    ("function-parameters",
     {"base/a.c": "void a_b(int a, int b, int c, int d, int e, int f)\n{\n}\n"}),
    ("function-parameters",
     {"base/a.c": "static void a_b(int a, int b, int c, int d, int e, int f)\n{\n}\n"
                  "static void a_c(void)\n{\n\ta_b(1, 2, 3, 4, 5, 6);\n}\n"}),
    ("function-parameters",
     {"base/a.h": "struct a {\n\tint (*b)(int c, int d, int e, int f, int g, int h);\n};\n"}),
    ("function-nesting", {"base/a.c": function(0, inner=NESTED)}),
    ("function-name", {"base/a.c": "void Frob(void)\n{\n}\n"}),
    ("file-size", {"base/a.c": "\n" * 700}),
    ("file-size", {"test/unit/a.c": "\n" * 1050}),
    ("external-variable", {"base/a.c": "int counter;\n"}),
    ("external-variable", {"base/a.c": "int counter = 3;\n"}),
    ("external-variable", {"base/a.c": "const char *const names[] = {\"a\"};\n"}),
    ("external-variable", {"base/a.c": "struct a {\n\tint b;\n} c;\n"}),
    ("external-variable", {"base/a.h": "extern int counter;\n"}),
    ("typedef-struct", {"base/a.h": "typedef struct a {\n\tint b;\n} a_t;\n"}),
    ("conditional-compilation", {"daemon/a.c": "#ifdef DEBUG\n#endif\n"}),
    ("conditional-compilation", {"daemon/a.c": "#if 0\n#endif\n"}),
    ("switch-default",
     {"base/a.h": "enum a {\n\tA_ONE,\n\tA_TWO,\n};\n",
      "daemon/a.c": function(0, inner="\tswitch (x) {\n\tcase A_ONE:\n\t\tbreak;\n"
                                      "\tdefault:\n\t\tbreak;\n\t}\n")}),
    ("clang-format", {"base/a.c": "static int  a ;\n"}),
    ("licence-line", {"base/a.c": "SPDX none\n"}),
    ("licence-line", {"test/e2e/a.py": "#!/usr/bin/python3\n"}),
    ("suppressed-lint", {"base/a.c": "/* NOLINT */\n"}),
    ("forbidden-call", {"base/a.c": function(0, inner="\tstrcpy(a, b);\n")}),
    ("forbidden-call", {"base/a.c": function(0, inner="\tx = atoi(b);\n")}),
    ("forbidden-call", {"daemon/a.c": function(0, inner="\tsystem(b);\n")}),
    ("one-clock", {"daemon/a.c": function(0, inner="\tclock_gettime(0, &y);\n")}),
    ("one-clock", {"daemon/a.c": function(0, inner="\tx = time(NULL);\n")}),
    ("byte-cast",
     {"daemon/a.c": function(0, inner="\ty = (const struct head *)packet;\n")}),
    ("netlink-owner",
     {"protocols/a.c": function(0, inner="\tsocket(AF_NETLINK, SOCK_RAW, 0);\n")}),
    ("netlink-owner", {"protocols/a.c": function(0, inner="\tnetlink_open(0, 0);\n")}),
    ("test-sleep", {"test/unit/a.c": function(0, inner="\tsleep(1);\n")}),
    ("test-sleep", {"test/e2e/a.py": "time" + ".sleep(1)\n"}),
]

CLEAN = {
    "base/a.h": "#ifndef BASE_A_H\n#define BASE_A_H\n\nenum a {\n\tA_ONE,\n\tA_TWO,\n};\n"
                "\nstruct b;\nint a_run_it(struct b *b);\n\n#endif\n",
    "base/a.c": '#include "base/a.h"\n\n#if 1\nstatic int counter;\n#endif\n'
                'static const char *const names[] = {"strcpy(", "typedef struct"};\n'
                "/* NULL; default: atoi() */\n",
    "base/small.c": "".join(function(3, f"small_f{n}") for n in range(20)),
    "conf/c.c": '#include <stdio.h>\n\n#include "base/a.h"\n\n'
                + function(50, "c_first") + function(0, "c_next", NESTED_FINE),
    "daemon/d.c": table(36) + function(0, "d_out", "\tswitch (x) {\n\tcase 'a':\n"
                                       "\tdefault:\n\t\tbreak;\n\t}\n"),
    "base/p.c": '#include "base/p_private.h"\n',
    "base/p.h": "",
    "base/p_private.h": '#include "base/p.h"\n\nstruct p {\n'
                        "\tint (*q)(int r, int s);\n};\n",
    "protocols/sax.c": "static void on_start(int a, int b, int c, int d, int e, int f)\n{\n}"
                       "\n\nstatic void (*const handler)(void) = on_start;\n",
    "test/unit/t.c": '#include "daemon/d.h"\n\n#include "base/a.h"\n',
}


def plant(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if not text.startswith(("SPDX", "#!")) and path.endswith((".c", ".h")):
            text = SPDX + text
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
    shutil.copy(os.path.join(os.path.dirname(lint.__file__), "../../.clang-format"), root)


@pytest.mark.parametrize("name,files", VIOLATIONS)
def test_finds_planted(tmp_path, name, files):
    plant(tmp_path, files)
    found = lint.check(tmp_path, names=[name])
    assert found, f"{name} finds nothing in {files}"
    assert all(f.path in files and f.line >= 1 for f in found), found


def test_every_rule_has_a_violation():
    assert set(lint.RULES) == {name for name, _ in VIOLATIONS}


def test_clean_code_passes(tmp_path):
    plant(tmp_path, CLEAN)
    assert [f for f in lint.check(tmp_path) if f.rule != "clang-format"] == []


def test_p95(tmp_path):
    plant(tmp_path, {"base/a.c": "".join(table(36).replace("a_run_it", f"a_f{n}")
                                         for n in range(20))})
    found = lint.check(tmp_path, names=["function-size"])
    assert len(found) == 1 and "percentile" in found[0].text


def test_finds_external_symbol_in_objects(tmp_path):
    build = tmp_path / "build"
    build.mkdir()
    source = tmp_path / "a.c"
    source.write_text("int hidden_in_macro; static int fine; int *f(void);\n"
                      "int *f(void) { return &fine; }\n")
    subprocess.run(["cc", "-c", "-o", build / "a.o", source], check=True)
    found = lint.check(tmp_path, build=str(build), names=["external-variable"])
    assert [f.text for f in found] == ["hidden_in_macro is an external variable"]


def test_command_line(tmp_path):
    plant(tmp_path, {"base/a.c": "int counter;\n", "base/b.c": ""})
    command = ["/usr/bin/python3", lint.__file__, "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == "base/a.c:2: counter is an external variable [external-variable]\n"
    done = subprocess.run(command + [str(tmp_path / "base/b.c")],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
