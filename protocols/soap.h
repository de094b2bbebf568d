/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_SOAP_H
#define PROTOCOLS_SOAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/xmldoc.h"

/** Longest service type and action name we read; no UPnP name comes near. */
#define SOAP_TYPE_SIZE 96
#define SOAP_NAME_SIZE 48
/** Arguments kept from one call; AddPortMapping has 8. More are as if not there. */
#define SOAP_ARGS_MAX 16
/** Longest body that is parsed; HTTP lets no longer one in. */
#define SOAP_BODY_MAX 65536
/** Octets of one argument kept: more than the longest description (SOAP-8). */
#define SOAP_VALUE_MAX 1024
/** Octets of all arguments together. */
#define SOAP_TEXT_SIZE 4096
/** Elements inside each other: Envelope, Body, action, argument and some slack
 * (SOAP-10). */
#define SOAP_DEPTH_MAX 8

/** Namespace of QueryStateVariable, of its reply and of a fault (UDA 1.0 §3.3). */
#define SOAP_CONTROL_TYPE "urn:schemas-upnp-org:control-1-0"

/** SOAPACTION header taken apart; both are printable ASCII without quotes. */
struct soap_action {
	char type[SOAP_TYPE_SIZE]; /* "urn:schemas-upnp-org:service:WANIPConnection:1"
				    */
	char name[SOAP_NAME_SIZE]; /* "AddPortMapping" */
};

/**
 * Parse `"type#action"`, quoted, with single quotes or bare (SOAP-1).
 * Errors: false, *out untouched.
 */
bool soap_parse_action(const char *header, struct soap_action *out)
	__attribute__((warn_unused_result));

struct soap_arg {
	char name[SOAP_NAME_SIZE];
	uint16_t offset; /* of the value in the text of the call */
	uint16_t length;
	bool truncated; /* the client sent more than SOAP_VALUE_MAX */
	bool repeated;	/* the name came more than once */
};

/** A control request: what stands in its body, nothing judged but well-formedness. */
struct soap_call {
	struct soap_action action; /* namespace and local name of the action element */
	size_t arg_count;
	struct soap_arg args[SOAP_ARGS_MAX];
	size_t text_used;
	char text[SOAP_TEXT_SIZE]; /* values, NUL-terminated, trimmed, decoded once */
};

/** Says which arguments of a call are worth keeping. */
struct soap_filter {
	bool (*keep)(const void *user, const struct soap_action *action,
		     const char *name);
	const void *user;
};

/**
 * Parse the body of a control request. No DTD, no entity but the five of XML itself, no
 * file and no network are ever looked at; a DOCTYPE is an error (SOAP-10). Only the
 * arguments that the filter wants are kept: however many others there are, they take
 * nobody's place (SOAP-3). NULL keeps all.
 * Errors: false: not well-formed, not an envelope, too deep, too long (HTTP 400,
 * SOAP-7).
 */
bool soap_parse_call_for(const char *body, size_t length,
			 const struct soap_filter *filter, struct soap_call *out)
	__attribute__((warn_unused_result));

/** An argument by name, NULL when it is not there. */
const struct soap_arg *soap_call_get_arg(const struct soap_call *call,
					 const char *name);
/** Value of an argument of this call, NUL-terminated. */
const char *soap_call_get_value(const struct soap_call *call,
				const struct soap_arg *arg);

/** One out-argument. */
struct soap_out {
	const char *name;
	const char *value;
	bool document; /* the value is one: xml_writer_document() */
};

/**
 * Write `<u:nameResponse xmlns:u="type">` with its out-arguments in order (SOAP-5).
 * Owns: *out is the caller's, xmldoc_fini(). Errors: false (memory).
 */
bool soap_write_response(const struct soap_action *action, const struct soap_out *args,
			 size_t count, struct xmldoc *out)
	__attribute__((warn_unused_result));

/** Write a UPnPError fault (SOAP-6). */
bool soap_write_fault(uint16_t code, const char *description, struct xmldoc *out)
	__attribute__((warn_unused_result));

#endif
