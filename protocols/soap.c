/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/soap.h"

#include <ctype.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENVELOPE_NS "http://schemas.xmlsoap.org/soap/envelope/"
#define ENCODING_STYLE "http://schemas.xmlsoap.org/soap/encoding/"

/* What the names and the body of an ordinary call come to, by far. */
#define KEPT_NAMES_MAX 256
#define KEPT_BODY_MAX 8192

/* Where in the document an element stands; the root is 1. */
enum depth {
	DEPTH_ENVELOPE = 1,
	DEPTH_BODY,
	DEPTH_ACTION,
	DEPTH_ARG,
};

struct soap_parser {
	xmlParserCtxtPtr xml;
	struct soap_call *call;
	const struct soap_filter *filter;
	unsigned int depth;
	bool in_body;	/* inside the first Body */
	bool in_action; /* inside the first element of it */
	bool seen_action;
	bool failed;
	struct soap_arg *arg; /* the argument being read */
	/* Where its value is gathered, untrimmed. */
	size_t value_used;
	char value[SOAP_VALUE_MAX];
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Length of the run of characters that a type or action name is made of. */
static size_t name_length(const char *text, const char *extra)
{
	size_t length = 0;

	while (isalnum((unsigned char)text[length]) ||
	       (text[length] != '\0' && strchr(extra, text[length])))
		length++;
	return length;
}

bool soap_parse_action(const char *header, struct soap_action *out)
{
	struct soap_action action;
	const char *at = header + strspn(header, " \t");
	char quote = '\0';
	size_t length;

	if (*at == '"' || *at == '\'')
		quote = *at++;
	length = name_length(at, ":._-");
	if (length == 0 || length >= sizeof(action.type) || at[length] != '#')
		return false;
	memcpy(action.type, at, length);
	action.type[length] = '\0';
	at += length + 1;
	length = name_length(at, "_");
	if (length == 0 || length >= sizeof(action.name))
		return false;
	memcpy(action.name, at, length);
	action.name[length] = '\0';
	at += length;
	if (quote && *at++ != quote)
		return false;
	if (at[strspn(at, " \t")] != '\0')
		return false;
	*out = action;
	return true;
}

static void fail(struct soap_parser *parser)
{
	parser->failed = true;
	xmlStopParser(parser->xml);
}

/* Copy a name that must be ours to know; one that does not fit is none of ours. */
static bool copy_name(char *out, size_t size, const char *name)
{
	size_t length = strlen(name);

	if (length >= size)
		return false;
	memcpy(out, name, length + 1);
	return true;
}

static void start_action(struct soap_parser *parser, const char *name, const char *ns)
{
	struct soap_action *action = &parser->call->action;

	if (parser->seen_action)
		return;
	parser->seen_action = true;
	parser->in_action = true;
	if (!ns || !copy_name(action->type, sizeof(action->type), ns) ||
	    !copy_name(action->name, sizeof(action->name), name))
		fail(parser);
}

static void start_arg(struct soap_parser *parser, const char *name)
{
	struct soap_call *call = parser->call;
	struct soap_arg *arg = &call->args[call->arg_count];

	if (call->arg_count == SOAP_ARGS_MAX ||
	    (parser->filter &&
	     !parser->filter->keep(parser->filter->user, &call->action, name)) ||
	    !copy_name(arg->name, sizeof(arg->name), name))
		return;
	arg->repeated = false;
	arg->truncated = false;
	parser->arg = arg;
	parser->value_used = 0;
}

/* The signature is libxml2's. */
static void on_start(void *user, const xmlChar *name, const xmlChar *prefix,
		     const xmlChar *ns, int ns_count, const xmlChar **ns_list,
		     int attribute_count, int defaulted, const xmlChar **attributes)
{
	struct soap_parser *parser = user;
	const char *local = (const char *)name;

	(void)prefix;
	(void)ns_count;
	(void)ns_list;
	(void)attribute_count;
	(void)defaulted;
	(void)attributes;
	if (++parser->depth > SOAP_DEPTH_MAX) {
		fail(parser);
		return;
	}
	if (parser->depth == DEPTH_ENVELOPE && strcmp(local, "Envelope") != 0)
		fail(parser);
	else if (parser->depth == DEPTH_BODY && strcmp(local, "Body") == 0)
		parser->in_body = true;
	else if (parser->depth == DEPTH_ACTION && parser->in_body)
		start_action(parser, local, (const char *)ns);
	else if (parser->depth == DEPTH_ARG && parser->in_action)
		start_arg(parser, local);
}

/* Trim what was gathered and keep it, marking names that came before (SOAP-3). */
static void end_arg(struct soap_parser *parser)
{
	struct soap_call *call = parser->call;
	struct soap_arg *arg = parser->arg;
	const char *from = parser->value;
	size_t length = parser->value_used;

	parser->arg = NULL;
	while (length > 0 && is_space(from[length - 1]))
		length--;
	while (length > 0 && is_space(*from)) {
		from++;
		length--;
	}
	for (size_t i = 0; i < call->arg_count; i++)
		if (strcmp(call->args[i].name, arg->name) == 0) {
			call->args[i].repeated = true;
			return;
		}
	if (length + 1 > sizeof(call->text) - call->text_used)
		return;
	arg->offset = (uint16_t)call->text_used;
	arg->length = (uint16_t)length;
	if (length > 0)
		memcpy(call->text + call->text_used, from, length);
	call->text[call->text_used + length] = '\0';
	call->text_used += length + 1;
	call->arg_count++;
}

static void on_end(void *user, const xmlChar *name, const xmlChar *prefix,
		   const xmlChar *ns)
{
	struct soap_parser *parser = user;

	(void)name;
	(void)prefix;
	(void)ns;
	if (parser->depth == DEPTH_BODY)
		parser->in_body = false;
	else if (parser->depth == DEPTH_ACTION)
		parser->in_action = false;
	else if (parser->depth == DEPTH_ARG && parser->arg)
		end_arg(parser);
	parser->depth--;
}

static void on_text(void *user, const xmlChar *text, int length)
{
	struct soap_parser *parser = user;
	size_t take = length > 0 ? (size_t)length : 0;

	if (!parser->arg || parser->depth != DEPTH_ARG)
		return;
	if (take > sizeof(parser->value) - parser->value_used) {
		take = sizeof(parser->value) - parser->value_used;
		parser->arg->truncated = true;
	}
	if (take > 0)
		memcpy(parser->value + parser->value_used, text, take);
	parser->value_used += take;
}

static void on_doctype(void *user, const xmlChar *name, const xmlChar *external,
		       const xmlChar *system)
{
	(void)name;
	(void)external;
	(void)system;
	fail(user);
}

static xmlEntityPtr on_entity(void *user, const xmlChar *name)
{
	(void)user;
	(void)name;
	return NULL; /* the five of XML are libxml2's own affair */
}

static void on_error(void *user, xmlErrorPtr error)
{
	/* Say nothing: the caller answers 400. */
	(void)user;
	(void)error;
}

/*
 * A context costs more to make than to use: one is kept from call to call. Not when it
 * has seen something odd, so that it neither grows nor remembers it.
 */
static xmlParserCtxtPtr kept;

static xmlParserCtxtPtr take_context(void)
{
	xmlParserCtxtPtr xml = kept ? kept : xmlNewParserCtxt();

	kept = NULL;
	return xml;
}

static void give_context(xmlParserCtxtPtr xml, bool ordinary)
{
	if (ordinary && !kept && xmlDictSize(xml->dict) <= KEPT_NAMES_MAX)
		kept = xml;
	else
		xmlFreeParserCtxt(xml);
}

/* Parse with our callbacks only: no tree is built. */
static bool run_parser(struct soap_parser *parser, const char *body, size_t length)
{
	xmlSAXHandler handler = {
		.initialized = XML_SAX2_MAGIC,
		.internalSubset = on_doctype,
		.externalSubset = on_doctype,
		.getEntity = on_entity,
		.startElementNs = on_start,
		.endElementNs = on_end,
		.characters = on_text,
		.ignorableWhitespace = on_text,
		.cdataBlock = on_text,
		.serror = on_error,
	};
	xmlParserCtxtPtr xml = parser->xml;

	*xml->sax = handler;
	xml->userData = parser;
	/* The encoding is ours to say: another would send iconv looking for files. */
	xmlFreeDoc(xmlCtxtReadMemory(xml, body, (int)length, NULL, NULL,
				     XML_PARSE_NONET | XML_PARSE_IGNORE_ENC));
	return xml->wellFormed && !parser->failed && parser->seen_action;
}

static bool parse_once(const char *body, size_t length,
		       const struct soap_filter *filter, struct soap_call *out)
{
	struct soap_parser parser;
	bool ok;

	/* Field by field: clearing the buffers would cost more than parsing. */
	parser.xml = take_context();
	parser.call = out;
	parser.filter = filter;
	parser.depth = 0;
	parser.in_body = false;
	parser.in_action = false;
	parser.seen_action = false;
	parser.failed = false;
	parser.arg = NULL;
	parser.value_used = 0;
	out->arg_count = 0;
	out->text_used = 0;
	out->action.type[0] = '\0';
	out->action.name[0] = '\0';
	if (!parser.xml)
		return false;
	ok = run_parser(&parser, body, length);
	give_context(parser.xml, ok && length <= KEPT_BODY_MAX);
	return ok;
}

/* One of the five that XML knows, or "&#number;": all else is text (CL-17). */
static bool is_reference(const char *at, size_t left)
{
	static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&apos;",
					    "&quot;"};
	size_t i = 2;

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (strlen(names[k]) <= left &&
		    memcmp(at, names[k], strlen(names[k])) == 0)
			return true;
	if (left < 2 || at[1] != '#')
		return false;
	while (i < left && isalnum((unsigned char)at[i]))
		i++;
	return i > 2 && i < left && at[i] == ';';
}

