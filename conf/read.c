/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/parser.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

/*
 * inih splits KEY = VALUE; the lines it gets are prepared here, for as distributions
 * build it
 * - its handler is not told the line number,
 * - lines are cut at 197 octets, the rest is dropped and the cut value handed out,
 * - only ';' starts a comment behind a value, in quotes too,
 * - an indented line continues the value before it,
 * - a section without keys is passed over in silence, and [lan NAME] alone means a lot.
 * So its reader callback, which it asks for each line in turn and whose line it handles
 * before it asks again, counts lines, strips comments and blanks, refuses what would be
 * cut, and enters sections itself.
 */

/* Stands for ';' between quotes while inih sees the line; never in a file (see below).
 */
#define HIDDEN_SEMICOLON '\x01'

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

static bool fail_key(struct conf_parser *parser, const char *key)
{
	const struct conf_section *section = parser->section;
	const struct conf_section *other;
	const char *near;

	near = conf_suggest(key, section->fields, section->field_count,
			    sizeof(section->fields[0]));
	if (near != NULL)
		return conf_fail(parser, NULL,
				 "unknown key \"%s\" in [%s]; did you mean \"%s\"?",
				 key, section->name, near);
	for (size_t i = 0; (other = conf_section_get(i)) != NULL; i++)
		if (conf_field_find(other, key) != NULL)
			return conf_fail(
				parser, NULL,
				"unknown key \"%s\" in [%s]; it belongs in [%s]", key,
				section->name, other->name);
	return conf_fail(parser, NULL,
			 "unknown key \"%s\" in [%s]; portreeve.conf(5) lists the keys",
			 key, section->name);
}

static bool set_key(struct conf_parser *parser, const char *key, const char *value)
{
	const struct conf_section *section = parser->section;
	const struct conf_field *field;
	struct conf_where *where;

	if (section == NULL)
		return conf_fail(
			parser, NULL,
			"\"%s\" stands before any section; begin with a line such "
			"as [wan]",
			key);
	field = conf_field_find(section, key);
	if (field == NULL)
		return fail_key(parser, key);
	if (field->type == CONF_TYPE_RULE)
		return conf_rule_parse(parser, value);
	where = &parser->where[section->first_row + (size_t)(field - section->fields)];
	if (where->file == parser->at.file)
		return conf_fail(
			parser, NULL,
			"duplicate key \"%s\" in [%s]; line %u has it already, "
			"remove one of the two",
			key, section->name, where->line);
	*where = parser->at;
	return conf_value_parse(parser, field, value,
				parser->lan ? (void *)parser->lan
					    : (void *)parser->conf);
}

static int handle_key(void *user, const char *section, const char *key,
		      const char *value)
{
	struct conf_parser *parser = user;
	char shown[CONF_LINE_SIZE];

	(void)section;
	(void)snprintf(shown, sizeof(shown), "%s", value);
	for (char *at = shown; *at != '\0'; at++)
		if (*at == HIDDEN_SEMICOLON)
			*at = ';';
	return set_key(parser, key, shown) ? 1 : 0;
}

static struct conf_lan *find_lan(struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->lan_count; i++)
		if (strcmp(conf->lans[i].name, name) == 0)
			return &conf->lans[i];
	return NULL;
}

static bool enter_lan(struct conf_parser *parser, const char *name)
{
	struct conf *conf = parser->conf;
	struct conf_lan *lan = find_lan(conf, name);
	struct conf_where *where;

	if (!conf_interface_is_valid(name))
		return conf_fail(
			parser, NULL,
			"bad interface name \"%s\" in [lan ...]; write [lan NAME] "
			"with a name as \"ip link\" shows it, such as [lan lan0]",
			name);
	if (lan == NULL && conf->lan_count == CONF_LANS_MAX)
		return conf_fail(parser, NULL, "too many LANs; there may be %d",
				 CONF_LANS_MAX);
	if (lan == NULL) {
		lan = &conf->lans[conf->lan_count++];
		(void)snprintf(lan->name, sizeof(lan->name), "%s", name);
		lan->protocols = CONF_PROTOCOLS_DEFAULT;
		lan->igd = 3;
	}
	where = &parser->lan_where[lan - conf->lans];
	if (where->file == parser->at.file)
		return conf_fail(
			parser, NULL,
			"duplicate section [lan %s]; line %u begins it already, "
			"join the two",
			name, where->line);
	*where = parser->at;
	/* The keys of a LAN may be set once in each [lan NAME], not once in a file. */
	for (size_t i = 0; i < parser->section->field_count; i++)
		parser->where[parser->section->first_row + i].file = NULL;
	parser->lan = lan;
	return true;
}

static bool fail_section(struct conf_parser *parser, const char *name)
{
	const char *names[] = {"wan", "lan", "policy", "backend", "limits", "global"};
	const char *near = conf_suggest(name, names, sizeof(names) / sizeof(names[0]),
					sizeof(names[0]));

	if (near != NULL)
		return conf_fail(parser, NULL,
				 "unknown section [%s]; did you mean [%s%s]?", name,
				 near, strcmp(near, "lan") == 0 ? " NAME" : "");
	return conf_fail(parser, NULL,
			 "unknown section [%s]; the sections are [wan], [lan NAME], "
			 "[policy], [backend], [limits] and [global]",
			 name);
}

