#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of the code that a program can check.

    test/lint/lint.py [--root DIR] [--build DIR] [--list] [FILE...]

Prints each finding as FILE:LINE: message [rule] and exits 1 when there is one. With
FILEs, only findings in those are shown (the whole tree is read all the same). With
--build, the objects of that build directory are asked for external variables too.
"""

import argparse
import collections
import math
import os
import re
import shutil
import subprocess
import sys

FUNCTION_LINES = 60
FUNCTION_LINES_TABLE = 80
TEST_FUNCTION_LINES_TABLE = 120
FUNCTION_LINES_P95 = 60
FUNCTION_PARAMETERS = 5
FUNCTION_NESTING = 3
FILE_LINES = 650
TEST_FILE_LINES = 1000
# Part of a function's lines in one switch or table that makes it "a switch or table".
TABLE_SHARE = 0.6

# Who may include whom (the arrows of the layering). A directory may include itself.
LAYERS = {
    "base": {"base"},
    "protocols": {"protocols", "base"},
    "backends": {"backends", "base"},
    "conf": {"conf", "base"},
    "daemon": {"daemon", "protocols", "backends", "conf", "base"},
    "admin": {"admin", "conf", "base"},
    "probe": {"probe", "protocols", "conf", "base"},
    "doctor": {"doctor", "daemon", "backends", "conf", "base"},
}
# What is not all of a directory: who may include which files of it.
NARROW_LAYERS = {
    ("probe", "protocols"): {"pcp.h", "request.h"},
    # The doctor looks at the network with the eyes of the daemon.
    ("doctor", "daemon"): {"network.h", "wan.h"},
}
SOURCE_DIRS = tuple(LAYERS) + ("test",)

FORBIDDEN_CALLS = {
    "strcpy": "use snprintf() or text_copy_clean()",
    "strcat": "use snprintf()",
    "sprintf": "use snprintf()",
    "vsprintf": "use vsnprintf()",
    "gets": "use fgets()",
    "strtok": "use strsep()",
    "atoi": "use parse_number()",
    "atol": "use parse_number()",
    "atoll": "use parse_number()",
    "gethostbyname": "never resolve names",
    "gethostbyaddr": "never resolve names",
    "getaddrinfo": "never resolve names",
    "alloca": "bound it with an array",
    "tmpnam": "use mkstemp()",
    "mktemp": "use mkstemp()",
}
# The same, where tests may do as they like.
FORBIDDEN_CALLS_DAEMON = {
    "system": "start no shell",
    "popen": "start no shell",
}
CLOCK_CALLS = {"clock_gettime", "gettimeofday", "time", "ftime", "timespec_get"}
CLOCK_FILES = {"base/clock.c"}
SLEEP_CALLS = {"sleep", "usleep", "nanosleep", "clock_nanosleep"}
# Modules that may look at bytes through a struct: framing of kernel messages.
CAST_FILES = re.compile(r"base/(msg|addr)\.c|daemon/wan\w*\.c|backends/(nft|ipt|flows)\w*\.c")
CAST_FINE = {"sockaddr", "sockaddr_in", "sockaddr_in6", "sockaddr_storage",
             "sockaddr_un", "sockaddr_nl", "cmsghdr", "in_pktinfo", "in6_pktinfo"}
NETLINK_FILES = re.compile(
    r"base/netlink\.[ch]|backends/\w+\.c|"
    r"daemon/(firewall|wan|sockets|conntrack|neighbours|link_speed)\w*\.c")

Finding = collections.namedtuple("Finding", "path line rule text")
Token = collections.namedtuple("Token", "text line")
Function = collections.namedtuple(
    "Function", "name path line last parameters static body table_lines nesting")

TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|\.\.\.|->|\+\+|--|<<|>>|[<>=!&|]=|&&|\|\||\S")
KEYWORDS = {"if", "for", "while", "switch", "do", "else", "return", "sizeof", "case",
            "default", "goto", "break", "continue", "_Static_assert", "_Alignof",
            "__attribute__", "typeof", "__typeof__", "defined"}


def blank(match):
    """Keep the lines of what is cut out."""
    return re.sub(r"[^\n]", " ", match.group(0))


def blank_literal(match):
    text = match.group(0)
    if text.startswith("/"):
        return blank(match)
    return text[0] + re.sub(r"[^\n]", " ", text[1:-1]) + text[-1]


LITERAL = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)


class Source:
    """One C file: its text, its tokens without comments, strings and directives."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            self.text = file.read()
        self.lines = self.text.split("\n")
        self.code = LITERAL.sub(blank_literal, self.text)
        self.directives = [(self.code.count("\n", 0, m.start()) + 1,
                            self.lines[self.code.count("\n", 0, m.start())])
                           for m in DIRECTIVE.finditer(self.code)]
        self.tokens = self.split(DIRECTIVE.sub(blank, self.code))
        self.match = self.pair(self.tokens)
        self.functions, self.outside = self.find_functions()
        self.calls = [(t.text, t.line) for t, n in zip(self.tokens, self.tokens[1:])
                      if n.text == "(" and t.text not in KEYWORDS
                      and re.match(r"[A-Za-z_]", t.text)]

    @property
    def directory(self):
        return self.path.split("/")[0]

    @property
    def module(self):
        return os.path.splitext(self.path)[0]

    @property
    def is_test(self):
        return self.directory == "test"

    @staticmethod
    def split(code):
        tokens = []
        for number, line in enumerate(code.split("\n"), 1):
            tokens += [Token(m.group(0), number) for m in TOKEN.finditer(line)]
        return tokens

    @staticmethod
    def pair(tokens):
        """Index of each opening bracket -> index of its closing one, and back."""
        match, stack = {}, []
        for index, token in enumerate(tokens):
            if token.text in "([{":
                stack.append(index)
            elif token.text in ")]}" and stack:
                start = stack.pop()
                match[start], match[index] = index, start
        return match

    def count_calls(self, function):
        """Calls of a function of this file, its definition and declarations aside."""
        return sum(name == function.name for name, line in self.calls) - sum(
            1 for statement in self.outside + [[Token(function.name, 0), Token("(", 0)]]
            for token, after in zip(statement, statement[1:])
            if token.text == function.name and after.text == "(")

    def includes(self):
        for line, text in self.directives:
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', text)
            if found:
                yield line, found.group(1)

    def find_functions(self):
        """Definitions, and what stands between them (declarations at file level)."""
        functions, outside = [], []
        index, statement = 0, []
        while index < len(self.tokens):
            token = self.tokens[index]
            if token.text == "{" and index in self.match:
                if self.is_body(statement):
                    functions.append(self.read_function(statement, index))
                    statement = []
                else:
                    statement.append(index)
                index = self.match[index] + 1
                continue
            statement.append(index)
            if token.text == ";":
                outside.append([self.tokens[i] for i in statement])
                statement = []
            elif token.text in "([" and index in self.match:
                statement += range(index + 1, self.match[index] + 1)
                index = self.match[index]
            index += 1
        return functions, outside

    def is_body(self, statement):
        """A brace at file level opens a function when a parameter list is before it."""
        texts = [self.tokens[i].text for i in statement]
        return "(" in texts and "=" not in texts and texts[0] not in ("struct", "enum",
                                                                     "union") or (
            "(" in texts and "=" not in texts and texts[-1] == ")")

    def read_function(self, statement, start):
        name_at = next(i for i, n in zip(statement, statement[1:])
                       if self.tokens[n].text == "("
                       and self.tokens[i].text != "__attribute__"
                       and re.match(r"[A-Za-z_]", self.tokens[i].text))
        close = self.match[name_at + 1]
        inner = self.tokens[name_at + 2:close]
        count, depth = 1, 0
        for token in inner:
            depth += token.text in "([{"
            depth -= token.text in ")]}"
            count += token.text == "," and depth == 0
        if not inner or [t.text for t in inner] == ["void"]:
            count = 0
        end = self.match[start]
        body = Body(self, start, end)
        return Function(self.tokens[name_at].text, self.path,
                        self.tokens[statement[0]].line, self.tokens[end].line, count,
                        "static" in [self.tokens[i].text for i in statement[:4]],
                        (start, end), body.table_lines, body.nesting)


