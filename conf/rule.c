/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/parser.h"

#include <netinet/in.h>
#include <string.h>

#define MEMBER(member)                                                                 \
	.offset = offsetof(struct conf_rule, member),                                  \
	.size = sizeof(((struct conf_rule *)NULL)->member)

static const struct conf_word protocol_words[] = {
	{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {NULL, 0}};

enum option {
	OPTION_LAN,
	OPTION_CLIENT,
	OPTION_PROTOCOL,
	OPTION_EXTERNAL,
	OPTION_INTERNAL,
	OPTION_DESCRIPTION,
	OPTION_LIFETIME_MAX,
	OPTION_THIRD_PARTY,
	OPTION_COUNT
};

static const struct conf_field options[OPTION_COUNT] = {
	[OPTION_LAN] = {"lan", CONF_TYPE_INTERFACE, MEMBER(lan)},
	[OPTION_CLIENT] = {"client", CONF_TYPE_PREFIX, MEMBER(client)},
	[OPTION_PROTOCOL] = {"protocol", CONF_TYPE_WORD, MEMBER(protocol),
			     .words = protocol_words},
	[OPTION_EXTERNAL] = {"external", CONF_TYPE_RANGE, MEMBER(external)},
	[OPTION_INTERNAL] = {"internal", CONF_TYPE_RANGE, MEMBER(internal)},
	[OPTION_DESCRIPTION] = {"description", CONF_TYPE_PATTERN, MEMBER(description)},
	[OPTION_LIFETIME_MAX] = {"lifetime-max", CONF_TYPE_SECONDS,
				 MEMBER(lifetime_max_s)},
	[OPTION_THIRD_PARTY] = {"third-party", CONF_TYPE_PREFIX, MEMBER(third_party)},
};

static bool fail_option(struct conf_parser *parser, const char *word)
{
	const char *near =
		conf_suggest(word, options, OPTION_COUNT, sizeof(options[0]));

	if (near != NULL)
		return conf_fail(parser, NULL,
				 "unknown word \"%s\" in a rule; did you mean \"%s\"?",
				 word, near);
	return conf_fail(
		parser, NULL,
		"unknown word \"%s\" in a rule; after allow or deny come lan, "
		"client, protocol, external, internal, description, lifetime-max "
		"or third-party, each with its value",
		word);
}

static bool find_option(const char *word, enum option *out)
{
	for (enum option i = 0; i < OPTION_COUNT; i++) {
		if (strcmp(options[i].key, word) != 0)
			continue;
		*out = i;
		return true;
	}
	return false;
}

static bool parse_option(struct conf_parser *parser, struct conf_rule *rule,
			 enum option option, const char **at)
{
	char value[CONF_LINE_SIZE];

	if (!conf_word_next(at, value))
		return conf_fail(parser, NULL,
				 "\"%s\" is the last word of the rule; its value must "
				 "follow it",
				 options[option].key);
	if (!rule->allow &&
	    (option == OPTION_LIFETIME_MAX || option == OPTION_THIRD_PARTY))
		return conf_fail(parser, NULL,
				 "\"%s\" grants something; it belongs in an allow rule",
				 options[option].key);
	if (!conf_value_parse(parser, &options[option], value, rule))
		return false;
	if (option == OPTION_CLIENT)
		rule->has_client = true;
	if (option == OPTION_THIRD_PARTY)
		rule->has_third_party = true;
	return true;
}

static bool parse_options(struct conf_parser *parser, struct conf_rule *rule,
			  const char *at)
{
	bool seen[OPTION_COUNT] = {false};
	char word[CONF_LINE_SIZE];
	enum option option;

	while (conf_word_next(&at, word)) {
		if (!find_option(word, &option))
			return fail_option(parser, word);
		if (seen[option])
			return conf_fail(
				parser, NULL,
				"\"%s\" stands twice in the rule; once is enough, "
				"write a second rule for a second value",
				word);
		seen[option] = true;
		if (!parse_option(parser, rule, option, &at))
			return false;
	}
	return true;
}

/*
 * The first match decides, so for a later file to have the last word its rules are
 * asked first: they go before those of earlier files, in the order in which they are
 * written.
 */
static bool insert_rule(struct conf_parser *parser, const struct conf_rule *rule)
{
	struct conf *conf = parser->conf;
	const size_t at = parser->rules_in_file;

	if (!parser->rules_given) {
		memset(conf->rules, 0, sizeof(conf->rules));
		conf->rule_count = 0;
		parser->rules_given = true;
	}
	if (conf->rule_count == CONF_RULES_MAX)
		return conf_fail(parser, NULL,
				 "too many rules; all files together may have %d",
				 CONF_RULES_MAX);
	memmove(&conf->rules[at + 1], &conf->rules[at],
		(conf->rule_count - at) * sizeof(conf->rules[0]));
	memmove(&parser->rule_where[at + 1], &parser->rule_where[at],
		(conf->rule_count - at) * sizeof(parser->rule_where[0]));
	memcpy(&conf->rules[at], rule, sizeof(*rule));
	parser->rule_where[at] = parser->at;
	conf->rule_count++;
	parser->rules_in_file++;
	return true;
}

bool conf_rule_parse(struct conf_parser *parser, const char *text)
{
	char word[CONF_LINE_SIZE] = "";
	struct conf_rule rule;

	memset(&rule, 0, sizeof(rule));
	rule.line = parser->at.line;
	rule.external = rule.internal = (struct port_range){1, UINT16_MAX};
	(void)conf_word_next(&text, word);
	if (strcmp(word, "allow") == 0)
		rule.allow = true;
	else if (strcmp(word, "deny") != 0)
		return conf_fail(parser, NULL,
				 "bad rule \"%s\"; a rule begins with allow or deny",
				 word);
	return parse_options(parser, &rule, text) && insert_rule(parser, &rule);
}
