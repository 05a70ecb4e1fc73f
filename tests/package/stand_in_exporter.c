/* Stands in for NVIDIA's dcgm-exporter: a program, its flags, its environment, its habits.
 *
 * Without an engine named by -r or DCGM_REMOTE_HOSTENGINE_INFO it "embeds" a DCGM. With one
 * it exits if it cannot connect, and also when it has lost the connection: releases 3.x at
 * their next interval, 4.x when they are scraped next. Either way it has a library named
 * libdcgm mapped. Its page says which of the two it does.
 *
 * LIBRARY, RELEASE and REFUSAL are given when it is compiled. Where a file REFUSAL is, it
 * does not run with an engine.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The Go linker leaves the path of the main package in every program. */
__attribute__((used, section(".go.buildinfo"))) static const char build_information[] =
	"\xff Go buildinf:\x08\x02"
	"path\tgithub.com/NVIDIA/dcgm-exporter/cmd/dcgm-exporter\n"
	"mod\tgithub.com/NVIDIA/dcgm-exporter\t(devel)\n";

struct flag {
	const char *name, *alias, *variable; /* "" for none */
	const char *value;                   /* its default; NULL makes it a boolean */
	int set;
};

enum { ADDRESS, INTERVAL, REMOTE, FIRST_OTHER };

static struct flag flags[] = {
	[ADDRESS] = {"address", "a", "DCGM_EXPORTER_LISTEN", ":9400", 0},
	[INTERVAL] = {"collect-interval", "c", "DCGM_EXPORTER_INTERVAL", "30000", 0},
	[REMOTE] = {"remote-hostengine-info", "r", "DCGM_REMOTE_HOSTENGINE_INFO", "", 0},
	[FIRST_OTHER] = {"collectors", "f", "DCGM_EXPORTER_COLLECTORS", "", 0},
	{"devices", "d", "DCGM_EXPORTER_DEVICES_STR", "f", 0},
	{"switch-devices", "s", "DCGM_EXPORTER_OTHER_DEVICES_STR", "f", 0},
	{"cpu-devices", "p", "DCGM_EXPORTER_CPU_DEVICES_STR", "f", 0},
	{"configmap-data", "m", "DCGM_EXPORTER_CONFIGMAP_DATA", "none", 0},
	{"web-config-file", "", "DCGM_EXPORTER_WEB_CONFIG_FILE", "", 0},
	{"xid-count-window-size", "x", "DCGM_EXPORTER_XID_COUNT_WINDOW_SIZE", "300000", 0},
	{"log-format", "", "DCGM_EXPORTER_LOG_FORMAT", "text", 0},
	{"hpc-job-mapping-dir", "", "DCGM_HPC_JOB_MAPPING_DIR", "", 0},
	{"kubernetes", "k", "DCGM_EXPORTER_KUBERNETES", NULL, 0},
	{"use-old-namespace", "o", "DCGM_EXPORTER_USE_OLD_NAMESPACE", NULL, 0},
	{"no-hostname", "n", "DCGM_EXPORTER_NO_HOSTNAME", NULL, 0},
	{"fake-gpus", "", "DCGM_EXPORTER_USE_FAKE_GPUS", NULL, 0},
	{"debug", "", "DCGM_EXPORTER_DEBUG", NULL, 0},
	{"version", "v", "", NULL, 0},
	{"help", "h", "", NULL, 0},
};
#define FLAGS (int)(sizeof flags / sizeof *flags)

static int engine = -1; /* the connection to it */

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("dcgm-exporter: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	_exit(1);
}

static struct flag *find(const char *name, size_t length)
{
	for (int i = 0; i < FLAGS; i++)
		for (int other = 0; other < 2; other++) {
			const char *known = other ? flags[i].alias : flags[i].name;
			if (strlen(known) == length && length && !strncmp(known, name, length))
				return &flags[i];
		}
	fail("flag provided but not defined: -%.*s", (int)length, name);
}

/* As Go's package flag: one dash or two, the value of a boolean only after "=", and the
 * first word that is no flag ends them all. */
static void parse(int count, char **words)
{
	for (int i = 1; i < count; i++) {
		const char *word = words[i];
		if (word[0] != '-' || !word[1] || !strcmp(word, "--"))
			return;
		word += word[1] == '-' ? 2 : 1;
		const char *equals = strchr(word, '=');
		struct flag *flag = find(word, equals ? (size_t)(equals - word) : strlen(word));
		if (!flag->value && !(equals && !strcmp(equals + 1, "false"))) {
			flag->set = 1;
		} else if (flag->value && !equals && i + 1 == count) {
			fail("flag needs an argument: -%s", word);
		} else if (flag->value) {
			flag->value = equals ? equals + 1 : words[++i];
			flag->set = 1;
		}
	}
}

static void take_environment(void)
{
	for (int i = 0; i < FLAGS; i++) {
		const char *value = *flags[i].variable ? getenv(flags[i].variable) : NULL;
		if (value && *value && flags[i].value) {
			flags[i].value = value;
			flags[i].set = 1;
		}
	}
}

