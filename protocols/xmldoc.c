/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/xmldoc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* First size of a document: the answer of a control request fits. */
#define SIZE_MIN 1000
/* Elements inside each other; a device description has 10. */
#define DEPTH_MAX 16

/* The name of an open element, where it stands in the document. */
struct open_name {
	size_t offset;
	size_t length;
};

struct xml_writer {
	char *bytes;
	size_t used;
	size_t size;
	size_t depth;
	bool in_tag; /* the start tag of the last one wants its ">" */
	bool failed;
	struct open_name names[DEPTH_MAX];
};

void xmldoc_fini(struct xmldoc *doc)
{
	free(doc->bytes);
	*doc = (struct xmldoc){NULL, 0};
}

static void xml_writer_free(struct xml_writer *writer)
{
	free(writer->bytes);
	free(writer);
}

/* Room for more; a listing is long: no octet of it is copied many times. */
static bool reserve(struct xml_writer *writer, size_t need)
{
	size_t size = writer->size ? writer->size : SIZE_MIN;
	char *bytes;

	if (writer->failed)
		return false;
	if (need <= writer->size - writer->used)
		return true;
	while (size - writer->used < need)
		size *= 2;
	bytes = realloc(writer->bytes, size);
	if (!bytes) {
		writer->failed = true;
		return false;
	}
	writer->bytes = bytes;
	writer->size = size;
	return true;
}

static void put(struct xml_writer *writer, const char *text, size_t length)
{
	if (!reserve(writer, length))
		return;
	memcpy(writer->bytes + writer->used, text, length);
	writer->used += length;
}

static void put_text(struct xml_writer *writer, const char *text)
{
	put(writer, text, strlen(text));
}

/* The one rule for every text and attribute; NULL = as it is (SOAP-8). */
static const char *get_escape(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\r': /* a parser would read it as \n */
		return "&#13;";
	default:
		return NULL;
	}
}

static void put_escaped(struct xml_writer *writer, const char *text)
{
	static const char special[] = "&<>\"\r";

	for (;;) {
		size_t plain = strcspn(text, special);

		put(writer, text, plain);
		text += plain;
		if (*text == '\0')
			return;
		put_text(writer, get_escape(*text++));
	}
}

static void end_tag(struct xml_writer *writer)
{
	if (writer->in_tag)
		put(writer, ">", 1);
	writer->in_tag = false;
}

struct xml_writer *xml_writer_new(void)
{
	struct xml_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return NULL;
	put_text(writer, "<?xml version=\"1.0\"?>\n");
	return writer;
}

void xml_writer_open(struct xml_writer *writer, const char *name)
{
	size_t length = strlen(name);

	if (!writer)
		return;
	if (writer->depth == DEPTH_MAX)
		writer->failed = true;
	end_tag(writer);
	put(writer, "<", 1);
	if (!reserve(writer, length))
		return;
	writer->names[writer->depth++] = (struct open_name){writer->used, length};
	put(writer, name, length);
	writer->in_tag = true;
}

void xml_writer_attribute(struct xml_writer *writer, const char *name,
			  const char *value)
{
	if (!writer)
		return;
	if (!writer->in_tag)
		writer->failed = true;
	put(writer, " ", 1);
	put_text(writer, name);
	put(writer, "=\"", 2);
	put_escaped(writer, value);
	put(writer, "\"", 1);
}

void xml_writer_close(struct xml_writer *writer)
{
	const struct open_name *name;

	if (!writer)
		return;
	end_tag(writer);
	if (writer->depth == 0)
		writer->failed = true;
	if (!reserve(writer, 2))
		return;
	put(writer, "</", 2);
	name = &writer->names[--writer->depth];
	if (!reserve(writer, name->length)) /* it moves what is copied from */
		return;
	put(writer, writer->bytes + name->offset, name->length);
	put(writer, ">", 1);
}

void xml_writer_element(struct xml_writer *writer, const char *name, const char *text)
{
	if (!writer)
		return;
	xml_writer_open(writer, name);
	end_tag(writer);
	put_escaped(writer, text);
	xml_writer_close(writer);
}

void xml_writer_document(struct xml_writer *writer, const char *name, const char *text)
{
	if (!writer)
		return;
	if (strstr(text, "]]>") != NULL) {
		xml_writer_element(writer, name, text);
		return;
	}
	xml_writer_open(writer, name);
	end_tag(writer);
	put_text(writer, "<![CDATA[");
	put_text(writer, text);
	put_text(writer, "]]>");
	xml_writer_close(writer);
}

size_t xml_writer_get_size(const struct xml_writer *writer)
{
	return writer ? writer->used : 0;
}

bool xml_writer_finish(struct xml_writer *writer, struct xmldoc *out)
{
	bool ok;

	if (!writer)
		return false;
	while (writer->depth > 0 && !writer->failed)
		xml_writer_close(writer);
	put(writer, "\n", 2); /* and a NUL, which is not of the document */
	ok = !writer->failed;
	if (ok) {
		*out = (struct xmldoc){writer->bytes, writer->used - 1};
		writer->bytes = NULL;
	}
	xml_writer_free(writer);
	return ok;
}
