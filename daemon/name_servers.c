/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/name_servers.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_CONF_MAX 4096
#define KEYWORD "nameserver"
#define SERVER_TEXT_SIZE (ADDR_TEXT_SIZE + IF_NAMESIZE)

/* "192.0.2.53", "2001:db8::53", "fe80::53%eth0". Errors: false. */
static bool parse_server(struct span word, const struct links *links,
			 struct stun_name_server *out)
{
	char text[SERVER_TEXT_SIZE];
	const struct link *link;
	char *scope;

	if (!span_copy(word, text, sizeof(text)))
		return false;
	scope = strchr(text, '%');
	if (scope)
		*scope++ = '\0';
	link = scope ? links_find_name(links, scope) : NULL;
	out->scope = link ? link->ifindex : 0;
	return addr_parse(text, &out->address) && !addr_is_none(&out->address);
}

/* The first word behind the keyword; length 0 = it is another line. */
static struct span find_word(struct span line)
{
	const size_t keyword = strlen(KEYWORD);
	struct span word = {line.at, 0};

	if (line.length <= keyword || strncmp(line.at, KEYWORD, keyword) != 0 ||
	    strchr(" \t", line.at[keyword]) == NULL)
		return word;
	word = span_trim((struct span){line.at + keyword, line.length - keyword});
	for (size_t i = 0; i < word.length; i++)
		if (strchr(" \t#;", word.at[i]))
			word.length = i;
	return word;
}

size_t name_servers_parse(const char *text, const struct links *links,
			  struct stun_name_server out[STUN_NAME_SERVERS_MAX])
{
	size_t count = 0;

	while (*text != '\0' && count < STUN_NAME_SERVERS_MAX) {
		struct span line = {text, strcspn(text, "\r\n")};
		struct stun_name_server server = {0};

		text += line.length + (text[line.length] != '\0');
		if (parse_server(find_word(line), links, &server))
			out[count++] = server;
	}
	if (count == 0) {
		out[count] = (struct stun_name_server){0};
		if (addr_parse("127.0.0.1", &out[count].address))
			count++;
	}
	return count;
}

size_t name_servers_read(const struct links *links,
			 struct stun_name_server out[STUN_NAME_SERVERS_MAX])
{
	char text[RESOLV_CONF_MAX + 1];
	int fd = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, text, RESOLV_CONF_MAX);

	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
	return name_servers_parse(text, links, out);
}