/* A socket of HOST:PORT, connected or listening; -1 with errno. */
static int open_socket(const char *address, int listening)
{
	char host[256];
	const char *port = strrchr(address, ':');
	struct addrinfo *found, hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = listening ? AI_PASSIVE : 0};
	int one = 1, opened = -1;

	if (!port)
		fail("%s has no port", address);
	snprintf(host, sizeof host, "%.*s", (int)(port - address), address);
	if (listening && !*host)
		hints.ai_family = AF_INET;
	if (getaddrinfo(*host ? host : listening ? NULL : "localhost", port + 1, &hints, &found))
		fail("cannot resolve %s", address);
	for (struct addrinfo *one_of = found; one_of && opened < 0; one_of = one_of->ai_next) {
		opened = socket(one_of->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		int failed = listening ? bind(opened, one_of->ai_addr, one_of->ai_addrlen) ||
						 listen(opened, 64)
				       : connect(opened, one_of->ai_addr, one_of->ai_addrlen);
		if (failed) {
			int why = errno;
			close(opened);
			errno = why;
			opened = -1;
		}
	}
	freeaddrinfo(found);
	return opened;
}

static int engine_is_lost(void)
{
	struct pollfd watched = {.fd = engine, .events = POLLIN};
	char byte;

	return engine >= 0 && poll(&watched, 1, 0) == 1 &&
	       recv(engine, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static long long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Releases 4.0 to 4.8.2 take the name of a remote engine for that of the host. */
static void name_host(char *name, size_t size)
{
	const char *release = strrchr(RELEASE, '-') + 1, *remote = flags[REMOTE].value;
	int major = 0, minor = 0, patch = 0;

	sscanf(release, "%d.%d.%d", &major, &minor, &patch);
	if (*remote && major == 4 && (minor < 8 || (minor == 8 && patch <= 2)))
		snprintf(name, size, "%.*s", (int)(strrchr(remote, ':') - remote), remote);
	else
		gethostname(name, size);
}

static void answer(int client, int has_metrics)
{
	char request[4096] = "", host[256] = "", page[2048] = "";
	ssize_t length = recv(client, request, sizeof request - 1, 0);
	int is_metrics = length > 0 && !strncmp(request, "GET /metrics", 12);

	if (is_metrics && RELEASE[0] == '4' && engine_is_lost())
		fail("the connection to the engine is lost");
	if (is_metrics && has_metrics) {
		name_host(host, sizeof host);
		snprintf(page, sizeof page,
			 "# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).\n"
			 "# TYPE DCGM_FI_DEV_GPU_TEMP gauge\n"
			 "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"%s\"} 42\n"
			 "stand_in_engine{engine=\"%s\"} 1\n",
			 host, *flags[REMOTE].value ? flags[REMOTE].value : "embedded");
	}
	dprintf(client,
		"HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
		is_metrics ? "200 OK" : "404 Not Found", strlen(page), page);
	close(client);
}

static void map_library(void)
{
	int library = open(LIBRARY, O_RDONLY | O_CLOEXEC);

	if (library < 0 || mmap(NULL, 1, PROT_READ, MAP_PRIVATE, library, 0) == MAP_FAILED)
		fail("the %s library was not found", LIBRARY);
	close(library);
}

static void __attribute__((noreturn)) serve(int server)
{
	struct pollfd watched = {.fd = server, .events = POLLIN};
	int interval = atoi(flags[INTERVAL].value), has_metrics = RELEASE[0] != '3';
	long long next = milliseconds() + interval;

	for (;;) {
		long long left = next - milliseconds();
		if (left <= 0) {
			/* Releases 3.x collect now, and have an empty page before. */
			if (RELEASE[0] == '3' && engine_is_lost())
				fail("the connection to the engine is lost");
			has_metrics = 1;
			next += interval;
			continue;
		}
		if (poll(&watched, 1, (int)left) == 1)
			answer(accept4(server, NULL, NULL, SOCK_CLOEXEC), has_metrics);
	}
}

static void end(int number)
{
	(void)number;
	_exit(0);
}

int main(int count, char **words)
{
	/* As PID 1 of a container it has no handler that it does not ask for. */
	signal(SIGTERM, end);
	signal(SIGINT, end);
	signal(SIGQUIT, end);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	take_environment();
	parse(count, words);
	if (find("version", 7)->set) {
		puts("DCGM Exporter version " RELEASE);
		return 0;
	}
	map_library();
	const char *remote = flags[REMOTE].value;
	if (*remote) {
		if (!access(REFUSAL, F_OK))
			fail("this one does not run with an engine of its own host");
		engine = open_socket(remote, 0);
		if (engine < 0)
			fail("cannot connect to %s: %s", remote, strerror(errno));
	}
	int server = open_socket(flags[ADDRESS].value, 1);
	if (server < 0)
		fail("cannot listen on %s: %s", flags[ADDRESS].value, strerror(errno));
	serve(server);
}