class Body:
    """The statements of one function: how deep they nest, how long its tables are."""

    def __init__(self, source, start, end):
        self.tokens, self.match = source.tokens, source.match
        self.nesting = 0
        self.table_lines = 0
        index = start + 1
        while index < end:
            index = self.statement(index, 0, end)

    def skip_parentheses(self, index, end):
        if index < end and self.tokens[index].text == "(":
            return self.match.get(index, end) + 1
        return index

    def lines(self, first, last):
        return self.tokens[last].line - self.tokens[first].line + 1

    def statement(self, index, depth, end):
        """Walk one statement; the index after it."""
        self.nesting = max(self.nesting, depth)
        text = self.tokens[index].text
        if text == "{":
            last = self.match.get(index, end)
            index += 1
            while index < last:
                index = self.statement(index, depth, last)
            return last + 1
        if text in ("if", "for", "while", "switch"):
            after = self.skip_parentheses(index + 1, end)
            if after >= end or self.tokens[after].text == ";":
                return after + 1
            last = self.statement(after, depth + 1, end)
            if text == "switch":
                self.table_lines = max(self.table_lines, self.lines(index, last - 1))
            return last
        if text == "do":
            return self.statement(index + 1, depth + 1, end)
        if text == "else":
            after = index + 1
            if self.tokens[after].text == "if":
                return self.statement(after, depth, end)
            return self.statement(after, depth + 1, end)
        if text in ("case", "default") or self.is_label(index):
            while index < end and self.tokens[index].text != ":":
                index += 1
            return index + 1
        return self.simple(index, depth, end)

    def is_label(self, index):
        return (re.match(r"[A-Za-z_]\w*$", self.tokens[index].text) is not None
                and self.tokens[index + 1].text == ":")

    def simple(self, index, depth, end):
        """An expression or declaration; or a macro that loops over a block."""
        if self.tokens[index + 1].text == "(" and re.match(r"[A-Za-z_]",
                                                          self.tokens[index].text):
            after = self.skip_parentheses(index + 1, end)
            if after < end and self.tokens[after].text == "{":
                return self.statement(after, depth + 1, end)
        first = index
        while index < end and self.tokens[index].text != ";":
            if self.tokens[index].text in "([{" and index in self.match:
                index = self.match[index]
            index += 1
        if index > first:
            self.table_lines = max(self.table_lines,
                                   self.lines(first, min(index, end)))
        return index + 1


