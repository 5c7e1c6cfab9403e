/*
 * /init of the test guest: writes numbered blocks to every virtio disk, flushes, and only then says so on the
 * serial console. Whoever reads the console outside holds a ledger of what must never be lost.
 *
 * The layout on a disk and the lines on the console are described in ledger.py, which reads both.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define CHUNK (256u * BLOCK)
#define MAX_DISKS 16
#define MAX_EPOCHS 160
#define MAX_INPUTS 16
#define LOOK_MS 1000   /* how often to look for new disks */
#define REPEAT_MS 5000 /* how often to repeat what was found, for a reader who came late */

typedef unsigned long long u64; /* as printf's %llu has it */

struct block {
	char magic[8];
	u64 number, boot, disk;
	uint32_t index, peers;
	struct { u64 disk, number; } peer[MAX_DISKS]; /* what the other disks had flushed when this was written */
	unsigned char filling[BLOCK - 40 - 16 * MAX_DISKS - 4];
	uint32_t crc;
};

struct superblock {
	char magic[8];
	u64 disk, boot;
	uint32_t epochs, unused;
	struct { u64 first, slots, step; } epoch[MAX_EPOCHS];
	unsigned char filling[BLOCK - 32 - 24 * MAX_EPOCHS - 4];
	uint32_t crc;
};

_Static_assert(sizeof(struct block) == BLOCK && sizeof(struct superblock) == BLOCK, "a block is 4096 bytes");

struct disk {
	char name[16]; /* "" is a free place */
	int fd;
	bool writable, stopped;
	u64 blocks, first, last, count, bad, missing, start, flushed;
	char unusable[24];
	struct superblock super;
};

static const char block_magic[8] = "LEDGBLK1", super_magic[8] = "LEDGSUP1";
static struct disk disks[MAX_DISKS];
static int inputs[MAX_INPUTS], input_count, console_fd = 1;
static u64 boot_id, rate = 5, stop_after;
static bool readonly;
static unsigned char chunk[CHUNK] __attribute__((aligned(4096)));
static struct block out __attribute__((aligned(4096)));

static uint32_t crc32_of(const void *data, size_t size)
{
	static uint32_t table[256];
	const unsigned char *p = data;
	uint32_t crc = ~0u;

	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;
			for (int k = 0; k < 8; k++)
				c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
			table[i] = c;
		}
	while (size--)
		crc = table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
	return ~crc;
}

/* One line in one write, with a checksum: QEMU drops characters when the reader is slow, and the kernel's own
 * messages may fall into the middle of a line. */
static void say(const char *format, ...)
{
	char line[400] = "LEDGER ";
	size_t used = 7, done = 0;
	va_list arguments;

	va_start(arguments, format);
	used += vsnprintf(line + used, sizeof line - used - 16, format, arguments);
	va_end(arguments);
	if (used > sizeof line - 17)
		used = sizeof line - 17;
	used += snprintf(line + used, 12, " #%08x\n", crc32_of(line, used));
	while (done < used) {
		ssize_t n = write(console_fd, line + done, used - done);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			break;
		done += n > 0 ? n : 0;
	}
}

static void power_off(void)
{
	for (struct disk *d = disks; d < disks + MAX_DISKS; d++)
		if (d->name[0] && d->writable && fdatasync(d->fd))
			say("%s error %s n=%llu boot=%016llx", d->name, strerrorname_np(errno), d->flushed, boot_id);
	say("powering off boot=%016llx", boot_id);
	tcdrain(console_fd);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause(); /* the end of process 1 would be a panic */
}