/* line = "[...", trimmed. */
static bool enter_section(struct conf_parser *parser, char *line)
{
	char *end = strchr(line, ']');
	char word[CONF_LINE_SIZE], name[CONF_LINE_SIZE] = "", more[CONF_LINE_SIZE];
	const char *at = line + 1;

	if (end == NULL || end[1] != '\0')
		return conf_fail(
			parser, NULL,
			"bad section line \"%s\"; a section line is [NAME] and "
			"nothing else",
			line);
	*end = '\0';
	if (!conf_word_next(&at, word))
		return fail_section(parser, "");
	parser->section = conf_section_find(word);
	parser->lan = NULL;
	(void)conf_word_next(&at, name);
	if (parser->section == NULL)
		return fail_section(parser, line + 1);
	if (conf_word_next(&at, more))
		return conf_fail(parser, NULL,
				 "bad section line \"%s]\"; a section has one name",
				 line);
	if (strcmp(word, "lan") == 0)
		return enter_lan(parser, name);
	if (name[0] != '\0')
		return conf_fail(
			parser, NULL,
			"bad section line \"%s]\"; write [%s], only LANs have a name",
			line, word);
	return true;
}

/* Take one line off the text into `line`, without its end; tabs become blanks. */
static bool take_line(struct conf_parser *parser, char line[CONF_LINE_SIZE])
{
	const char *end = memchr(parser->text, '\n', parser->left);
	size_t length = end ? (size_t)(end - parser->text) : parser->left;
	const char *text = parser->text;
	char copy[CONF_LINE_SIZE];

	parser->text += length + (end ? 1 : 0);
	parser->left -= length + (end ? 1 : 0);
	parser->at.line++;
	if (length > 0 && text[length - 1] == '\r')
		length--;
	if (parser->at.line == 1 && length >= strlen(BYTE_ORDER_MARK) &&
	    memcmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0) {
		text += strlen(BYTE_ORDER_MARK);
		length -= strlen(BYTE_ORDER_MARK);
	}
	if (length >= CONF_LINE_SIZE)
		return conf_fail(
			parser, NULL,
			"the line is too long: %zu octets; at most %d are read", length,
			CONF_LINE_SIZE - 1);
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\0')
			return conf_fail(
				parser, NULL,
				"the line has a NUL octet; the file must be plain "
				"UTF-8 text");
		copy[i] = text[i];
		if (copy[i] == '\t')
			copy[i] = ' ';
	}
	/* What is no text, text_copy_clean() drops. */
	text_copy_clean(line, CONF_LINE_SIZE, copy, length);
	if (strlen(line) != length)
		return conf_fail(
			parser, NULL,
			"the line has control characters or is not UTF-8; the file "
			"must be plain UTF-8 text");
	return true;
}

/* Cut the comment off, hide semicolons between quotes from inih. */
static bool strip_comment(struct conf_parser *parser, char *line)
{
	bool quoted = false, blank = true;

	for (char *at = line; *at != '\0'; at++) {
		if (*at == '"')
			quoted = !quoted;
		if (!quoted && blank && (*at == ';' || *at == '#')) {
			*at = '\0';
			return true;
		}
		blank = *at == ' ';
		if (quoted && *at == ';')
			*at = HIDDEN_SEMICOLON;
	}
	if (quoted)
		return conf_fail(parser, NULL,
				 "a quote is not closed; write both \" on one line");
	return true;
}

static char *trim(char *line)
{
	size_t length;

	line += strspn(line, " ");
	length = strlen(line);
	while (length > 0 && line[length - 1] == ' ')
		line[--length] = '\0';
	return line;
}

/* Hand a KEY = VALUE line to inih, in its buffer. */
static bool give_line(struct conf_parser *parser, const char *line, char *out, int size)
{
	const size_t length = strlen(line);
	/* inih wants room for "\r\n" and the NUL, or believes that the line goes on. */
	const size_t longest = size > 3 ? (size_t)size - 3 : 0;

	if (strpbrk(line, "=:") == NULL)
		return conf_fail(parser, NULL,
				 "\"%s\" is neither [SECTION] nor KEY = VALUE", line);
	if (line[0] == '=' || line[0] == ':')
		return conf_fail(parser, NULL,
				 "there is no key before \"%c\"; write KEY = "
				 "VALUE",
				 line[0]);
	if (length > longest)
		return conf_fail(
			parser, NULL,
			"the line is too long: %zu octets without its comment; at "
			"most %zu are read",
			length, longest);
	(void)snprintf(out, (size_t)size, "%s\n", line);
	return true;
}

/* The reader callback of inih, in place of fgets(): NULL ends the file. */
static char *next_line(char *out, int size, void *user)
{
	struct conf_parser *parser = user;
	char buffer[CONF_LINE_SIZE] = "";

	while (parser->left > 0 && !parser->failed) {
		char *line = buffer;

		if (!take_line(parser, buffer) || !strip_comment(parser, buffer))
			return NULL;
		line = trim(line);
		if (line[0] == '\0')
			continue;
		if (line[0] != '[')
			return give_line(parser, line, out, size) ? out : NULL;
		if (!enter_section(parser, line))
			return NULL;
	}
	return NULL;
}

bool conf_read_text(struct conf_parser *parser, const char *name, const char *text,
		    size_t length)
{
	parser->at = (struct conf_where){.file = name, .line = 0};
	parser->text = text;
	parser->left = length;
	parser->section = NULL;
	parser->lan = NULL;
	parser->rules_in_file = 0;
	/* What it returns beside lack of memory is an error that we have noted already.
	 */
	if (ini_parse_stream(next_line, parser, handle_key, parser) == -2)
		return conf_fail(parser, NULL, "out of memory");
	return !parser->failed;
}
