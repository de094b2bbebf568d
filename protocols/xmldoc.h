/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_XMLDOC_H
#define PROTOCOLS_XMLDOC_H

#include <stdbool.h>
#include <stddef.h>

/** A finished XML document in memory. bytes NULL = there is none. */
struct xmldoc {
	char *bytes;
	size_t length;
};

/** Safe on one that is empty; leaves it empty. */
void xmldoc_fini(struct xmldoc *doc);

/**
 * Writes one XML document: UTF-8, no white space of its own, every text and attribute
 * escaped (SOAP-8, DESC-4). A failed step (memory) makes all later ones do nothing and
 * xml_writer_finish() say so, so a document is written first and asked about once.
 */
struct xml_writer;

/** Owns: caller gives it to xml_writer_finish(). Errors: NULL. */
struct xml_writer *xml_writer_new(void);
/** Open an element; a name with a colon is taken as it is. */
void xml_writer_open(struct xml_writer *writer, const char *name);
/** Attribute of the element opened last; no tab or line end in its value. */
void xml_writer_attribute(struct xml_writer *writer, const char *name,
			  const char *value);
/** A whole element with text; an empty text gives <name></name>. */
void xml_writer_element(struct xml_writer *writer, const char *name, const char *text);
/**
 * The same with a document as its text, in a CDATA section: small clients read no other
 * form (IGD-35). A text that would end the section is escaped as any other.
 */
void xml_writer_document(struct xml_writer *writer, const char *name, const char *text);
/** Close the element opened last, never as <name/>: small clients cannot read that. */
void xml_writer_close(struct xml_writer *writer);
/** Octets written so far; 0 for NULL. */
size_t xml_writer_get_size(const struct xml_writer *writer);
/** End the document and free the writer; NULL is an error. Errors: false, *out
 * untouched. */
bool xml_writer_finish(struct xml_writer *writer, struct xmldoc *out)
	__attribute__((warn_unused_result));

#endif