static void fatal(const char *what)
{
	say("fatal %s: %s boot=%016llx", what, strerrorname_np(errno), boot_id);
	power_off();
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static u64 mix(u64 *state) /* splitmix64 */
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static u64 new_id(void)
{
	struct timespec t;
	u64 state = 0;

	/* Never wait for entropy: an emulated machine has little. The clock and the cycle counter do the rest. */
	if (getrandom(&state, sizeof state, GRND_NONBLOCK) < 0)
		state = 0;
	clock_gettime(CLOCK_REALTIME, &t);
	state ^= t.tv_sec * 1000000000ull + t.tv_nsec;
	mix(&state);
	state ^= __builtin_ia32_rdtsc();
	return mix(&state) | 1;
}

/* Wait this long for the power button; does not come back when it was pressed. */
static void wait_button(int ms)
{
	struct pollfd polls[MAX_INPUTS];
	struct input_event event;

	for (int i = 0; i < input_count; i++)
		polls[i] = (struct pollfd){.fd = inputs[i], .events = POLLIN};
	if (poll(polls, input_count, ms) <= 0)
		return;
	for (int i = 0; i < input_count; i++)
		while (read(inputs[i], &event, sizeof event) == sizeof event)
			if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
				power_off();
}

/* The place of a number, in blocks from the disk's start. */
static u64 place(const struct superblock *s, u64 number)
{
	uint32_t e = s->epochs - 1;

	while (e && s->epoch[e].first > number)
		e--;
	u64 slots = s->epoch[e].slots;
	return 1 + ((number - s->epoch[e].first) % slots * s->epoch[e].step + slots - 1) % slots;
}

static bool write_flushed(struct disk *d, const void *data, u64 at)
{
	ssize_t n = pwrite(d->fd, data, BLOCK, at * BLOCK);

	if (n >= 0 && n != BLOCK)
		errno = EIO;
	return n == BLOCK && !fdatasync(d->fd);
}

static void error_on(struct disk *d, u64 number)
{
	int error = errno;
	char path[32];

	say("%s error %s n=%llu boot=%016llx", d->name, strerrorname_np(error), number, boot_id);
	snprintf(path, sizeof path, "/dev/%s", d->name);
	if (access(path, F_OK)) { /* unplugged */
		say("%s gone boot=%016llx", d->name, boot_id);
		close(d->fd);
		d->name[0] = 0;
	}
}

static bool read_size(struct disk *d)
{
	u64 bytes;

	if (ioctl(d->fd, BLKGETSIZE64, &bytes))
		return false;
	d->blocks = bytes / BLOCK;
	return true;
}

/* From number `first` on, use all of the disk as it is now. The steps spread the numbers over the whole disk, and
 * the first goes to the last block: a disk that ends too early shows at once. */
static bool use_whole_disk(struct disk *d, u64 first)
{
	static struct superblock s __attribute__((aligned(4096)));
	u64 slots = d->blocks - 1, step = slots * 618 / 1000 | 1;

	for (;; step++) {
		u64 a = slots, b = step;
		while (b) {
			u64 rest = a % b;
			a = b;
			b = rest;
		}
		if (a == 1)
			break;
	}
	s = d->super;
	if (!s.epochs || s.epoch[s.epochs - 1].first < first)
		s.epochs++;
	if (s.epochs > MAX_EPOCHS) {
		errno = E2BIG;
		return false;
	}
	s.epoch[s.epochs - 1].first = first;
	s.epoch[s.epochs - 1].slots = slots;
	s.epoch[s.epochs - 1].step = step;
	s.crc = crc32_of(&s, BLOCK - 4);
	if (!write_flushed(d, &s, 0))
		return false;
	d->super = s;
	return true;
}

static bool grow(struct disk *d)
{
	u64 old = d->super.epoch[d->super.epochs - 1].slots + 1;

	if (!read_size(d))
		return false;
	if (d->blocks <= old)
		return true;
	if (!use_whole_disk(d, d->flushed + 1))
		return false;
	say("%s grown %llu %llu next=%llu boot=%016llx", d->name, old, d->blocks, d->flushed + 1, boot_id);
	return true;
}

static void check_block(struct disk *d, const struct block *b, u64 at, u64 *held)
{
	const char *why = NULL;

	if (crc32_of(b, BLOCK - 4) != b->crc)
		why = "checksum";
	else if (!d->super.epochs)
		why = "orphan"; /* block 0 is empty */
	else if (b->disk != d->super.disk)
		why = "other-disk";
	else if (!b->number || place(&d->super, b->number) != at)
		why = "misplaced";
	if (why) {
		if (d->bad++ < 10)
			say("%s bad block=%llu n=%llu why=%s boot=%016llx", d->name, at, b->number, why, boot_id);
		return;
	}
	held[at] = b->number;
	d->count++;
	if (!d->first || b->number < d->first)
		d->first = b->number;
	if (b->number > d->last)
		d->last = b->number;
}

/* Each number up to the last that was found must be in its place, unless a later one is. */
static void count_missing(struct disk *d, const u64 *held)
{
	u64 end = d->last;

	for (uint32_t e = d->super.epochs; e-- && d->last;) {
		u64 first = d->super.epoch[e].first, slots = d->super.epoch[e].slots;
		for (u64 n = end, left = slots; n >= first && left; n--, left--)
			d->missing += held[place(&d->super, n)] < n;
		if (first <= end)
			end = first - 1;
	}
}

static bool empty(const unsigned char *p, size_t size)
{
	while (size && !*p)
		p++, size--;
	return !size;
}

/* Look at every block. Returns why this disk must not be written to, or NULL. */
static const char *scan(struct disk *d)
{
	const char *why = NULL;

	if (!read_size(d) || d->blocks < 16)
		return "size";
	if (pread(d->fd, chunk, BLOCK, 0) != BLOCK)
		return "read-error";
	memcpy(&d->super, chunk, BLOCK);
	if (memcmp(d->super.magic, super_magic, 8)) {
		why = empty(chunk, BLOCK) ? NULL : "foreign";
		memset(&d->super, 0, BLOCK);
	} else if (crc32_of(&d->super, BLOCK - 4) != d->super.crc || !d->super.epochs || d->super.epochs > MAX_EPOCHS) {
		return "superblock";
	} else if (d->super.epoch[d->super.epochs - 1].slots >= d->blocks) {
		return "shrunk";
	}
	u64 *held = calloc(d->blocks, sizeof *held); /* only the pages of places in use will ever be touched */
	if (!held)
		return "memory";
	for (u64 at = 0; at < d->blocks; at += CHUNK / BLOCK) {
		u64 count = d->blocks - at < CHUNK / BLOCK ? d->blocks - at : CHUNK / BLOCK;
		if (pread(d->fd, chunk, count * BLOCK, at * BLOCK) != (ssize_t)(count * BLOCK)) {
			say("%s error %s block=%llu boot=%016llx", d->name, strerrorname_np(errno ?: EIO), at, boot_id);
			why = "read-error";
			break;
		}
		for (u64 i = 0; i < count; i++)
			if (!memcmp(chunk + i * BLOCK, block_magic, 8))
				check_block(d, (struct block *)(chunk + i * BLOCK), at + i, held);
		wait_button(0);
	}
	count_missing(d, held);
	free(held);
	return why ? why : !d->super.epochs && d->bad ? "superblock" : NULL;
}

static void say_found(struct disk *d)
{
	say("%s found %llu %llu %llu BAD=%llu MISSING=%llu next=%llu blocks=%llu disk=%016llx boot=%016llx", d->name,
	    d->first, d->last, d->count, d->bad, d->missing, d->start, d->blocks, d->super.disk, boot_id);
	if (d->unusable[0])
		say("%s unusable %s boot=%016llx", d->name, d->unusable, boot_id);
}

static void open_disk(struct disk *d, const char *name)
{
	char path[32];
	const char *why;

	memset(d, 0, sizeof *d);
	snprintf(path, sizeof path, "/dev/%.8s", name);
	d->fd = readonly ? -1 : open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	d->writable = d->fd >= 0;
	if (d->fd < 0)
		d->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (d->fd < 0)
		return; /* looked for again in a second */
	snprintf(d->name, sizeof d->name, "%.8s", name);
	why = scan(d);
	d->flushed = d->last;
	d->start = d->last + 1;
	if (!why && d->writable && !d->super.epochs) {
		memcpy(d->super.magic, super_magic, 8);
		d->super.disk = new_id();
		d->super.boot = boot_id;
		if (!use_whole_disk(d, 1)) {
			error_on(d, 0);
			why = "write-error";
		}
	}
	if (!d->name[0])
		return;
	if (why) {
		d->writable = false;
		snprintf(d->unusable, sizeof d->unusable, "%s", why);
	}
	say_found(d);
}

static int whole_disk(const struct dirent *entry)
{
	const char *name = entry->d_name;

	return !strncmp(name, "vd", 2) && strlen(name) <= 8 && !strpbrk(name, "0123456789"); /* no partitions */
}

static void look_for_disks(void)
{
	struct dirent **entries;
	int count = scandir("/dev", &entries, whole_disk, alphasort);

	if (count < 0)
		fatal("/dev");
	for (int i = 0; i < count; i++) {
		struct disk *known = NULL, *place_for = NULL;
		for (struct disk *d = disks; d < disks + MAX_DISKS; d++) {
			if (!strcmp(d->name, entries[i]->d_name))
				known = d;
			if (!d->name[0] && !place_for)
				place_for = d;
		}
		if (!known && place_for)
			open_disk(place_for, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

static void write_next(struct disk *d)
{
	u64 number = d->flushed + 1, seed;

	if (!grow(d)) {
		error_on(d, number);
		return;
	}
	memset(&out, 0, BLOCK);
	memcpy(out.magic, block_magic, 8);
	out.number = number;
	out.boot = boot_id;
	out.disk = d->super.disk;
	out.index = d->name[2] - 'a';
	for (struct disk *o = disks; o < disks + MAX_DISKS; o++)
		if (o != d && o->name[0] && o->writable) {
			out.peer[out.peers].disk = o->super.disk;
			out.peer[out.peers++].number = o->flushed;
		}
	seed = number ^ d->super.disk;
	for (size_t i = 0; i < sizeof out.filling; i += 8) {
		u64 word = mix(&seed);
		memcpy(out.filling + i, &word, sizeof out.filling - i < 8 ? sizeof out.filling - i : 8);
	}
	out.crc = crc32_of(&out, BLOCK - 4);
	if (!write_flushed(d, &out, place(&d->super, number))) {
		error_on(d, number); /* the same number again at the next turn */
		return;
	}
	d->flushed = number;
	say("%s wrote %llu disk=%016llx boot=%016llx", d->name, number, d->super.disk, boot_id);
}

static void read_command_line(void)
{
	char line[4096] = "", *word, *rest = line;
	FILE *file = fopen("/proc/cmdline", "r");

	if (!file || !fgets(line, sizeof line, file))
		fatal("/proc/cmdline");
	fclose(file);
	while ((word = strsep(&rest, " \n"))) {
		sscanf(word, "ledger.rate=%llu", &rate);
		sscanf(word, "ledger.stop=%llu", &stop_after);
		readonly |= !strcmp(word, "ledger.readonly");
	}
}

static void load_modules(void)
{
	char path[64];
	FILE *order = fopen("/modules/order", "r");

	if (!order)
		fatal("/modules/order");
	while (fscanf(order, "%63s", path) == 1) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			fatal(path);
		close(fd);
	}
	fclose(order);
}

static void open_inputs(void)
{
	for (int i = 0; i < MAX_INPUTS; i++) {
		char path[32];
		snprintf(path, sizeof path, "/dev/input/event%d", i);
		int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			inputs[input_count++] = fd;
	}
	if (!input_count)
		say("no power button boot=%016llx", boot_id);
}

int main(void)
{
	u64 due, look = 0, repeat;

	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	int fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		console_fd = fd;
	boot_id = new_id();
	say("boot %016llx", boot_id);
	read_command_line();
	load_modules();
	open_inputs();
	due = now_ms();
	repeat = due + REPEAT_MS;
	for (;;) {
		u64 now = now_ms();
		if (now >= look) {
			look_for_disks();
			look = now_ms() + LOOK_MS;
		}
		if (now >= repeat) {
			for (struct disk *d = disks; d < disks + MAX_DISKS; d++)
				if (d->name[0])
					say_found(d);
			repeat = now + REPEAT_MS;
		}
		bool wrote = false;
		if (now >= due) {
			for (struct disk *d = disks; d < disks + MAX_DISKS; d++) {
				if (!d->name[0] || !d->writable || d->stopped)
					continue;
				write_next(d);
				wrote = true;
				if (stop_after && d->flushed + 1 >= d->start + stop_after) {
					d->stopped = true;
					say("%s stopped %llu boot=%016llx", d->name, d->flushed, boot_id);
				}
			}
			due += rate ? 1000 / rate : 0;
			if (due < now) /* late, or as fast as possible: do not catch up in a burst */
				due = wrote ? now : now + 200;
		}
		now = now_ms();
		wait_button(due > now ? (int)(due - now) : 0);
	}
}