class Tree:
    """All C files of the checkout."""

    def __init__(self, root, build=None):
        self.root, self.build = root, build
        self.sources = [Source(root, path) for path in self.find(".c", ".h")]
        self.by_path = {source.path: source for source in self.sources}

    def find(self, *endings):
        for top in SOURCE_DIRS:
            for directory, names, files in os.walk(os.path.join(self.root, top)):
                names[:] = sorted(n for n in names if n not in ("__pycache__", "corpus"))
                for name in sorted(files):
                    if name.endswith(endings):
                        yield os.path.relpath(os.path.join(directory, name), self.root)

    def resolve(self, source, name):
        """Path in the tree of an #include "name", or None."""
        beside = os.path.normpath(os.path.join(os.path.dirname(source.path), name))
        return name if name in self.by_path else (
            beside if beside in self.by_path else None)


RULES = {}


def rule(function):
    RULES[function.__name__.replace("_", "-")] = function
    return function


@rule
def layering(tree):
    """Arrows between directories go downwards only; headers are named "dir/file.h"."""
    for source in tree.sources:
        if source.is_test:
            continue
        for line, name in source.includes():
            top = name.split("/")[0]
            if "/" not in name:
                yield source.path, line, f'include "{name}" as "dir/file.h" from the root'
            elif top not in LAYERS[source.directory]:
                yield source.path, line, f'{source.directory}/ must not include "{name}"'
            elif name[len(top) + 1:] not in NARROW_LAYERS.get(
                    (source.directory, top), {name[len(top) + 1:]}):
                yield (source.path, line,
                       f'{source.directory}/ may use the codec only, not "{name}"')


@rule
def own_header_first(tree):
    """A .c file includes its own header before any other."""
    for source in tree.sources:
        own = source.module + ".h"
        if not source.path.endswith(".c") or own not in tree.by_path:
            continue
        for line, text in source.directives:
            found = re.match(r'\s*#\s*include\s+[<"]([^>"]+)', text)
            if found:
                # its own header, or the private one of a module of several files
                first = tree.resolve(source, found.group(1)) or ""
                if first != own and not first.startswith(source.module + "_"):
                    yield source.path, line, f'the first include shall be "{own}"'
                break


def cycles(edges):
    """Groups of nodes that reach each other (Tarjan), each with more than one node."""
    order, low, stack, groups = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                groups.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(edges):
        if node not in order:
            visit(node)
    return groups


def report_cycles(edges, what):
    graph = {node: set(targets) for node, targets in edges.items()}
    for group in cycles(graph):
        for node in group:
            for target in group:
                if target in edges.get(node, {}):
                    path, line, detail = edges[node][target]
                    yield path, line, (f"{what} cycle of {', '.join(group)}: "
                                       f"{node} -> {target} ({detail})")


