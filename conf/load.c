/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/parser.h"

/* A configuration of all keys and rules has a few KiB. */
#define FILE_SIZE_MAX ((size_t)1024 * 1024)
#define DROP_IN_DIRECTORY "conf.d"
#define DROP_IN_SUFFIX ".conf"

void conf_init(struct conf *conf)
{
	/* Padding too, so that equal configurations are equal octets. */
	memset(conf, 0, sizeof(*conf));
	conf->wan.nat = true;
	conf->rule_count = 2;
	conf->rules[0].allow = true;
	conf->rules[0].external = (struct port_range){1024, UINT16_MAX};
	conf->rules[0].internal = (struct port_range){1, UINT16_MAX};
	conf->rules[1].external = (struct port_range){1, UINT16_MAX};
	conf->rules[1].internal = (struct port_range){1, UINT16_MAX};
	conf->backend.type = CONF_BACKEND_AUTO;
	conf->backend.mark = 0x10000000;
	conf->limits.leases_per_client = 128;
	conf->limits.leases_total = 65536;
	conf->limits.requests_per_second = 100;
	conf->limits.lifetime_min_s = 120;
	conf->limits.lifetime_max_s = 86400;
	conf->limits.igd_lifetime_max_s = 604800;
	conf->limits.filters_per_lease = 8;
	conf->limits.ports_per_request = 16;
	conf->global.hosts_by_mac = true;
	conf->global.pcp_opcodes = CONF_PCP_MAP | CONF_PCP_PEER;
	memcpy(conf->global.state_dir, "/var/lib/portreeve",
	       sizeof("/var/lib/portreeve"));
	memcpy(conf->global.control_socket, "/run/portreeve/control.sock",
	       sizeof("/run/portreeve/control.sock"));
	conf->global.http_port = 49152;
	conf->global.log_level = LOG_LEVEL_NOTICE;
	memcpy(conf->global.friendly_name, "portreeve", sizeof("portreeve"));
}

int conf_parse(const char *name, const char *text, size_t length, struct conf *out,
	       char error[CONF_ERROR_MAX])
{
	struct conf conf;
	struct conf_parser parser = {.conf = &conf, .error = error};

	conf_init(&conf);
	if (!conf_read_text(&parser, name, text, length) || !conf_check(&parser))
		return -EINVAL;
	memcpy(out, &conf, sizeof(conf));
	return 0;
}

/* What errno means for somebody who wrote a file name. */
static const char *describe_error(int error)
{
	switch (error) {
	case ENOENT:
		return "there is no such file; check the name";
	case EISDIR:
		return "this is a directory; name the file in it";
	case EACCES:
		return "no permission to read it; check owner and mode of the file and "
		       "its directories";
	case EFBIG:
		return "the file is too large; a configuration has at most 1 MiB";
	default:
		return strerror(error);
	}
}

static int fail_file(struct conf_parser *parser, const char *path, int error)
{
	const struct conf_where where = {.file = path};

	(void)conf_fail(parser, &where, "%s", describe_error(error));
	return -error;
}

/* Fills `text` (FILE_SIZE_MAX octets), returns its length or -errno. */
static ssize_t read_text(const char *path, char *text)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t length = 0;
	ssize_t got = fd < 0 ? -1 : 1;
	int error;

	while (got > 0 && length < FILE_SIZE_MAX) {
		got = read(fd, text + length, FILE_SIZE_MAX - length);
		if (got > 0)
			length += (size_t)got;
		else if (got < 0 && errno == EINTR)
			got = 1;
	}
	error = errno;
	if (fd >= 0)
		(void)close(fd);
	if (got < 0)
		return -error;
	return length < FILE_SIZE_MAX ? (ssize_t)length : -EFBIG;
}

static int load_file(struct conf_parser *parser, const char *path)
{
	char *text = malloc(FILE_SIZE_MAX);
	ssize_t length;
	int result = 0;

	if (text == NULL)
		return fail_file(parser, path, ENOMEM);
	length = read_text(path, text);
	if (length < 0)
		result = fail_file(parser, path, (int)-length);
	else if (!conf_read_text(parser, path, text, (size_t)length))
		result = -EINVAL;
	free(text);
	return result;
}

static int is_drop_in(const struct dirent *entry)
{
	const size_t length = strlen(entry->d_name);
	const size_t suffix = strlen(DROP_IN_SUFFIX);

	return entry->d_name[0] != '.' && length > suffix &&
	       strcmp(entry->d_name + length - suffix, DROP_IN_SUFFIX) == 0;
}

/* By octets: alphasort() would order them by the user's language. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Owns: the names belong to the parser's places; free_names() when it is done. */
static int load_names(struct conf_parser *parser, char **paths, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const int result = load_file(parser, paths[i]);

		if (result < 0)
			return result;
	}
	return conf_check(parser) ? 0 : -EINVAL;
}

static void free_names(char **paths, size_t count)
{
	for (size_t i = 0; paths != NULL && i < count; i++)
		free(paths[i]);
	free(paths);
}

/* Path of conf.d beside file. Owns: caller frees; NULL = no memory. */
static char *make_directory_name(const char *file)
{
	const char *slash = strrchr(file, '/');
	char *path = NULL;

	if (asprintf(&path, "%.*s%s", slash ? (int)(slash - file + 1) : 0, file,
		     DROP_IN_DIRECTORY) < 0)
		return NULL;
	return path;
}

static void free_entries(struct dirent **entries, int count)
{
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
}

/* file (unless NULL) and then those of the directory, in order. */
static int join_names(const char *file, const char *directory, struct dirent **entries,
		      size_t entry_count, char **paths)
{
	size_t used = 0;

	if (file != NULL) {
		paths[used] = strdup(file);
		if (paths[used++] == NULL)
			return -ENOMEM;
	}
	for (size_t i = 0; i < entry_count; i++, used++) {
		if (asprintf(&paths[used], "%s/%s", directory, entries[i]->d_name) <
		    0) {
			paths[used] = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

/* Owns: caller frees *paths with free_names(). Errors: -errno, about the directory. */
static int list_names(const char *file, const char *directory, char ***paths,
		      size_t *count)
{
	struct dirent **entries = NULL;
	int found = scandir(directory, &entries, is_drop_in, compare_names);
	const size_t size = (found > 0 ? (size_t)found : 0) + (file ? 1 : 0);
	char **list;
	int result;

	if (found < 0 && errno != ENOENT)
		return -errno;
	if (found < 0)
		found = 0;
	list = calloc(size + 1, sizeof(*list));
	result = list ? join_names(file, directory, entries, (size_t)found, list)
		      : -ENOMEM;
	free_entries(entries, found);
	if (result < 0) {
		free_names(list, size);
		return result;
	}
	*paths = list;
	*count = size;
	return 0;
}

int conf_load(const char *file, struct conf *out, char error[CONF_ERROR_MAX])
{
	struct conf conf;
	struct conf_parser parser = {.conf = &conf, .error = error};
	const char *name = file ? file : CONF_DEFAULT_FILE;
	char *directory = make_directory_name(name);
	char **paths = NULL;
	size_t count = 0;
	int result;

	if (directory == NULL)
		return fail_file(&parser, name, ENOMEM);
	if (file == NULL && access(name, F_OK) < 0 && errno == ENOENT)
		name = NULL;
	conf_init(&conf);
	result = list_names(name, directory, &paths, &count);
	if (result < 0)
		result = fail_file(&parser, directory, -result);
	else
		result = load_names(&parser, paths, count);
	if (result == 0)
		memcpy(out, &conf, sizeof(conf));
	free_names(paths, count);
	free(directory);
	return result;
}
