/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/program.h"

#define MODULE_SYMBOL "module_get_interface"
/* "/proc/self/fd/" and a number */
#define MODULE_FD_PATH_SIZE 32

static const char *const module_files[MODULE_COUNT] = {
	[MODULE_NONE] = "",
	[MODULE_CORE] = "portreeve-core.so",
	[MODULE_UPNP] = "portreeve-upnp.so",
	[MODULE_STUN] = "portreeve-stun.so",
};

/* Errors: -errno. */
static int module_open_in(const char *way, const char *file)
{
	char path[PATH_MAX];
	int fd = program_find_part(way, file, path);

	if (fd < 0)
		return fd;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int module_open(enum module module)
{
	const char *file = module_files[module];
	int fd = module_open_in(".", file);

	if (fd < 0)
		fd = module_open_in(PORTREEVE_MODULE_WAY, file);
	if (fd < 0)
		log_error("cannot open %s, a part of this program: it is neither "
			  "beside it nor in " PORTREEVE_MODULE_WAY " from there (%s); "
			  "install portreeve again",
			  file, strerror(-fd));
	return fd;
}

/*
 * The path of an open file, for debuggers and for reports with symbols. When something
 * else is there by now, as after an upgrade, what is open is right: it fits the
 * program.
 */
static void module_find_path(int fd, char path[PATH_MAX])
{
	char link[MODULE_FD_PATH_SIZE];
	struct stat opened;
	struct stat found;
	ssize_t length;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, PATH_MAX - 1);
	path[length > 0 ? length : 0] = '\0';
	if (fstat(fd, &opened) < 0 || stat(path, &found) < 0 ||
	    opened.st_dev != found.st_dev || opened.st_ino != found.st_ino)
		memcpy(path, link, sizeof(link));
}

const void *module_load(enum module module, int fd)
{
	/* dlsym() knows objects only. */
	union {
		void *object;
		const void *(*get)(void);
	} symbol = {.object = NULL};
	char path[PATH_MAX];
	void *handle;

	module_find_path(fd, path);
	/* Lazily: of what the libraries can do we use little. */
	handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (handle)
		symbol.object = dlsym(handle, MODULE_SYMBOL);
	close(fd);
	if (symbol.object)
		return symbol.get();
	log_error("cannot load %s: %s", module_files[module], dlerror());
	return NULL;
}
