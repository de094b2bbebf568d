/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/http_answer.h"

#include <microhttpd.h>

#include "protocols/upnp.h"

#define END_OF_LINE "\r\n"

size_t http_answer_list_headers(const struct http_answer *answer, const char *date,
				struct http_header out[HTTP_ANSWER_HEADERS_MAX])
{
	const struct http_header rows[] = {
		{"Content-Type", answer->content_type},
		{"Allow", answer->allow},
		{"Date", date},
		{"Ext", ""},
		{"Server", UPNP_SERVER},
		/* One request a connection: what small clients expect (HTTP-1, CL-14).
		 */
		{"Connection", "close"},
	};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].value)
			out[count++] = rows[i];
	for (size_t i = 0; i < HTTP_FIELDS_MAX && answer->fields[i].name; i++)
		out[count++] = (struct http_header){answer->fields[i].name,
						    answer->fields[i].value};
	return count;
}

static void write_header(struct writer *out, const char *name, const char *value)
{
	upnp_write_text(out, name);
	upnp_write_text(out, ": ");
	upnp_write_text(out, value);
	upnp_write_text(out, END_OF_LINE);
}

void http_answer_write_head(const struct http_answer *answer, const char *date,
			    struct writer *out)
{
	struct http_header headers[HTTP_ANSWER_HEADERS_MAX];
	size_t count = http_answer_list_headers(answer, date, headers);

	/* Never in the words of the client's version (HTTP-1). */
	upnp_write_text(out, "HTTP/1.1 ");
	upnp_write_number(out, answer->status);
	upnp_write_text(out, " ");
	upnp_write_text(out, MHD_get_reason_phrase_for(answer->status));
	upnp_write_text(out, END_OF_LINE);
	for (size_t i = 0; i < count; i++)
		write_header(out, headers[i].name, headers[i].value);
	upnp_write_text(out, "Content-Length: ");
	upnp_write_number(out, answer->length);
	upnp_write_text(out, END_OF_LINE END_OF_LINE);
}