/*
 * miniupnpc puts the description into its request as it got it, so that "Tom & Jerry"
 * comes with a naked ampersand (CL-17). Copy the body with those escaped.
 * Returns NULL when there is none, or no memory.
 */
static char *escape_ampersands(const char *body, size_t length, size_t *out_length)
{
	static const char escaped[] = "&amp;";
	size_t naked = 0;
	size_t used = 0;
	char *copy;

	for (size_t i = 0; i < length; i++)
		if (body[i] == '&' && !is_reference(body + i, length - i))
			naked++;
	if (naked == 0)
		return NULL;
	copy = malloc(length + naked * sizeof(escaped));
	for (size_t i = 0; copy && i < length; i++) {
		copy[used++] = body[i];
		if (body[i] != '&' || is_reference(body + i, length - i))
			continue;
		memcpy(copy + used, escaped + 1, sizeof(escaped) - 2);
		used += sizeof(escaped) - 2;
	}
	*out_length = used;
	return copy;
}

bool soap_parse_call_for(const char *body, size_t length,
			 const struct soap_filter *filter, struct soap_call *out)
{
	char *copy;
	bool ok;

	/* Some clients count a NUL in, or begin with an empty line. */
	while (length > 0 && (is_space(body[length - 1]) || body[length - 1] == '\0'))
		length--;
	while (length > 0 && is_space(*body)) {
		body++;
		length--;
	}
	if (length == 0 || length > SOAP_BODY_MAX)
		return false;
	if (parse_once(body, length, filter, out))
		return true;
	copy = escape_ampersands(body, length, &length);
	ok = copy && parse_once(copy, length, filter, out);
	free(copy);
	return ok;
}

