/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CONF_PARSER_H
#define CONF_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

/* Inside of conf/; everybody else includes conf/conf.h. */

/** Longest line of a file with its comment, and room for its NUL. */
#define CONF_LINE_SIZE 1024
/** Rows of all sections together. */
#define CONF_FIELDS_MAX 48

/** How a value is written, and what an error says about it. */
enum conf_type {
	CONF_TYPE_INTERFACE,	  /* name of a network interface */
	CONF_TYPE_INTERFACE_AUTO, /* the same or auto */
	CONF_TYPE_WAN_ADDRESS,	  /* into a struct conf_wan */
	CONF_TYPE_WORD,		  /* one of field->words */
	CONF_TYPE_FLAGS,	  /* some of field->words */
	CONF_TYPE_NUMBER,
	CONF_TYPE_SECONDS,
	CONF_TYPE_RATE,
	CONF_TYPE_MARK,
	CONF_TYPE_PATH,
	CONF_TYPE_PATH_OR_NONE,
	CONF_TYPE_USER,
	CONF_TYPE_TEXT,
	CONF_TYPE_RANGE,
	CONF_TYPE_PREFIX,
	CONF_TYPE_NETWORKS,	 /* into a struct conf_lan */
	CONF_TYPE_NAT64_OR_NONE, /* IPv6 prefix that IPv4 addresses stand behind */
	CONF_TYPE_CHAIN,	 /* off, auto, or family, table and chain */
	CONF_TYPE_PATTERN,
	CONF_TYPE_RULE, /* not a value: conf_rule_parse() reads it */
};

/** A word that stands for a number; the last row of a list has text NULL. */
struct conf_word {
	const char *text;
	uint64_t value;
};

/** One key of a section, or one option of a rule. */
struct conf_field {
	const char *key;
	enum conf_type type;
	size_t offset; /* from the start of the section's structure */
	size_t size;
	uint64_t min, max; /* of CONF_TYPE_NUMBER */
	const struct conf_word *words;
};

struct conf_section {
	const char *name;
	const struct conf_field *fields;
	size_t field_count;
	size_t first_row; /* of its fields, in conf_parser.where */
};

/** A place in a file; file NULL = nowhere, a default. */
struct conf_where {
	const char *file;
	unsigned int line;
};

/** State of reading one set of files. File names must outlive it. */
struct conf_parser {
	struct conf *conf;
	char *error; /* CONF_ERROR_MAX octets */
	bool failed; /* the first error is in `error` */
	struct conf_where at;
	const char *text; /* what is left of the file */
	size_t left;
	const struct conf_section *section; /* NULL before the first of a file */
	struct conf_lan *lan;		    /* in a section [lan NAME] */
	bool rules_given;		    /* the built-in rules are gone */
	size_t rules_in_file;
	struct conf_where where[CONF_FIELDS_MAX]; /* each key's last setting */
	struct conf_where lan_where[CONF_LANS_MAX];
	struct conf_where rule_where[CONF_RULES_MAX];
};

/** Keep the first error: "FILE:LINE: message". Returns false, for the caller to pass
 * on. */
bool conf_fail(struct conf_parser *parser, const struct conf_where *where,
	       const char *format, ...) __attribute__((format(printf, 3, 4)));

/** Read one file's text over parser->conf. Errors: false. */
bool conf_read_text(struct conf_parser *parser, const char *name, const char *text,
		    size_t length);
/** What no single line can tell: values that contradict each other. Errors: false. */
bool conf_check(struct conf_parser *parser);

/** Section by the word in brackets before any name; NULL = there is none. */
const struct conf_section *conf_section_find(const char *name);
const struct conf_section *conf_section_get(size_t index); /* NULL past the last */
/** Key of a section; NULL = it has none of that name. */
const struct conf_field *conf_field_find(const struct conf_section *section,
					 const char *key);
/** Where a key was set; both names must exist. */
const struct conf_where *conf_where_get(const struct conf_parser *parser,
					const char *section, const char *key);

/** Read a value into the structure at `base`. Errors: false, with the message. */
bool conf_value_parse(struct conf_parser *parser, const struct conf_field *field,
		      const char *text, void *base);
/** Read the value of a `rule =` line. Errors: false. */
bool conf_rule_parse(struct conf_parser *parser, const char *text);

/**
 * Take the next word, in double quotes if it holds blanks; *at moves behind it. False
 * at the end. Quotes are known to be closed, and a word to be shorter than a line.
 */
bool conf_word_next(const char **at, char word[CONF_LINE_SIZE]);

/**
 * The candidate that `word` was likely meant to be; NULL when none is near. Candidates
 * are the strings at `first`, `stride` octets apart: the first member of any row.
 */
const char *conf_suggest(const char *word, const void *first, size_t count,
			 size_t stride);

/** True for a name that the kernel takes for an interface, "auto" excepted. */
bool conf_interface_is_valid(const char *name);

#endif