@rule
def include_cycle(tree):
    """Files do not include each other in a circle."""
    edges = collections.defaultdict(dict)
    for source in tree.sources:
        for line, name in source.includes():
            target = tree.resolve(source, name)
            if target and target != source.path:
                edges[source.path].setdefault(target, (source.path, line, name))
    yield from report_cycles(edges, "include")


@rule
def call_cycle(tree):
    """Modules (a .c and its .h) do not call each other in a circle."""
    owner = {}
    for source in tree.sources:
        if not source.is_test:
            owner.update({f.name: source.module for f in source.functions
                          if not f.static})
    edges = collections.defaultdict(dict)
    for source in tree.sources:
        if source.is_test or not source.path.endswith(".c"):
            continue
        static = {f.name for f in source.functions if f.static}
        for name, line in source.calls:
            target = owner.get(name)
            if target and target != source.module and name not in static:
                edges[source.module].setdefault(target,
                                                (source.path, line, name + "()"))
    yield from report_cycles(edges, "call")


@rule
def function_size(tree):
    """At most 60 lines, 80 where most of it is one switch or table; p95 at most 60."""
    lengths = []
    for source in tree.sources:
        for function in source.functions:
            lines = function.last - function.line + 1
            if not source.is_test:
                lengths.append((lines, function))
            table = function.table_lines >= TABLE_SHARE * lines
            limit = FUNCTION_LINES
            if table:
                limit = (TEST_FUNCTION_LINES_TABLE if source.is_test
                         else FUNCTION_LINES_TABLE)
            if lines > limit:
                yield (source.path, function.line,
                       f"{function.name}() has {lines} lines, at most {limit}")
    lengths.sort(key=lambda pair: pair[0])
    if lengths:
        p95, function = lengths[math.ceil(0.95 * len(lengths)) - 1]
        if p95 > FUNCTION_LINES_P95:
            yield (function.path, function.line, "the 95th percentile of function "
                   f"length is {p95} lines, at most {FUNCTION_LINES_P95}")


@rule
def function_parameters(tree):
    """At most 5 parameters, function pointers too; a library's callbacks aside."""
    for source in tree.sources:
        for found in re.finditer(r"\(\s*\*\s*(\w+)\s*\)\s*\(([^()]*)\)", source.code):
            if found.group(2).count(",") >= FUNCTION_PARAMETERS:
                line = source.code.count("\n", 0, found.start()) + 1
                yield (source.path, line, f"(*{found.group(1)})() takes more than "
                       f"{FUNCTION_PARAMETERS} parameters")
        for function in source.functions:
            # Only its address is taken: whoever calls it says what it takes.
            callback = function.static and source.count_calls(function) == 0
            if function.parameters > FUNCTION_PARAMETERS and not callback:
                yield (source.path, function.line, f"{function.name}() takes "
                       f"{function.parameters} parameters, at most {FUNCTION_PARAMETERS}")


@rule
def function_nesting(tree):
    """Control structures nest at most 3 deep."""
    for source in tree.sources:
        for function in source.functions:
            if function.nesting > FUNCTION_NESTING:
                yield (source.path, function.line, f"{function.name}() nests "
                       f"{function.nesting} deep, at most {FUNCTION_NESTING}")


@rule
def function_name(tree):
    """Functions with external linkage are named module_verb_object()."""
    for source in tree.sources:
        for function in source.functions:
            if function.static or function.name in ("main", "LLVMFuzzerTestOneInput",
                                                    "LLVMFuzzerInitialize"):
                continue
            if not re.fullmatch(r"_*[a-z][a-z0-9]*(_[a-z0-9]+)+", function.name):
                yield (source.path, function.line,
                       f"{function.name}() is not named module_verb_object()")


@rule
def file_size(tree):
    """At most 650 lines."""
    for source in tree.sources:
        lines = source.text.count("\n")
        limit = TEST_FILE_LINES if source.is_test else FILE_LINES
        if lines > limit:
            yield source.path, limit + 1, f"{lines} lines, at most {limit}"


@rule
def external_variable(tree):
    """No variable has external linkage: not in the source, not in the objects."""
    for source in tree.sources:
        for statement in source.outside:
            found = file_level_variable(statement)
            if found:
                yield source.path, found.line, f"{found.text} is an external variable"
    if tree.build:
        yield from external_symbols(tree)