const struct soap_arg *soap_call_get_arg(const struct soap_call *call, const char *name)
{
	for (size_t i = 0; i < call->arg_count; i++)
		if (strcmp(call->args[i].name, name) == 0)
			return &call->args[i];
	return NULL;
}

const char *soap_call_get_value(const struct soap_call *call,
				const struct soap_arg *arg)
{
	return call->text + arg->offset;
}

static struct xml_writer *open_body(void)
{
	struct xml_writer *writer = xml_writer_new();

	xml_writer_open(writer, "s:Envelope");
	xml_writer_attribute(writer, "xmlns:s", ENVELOPE_NS);
	xml_writer_attribute(writer, "s:encodingStyle", ENCODING_STYLE);
	xml_writer_open(writer, "s:Body");
	return writer;
}

static bool close_body(struct xml_writer *writer, struct xmldoc *out)
{
	xml_writer_close(writer);
	xml_writer_close(writer);
	return xml_writer_finish(writer, out);
}

bool soap_write_response(const struct soap_action *action, const struct soap_out *args,
			 size_t count, struct xmldoc *out)
{
	struct xml_writer *writer = open_body();
	char name[SOAP_NAME_SIZE + sizeof("u:Response")];

	(void)snprintf(name, sizeof(name), "u:%sResponse", action->name);
	xml_writer_open(writer, name);
	xml_writer_attribute(writer, "xmlns:u", action->type);
	for (size_t i = 0; i < count; i++)
		if (args[i].document)
			xml_writer_document(writer, args[i].name, args[i].value);
		else
			xml_writer_element(writer, args[i].name, args[i].value);
	xml_writer_close(writer);
	return close_body(writer, out);
}

bool soap_write_fault(uint16_t code, const char *description, struct xmldoc *out)
{
	struct xml_writer *writer = open_body();
	char digits[8];

	(void)snprintf(digits, sizeof(digits), "%u", (unsigned int)code);
	xml_writer_open(writer, "s:Fault");
	xml_writer_element(writer, "faultcode", "s:Client");
	xml_writer_element(writer, "faultstring", "UPnPError");
	xml_writer_open(writer, "detail");
	xml_writer_open(writer, "UPnPError");
	xml_writer_attribute(writer, "xmlns", SOAP_CONTROL_TYPE);
	xml_writer_element(writer, "errorCode", digits);
	xml_writer_element(writer, "errorDescription", description);
	xml_writer_close(writer);
	xml_writer_close(writer);
	xml_writer_close(writer);
	return close_body(writer, out);
}
