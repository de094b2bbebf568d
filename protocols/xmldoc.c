/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/xmldoc.h"

#include <libxml/xmlwriter.h>
#include <stdlib.h>
#include <string.h>

struct xml_writer {
	xmlTextWriterPtr text;
	xmlBufferPtr buffer;
	bool failed;
};

void xmldoc_fini(struct xmldoc *doc)
{
	xmlFree(doc->bytes);
	*doc = (struct xmldoc){NULL, 0};
}

static void xml_writer_free(struct xml_writer *writer)
{
	if (writer->text)
		xmlFreeTextWriter(writer->text);
	if (writer->buffer)
		xmlBufferFree(writer->buffer);
	free(writer);
}

static void check(struct xml_writer *writer, int written)
{
	if (written < 0)
		writer->failed = true;
}

struct xml_writer *xml_writer_new(void)
{
	struct xml_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return NULL;
	writer->buffer = xmlBufferCreate();
	if (writer->buffer) /* a listing is long: let no octet be copied many times */
		xmlBufferSetAllocationScheme(writer->buffer, XML_BUFFER_ALLOC_DOUBLEIT);
	if (writer->buffer)
		writer->text = xmlNewTextWriterMemory(writer->buffer, 0);
	if (!writer->text) {
		xml_writer_free(writer);
		return NULL;
	}
	/* No encoding name: libxml2 writes UTF-8 as it is, and looks for no converter.
	 */
	check(writer, xmlTextWriterStartDocument(writer->text, "1.0", NULL, NULL));
	return writer;
}

void xml_writer_open(struct xml_writer *writer, const char *name)
{
	if (writer && !writer->failed)
		check(writer, xmlTextWriterStartElement(writer->text, BAD_CAST name));
}

void xml_writer_attribute(struct xml_writer *writer, const char *name,
			  const char *value)
{
	if (writer && !writer->failed)
		check(writer, xmlTextWriterWriteAttribute(writer->text, BAD_CAST name,
							  BAD_CAST value));
}

void xml_writer_close(struct xml_writer *writer)
{
	if (writer && !writer->failed)
		check(writer, xmlTextWriterFullEndElement(writer->text));
}

void xml_writer_element(struct xml_writer *writer, const char *name, const char *text)
{
	xml_writer_open(writer, name);
	if (writer && !writer->failed && *text != '\0')
		check(writer, xmlTextWriterWriteString(writer->text, BAD_CAST text));
	xml_writer_close(writer);
}

void xml_writer_document(struct xml_writer *writer, const char *name, const char *text)
{
	if (strstr(text, "]]>") != NULL) {
		xml_writer_element(writer, name, text);
		return;
	}
	xml_writer_open(writer, name);
	if (writer && !writer->failed)
		check(writer, xmlTextWriterWriteCDATA(writer->text, BAD_CAST text));
	xml_writer_close(writer);
}

size_t xml_writer_get_size(const struct xml_writer *writer)
{
	return writer ? (size_t)xmlBufferLength(writer->buffer) : 0;
}

bool xml_writer_finish(struct xml_writer *writer, struct xmldoc *out)
{
	bool ok;

	if (!writer)
		return false;
	if (!writer->failed)
		check(writer, xmlTextWriterEndDocument(writer->text));
	if (!writer->failed)
		check(writer, xmlTextWriterFlush(writer->text));
	ok = !writer->failed;
	if (ok) {
		struct xmldoc doc = {.length = (size_t)xmlBufferLength(writer->buffer)};

		doc.bytes = (char *)xmlBufferDetach(writer->buffer);
		ok = doc.bytes != NULL;
		if (ok)
			*out = doc;
	}
	xml_writer_free(writer);
	return ok;
}