def file_level_variable(statement):
    """Name token of the variable that a file-level declaration makes, or None."""
    texts = [t.text for t in statement]
    if texts[0] in ("typedef", "static", "_Static_assert", ";"):
        return None
    if "static" in texts[:4]:
        return None
    cut = texts.index("=") if "=" in texts else len(texts) - 1
    head = statement[:cut]
    if not head or ("(" in [t.text for t in head] and "=" not in texts):
        return None
    # struct x; struct x { ... }; enum { ... };
    names = [t for t in head if re.match(r"[A-Za-z_]", t.text)]
    tagged = [t for t in names if t.text in ("struct", "union", "enum")]
    if tagged and len(head) >= 1:
        if head[-1].text in ("{", "}") or len(names) <= 2:
            return None
    return names[-1] if len(names) > 1 else None


def external_symbols(tree):
    objects = [os.path.join(directory, name)
               for directory, _, files in os.walk(tree.build)
               for name in files if name.endswith(".o")]
    for path in sorted(objects):
        if "/test/" in path[len(tree.build):]:
            continue
        output = subprocess.run(["nm", "-g", "--defined-only", path], check=True,
                                capture_output=True, text=True).stdout
        for line in output.splitlines():
            kind, name = line.split()[-2:]
            if kind in "BDCGRSV" and not name.startswith("__"):
                shown = os.path.relpath(path, tree.build)
                yield shown, 0, f"{name} is an external variable"


@rule
def typedef_struct(tree):
    """Types are struct x, not typedefs."""
    for source in tree.sources:
        for token, after in zip(source.tokens, source.tokens[1:]):
            if token.text == "typedef" and after.text in ("struct", "union", "enum"):
                yield source.path, token.line, f"typedef {after.text}: name it directly"


@rule
def conditional_compilation(tree):
    """No #if outside base/, include guards aside: a feature is a file plus a stub."""
    for source in tree.sources:
        if source.directory == "base":
            continue
        for index, (line, text) in enumerate(source.directives):
            found = re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b\s*(\w*)", text)
            if not found:
                continue
            guard = (index == 0 and found.group(1) == "ifndef"
                     and source.path.endswith(".h") and len(source.directives) > 1
                     and re.match(r"\s*#\s*define\s+" + found.group(2) + r"\s*$",
                                  source.directives[1][1]))
            if not guard:
                yield source.path, line, "conditional compilation outside base/"


def enumerators(tree):
    names = set()
    for source in tree.sources:
        for index, token in enumerate(source.tokens):
            if token.text != "enum":
                continue
            at = index + 1
            while source.tokens[at].text not in "{;),=*(":
                at += 1
            if source.tokens[at].text == "{":
                for entry in source.tokens[at + 1:source.match[at]]:
                    if re.fullmatch(r"[A-Z][A-Z0-9_]+", entry.text):
                        names.add(entry.text)
    return names


@rule
def switch_default(tree):
    """No default: in a switch over our own enum, so that the compiler finds a gap."""
    ours = enumerators(tree)
    for source in tree.sources:
        for index, token in enumerate(source.tokens):
            if token.text == "switch" and source.tokens[index + 1].text == "(":
                brace = source.match[index + 1] + 1
                yield from check_switch(source, brace, ours)


def check_switch(source, brace, ours):
    if source.tokens[brace].text != "{":
        return
    cases, default = [], None
    index, end = brace + 1, source.match[brace]
    while index < end:
        text = source.tokens[index].text
        if text == "switch":  # its own turn comes
            index = source.match[source.match[index + 1] + 1]
        elif text == "case":
            cases.append(source.tokens[index + 1].text)
        elif text == "default" and source.tokens[index + 1].text == ":":
            default = source.tokens[index].line
        index += 1
    if default and cases and all(case in ours for case in cases):
        yield source.path, default, "default: in a switch over our own enum"


@rule
def clang_format(tree):
    """clang-format decides how code is laid out."""
    if not shutil.which("clang-format"):
        yield "test/lint/lint.py", 0, "clang-format is not installed"
        return
    paths = [source.path for source in tree.sources]
    for start in range(0, len(paths), 50):
        done = subprocess.run(["clang-format", "--dry-run", "-Werror",
                               "--ferror-limit=1"] + paths[start:start + 50],
                              cwd=tree.root, capture_output=True, text=True, check=False)
        for line in done.stderr.splitlines():
            found = re.match(r"(\S+?):(\d+):\d+: error: (.*)", line)
            if found:
                yield found.group(1), int(found.group(2)), "not as clang-format has it"


@rule
def licence_line(tree):
    """Each file names its licence at its top."""
    for path in tree.find(".c", ".h", ".py", ".sh"):
        with open(os.path.join(tree.root, path), encoding="utf-8") as file:
            top = [file.readline() for _ in range(2)]
        if not any("SPDX-License-Identifier: GPL-2.0-or-later" in line for line in top):
            yield path, 1, "SPDX-License-Identifier: GPL-2.0-or-later is missing"


@rule
def suppressed_lint(tree):
    """No comment switches a checker off."""
    for source in tree.sources:
        for number, line in enumerate(source.lines, 1):
            if re.search(r"NOLINT|clang-format off|#\s*pragma\s+(GCC|clang)\s+diagnostic",
                         line):
                yield source.path, number, "a checker is switched off here"


@rule
def forbidden_call(tree):
    """Functions that overflow, guess, block or start a shell."""
    for source in tree.sources:
        for name, line in source.calls:
            why = FORBIDDEN_CALLS.get(name)
            if not why and not source.is_test:
                why = FORBIDDEN_CALLS_DAEMON.get(name)
            if why:
                yield source.path, line, f"{name}() is forbidden: {why}"


@rule
def one_clock(tree):
    """One module reads the clock; everything else gets the time as a parameter."""
    for source in tree.sources:
        if source.is_test or source.path in CLOCK_FILES:
            continue
        for name, line in source.calls:
            if name in CLOCK_CALLS:
                yield source.path, line, f"{name}() outside base/clock.c"


@rule
def byte_cast(tree):
    """Bytes from outside are read with a cursor, not through a struct."""
    # What looks like bytes by its name: a cast of a void * of our own is no concern.
    pattern = re.compile(r"\(\s*(?:const\s+)?struct\s+(\w+)\s*\*\s*\)[\s(&]*"
                         r"\w*(?:byte|buf|packet|payload|body|octet|datagram|raw)")
    for source in tree.sources:
        if source.is_test or CAST_FILES.fullmatch(source.path):
            continue
        for found in pattern.finditer(source.code):
            if found.group(1) not in CAST_FINE:
                line = source.code.count("\n", 0, found.start()) + 1
                yield (source.path, line,
                       f"cast to struct {found.group(1)} *: read it with struct reader")


@rule
def netlink_owner(tree):
    """Only the backends and the modules that ask the kernel open netlink."""
    pattern = re.compile(r"\b(mnl_socket_open\w*|netlink_open|nfct_open\w*|NETLINK_[A-Z_0-9]+|AF_NETLINK)\b")
    for source in tree.sources:
        if source.is_test or NETLINK_FILES.fullmatch(source.path) or (
                source.path.startswith("base/sandbox")):
            continue
        for found in pattern.finditer(source.code):
            line = source.code.count("\n", 0, found.start()) + 1
            yield source.path, line, f"{found.group(1)} outside backends/, daemon/wan and sockets"


@rule
def test_sleep(tree):
    """A test waits on a condition with a deadline; it never sleeps for a guess."""
    for source in tree.sources:
        for name, line in source.calls:
            if name in SLEEP_CALLS:
                yield source.path, line, f"{name}(): wait for a condition"
    for path in tree.find(".py", ".sh"):
        with open(os.path.join(tree.root, path), encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if re.search(r"\btime\.sleep\s*\(|^\s*sleep\s+[0-9$]", line):
                    yield path, number, "sleep: wait for a condition"


def check(root, build=None, names=None):
    """All findings, in the order of path and line."""
    tree = Tree(root, build)
    findings = []
    for name, function in RULES.items():
        if names is None or name in names:
            findings += [Finding(path, line, name, text)
                         for path, line, text in function(tree)]
    return sorted(set(findings))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="Check the rules of the code.")
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(here)))
    parser.add_argument("--build", help="build directory whose objects are checked too")
    parser.add_argument("--rule", action="append", help="only this rule")
    parser.add_argument("--list", action="store_true", help="show the rules")
    parser.add_argument("files", nargs="*", help="show findings in these files only")
    options = parser.parse_args()
    if options.list:
        for name, function in RULES.items():
            print(f"{name:<24} {function.__doc__.splitlines()[0]}")
        return 0
    wanted = {os.path.relpath(os.path.abspath(f), options.root) for f in options.files}
    findings = [f for f in check(options.root, options.build, options.rule)
                if not wanted or f.path in wanted]
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.text} [{finding.rule}]")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
