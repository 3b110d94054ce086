/* A library to preload (LD_PRELOAD) that makes calls of the program fail, for faults.py. WEFT_FAULT
   is KIND:NTH:HOW. KIND is alloc, read or write: which functions count; NTH the first call of them
   that fails, 0: none; HOW what becomes of it: an error by its name, "short" (half of what was
   asked for) or "end" (nothing was left to read), each with a + behind it for every call from there
   on, and EINTR+ for every second one. Calls count that come from the program itself, and from the
   libraries named in WEFT_FAULT_FROM by words of their paths. WEFT_FAULT_LOG is a file that gets a
   line for a call that failed and, at the end, their count. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum kind { NO_KIND, ALLOC, READ, WRITE };
enum how { ERROR, SHORT, END };
enum { MOST_RANGES = 64 };

struct range {
    const char *start, *end;
};

/* Filled before main, constant from then on but for the count. */
static struct {
    enum kind kind;
    enum how how;
    long nth;
    bool on; /* every call from the nth */
    int error;
    struct range from[MOST_RANGES];
    int ranges;
    char log[4096];
    atomic_long calls;
} fault;

/* --- what was asked for --- */

static const struct {
    const char *name;
    int error;
} errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EINTR", EINTR},  {"EMFILE", EMFILE},
              {"ENOMEM", ENOMEM}, {"EINVAL", EINVAL}, {"EACCES", EACCES}};

static void read_how(const char *text)
{
    const size_t length = strcspn(text, "+");
    fault.on = text[length] == '+';
    fault.how = strncmp(text, "short", length) == 0 ? SHORT
                : strncmp(text, "end", length) == 0 ? END
                                                    : ERROR;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (strncmp(text, errors[i].name, length) == 0)
            fault.error = errors[i].error;
    }
}

static bool is_named(const char *path, const char *words)
{
    char list[1024];
    char *rest;
    snprintf(list, sizeof list, "%s", words ? words : "");
    for (char *word = strtok_r(list, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (strstr(path, word))
            return true;
    }
    return false;
}

/* The first object is the program; its name is empty. */
static int add_ranges(struct dl_phdr_info *object, size_t bytes, void *words)
{
    (void)bytes;
    for (int i = 0; i < object->dlpi_phnum && fault.ranges < MOST_RANGES; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) ||
            !(object->dlpi_name[0] == '\0' || is_named(object->dlpi_name, words)))
            continue;
        const char *start = (const char *)(object->dlpi_addr + part->p_vaddr);
        fault.from[fault.ranges++] = (struct range){start, start + part->p_memsz};
        if (object->dlpi_name[0] == '\0')
            break;
    }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *asked = getenv("WEFT_FAULT"), *log = getenv("WEFT_FAULT_LOG");
    char kind[16], how[16];
    if (!asked || sscanf(asked, "%15[a-z]:%ld:%15s", kind, &fault.nth, how) != 3)
        return;
    read_how(how);
    dl_iterate_phdr(add_ranges, getenv("WEFT_FAULT_FROM"));
    snprintf(fault.log, sizeof fault.log, "%s", log ? log : "");
    fault.kind = strcmp(kind, "alloc") == 0 ? ALLOC : strcmp(kind, "read") == 0 ? READ : WRITE;
}

/* --- telling --- */

/* By calls that are not counted. */
static void tell(const char *what, long number)
{
    char line[128];
    const int length = snprintf(line, sizeof line, "%s %ld\n", what, number);
    const long fd =
        syscall(SYS_openat, AT_FDCWD, fault.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    (void)syscall(SYS_write, (int)fd, line, (size_t)length);
    (void)syscall(SYS_close, (int)fd);
}

__attribute__((destructor)) static void end(void)
{
    if (fault.kind)
        tell("calls", atomic_load(&fault.calls));
    fault.kind = NO_KIND;
}

/* --- choosing --- */

/* Whether this call is one to fail. */
static bool chosen(enum kind kind, const char *name, const void *caller)
{
    bool counts = false;
    if (fault.kind != kind)
        return false;
    for (int i = 0; i < fault.ranges && !counts; i++)
        counts =
            (const char *)caller >= fault.from[i].start && (const char *)caller < fault.from[i].end;
    if (!counts)
        return false;
    const long call = atomic_fetch_add(&fault.calls, 1) + 1;
    const bool interrupts = fault.how == ERROR && fault.error == EINTR;
    const bool fails =
        fault.nth && (fault.on ? call >= fault.nth && !(interrupts && (call - fault.nth) % 2)
                               : call == fault.nth);
    if (fails && (!fault.on || call == fault.nth))
        tell(name, (long)((const char *)caller - fault.from[0].start));
    return fails;
}

#define CALLER __builtin_return_address(0)
/* The function behind this one, looked up once. */
#define NEXT(name)                                                                                 \
    static __typeof__(name) *next;                                                                 \
    if (!next)                                                                                     \
    next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* A call that can do nothing but fail, and says so by `is`. Those that no signal interrupts and
   that count no bytes are left alone where an interruption or a short count was asked for. */
#define FAILS(kind, name, is)                                                                      \
    do {                                                                                           \
        if (fault.how == ERROR && fault.error != EINTR && chosen(kind, #name, CALLER)) {           \
            errno = fault.error;                                                                   \
            return is;                                                                             \
        }                                                                                          \
    } while (0)

/* The same of a stream, which remembers it. */
#define FAILS_STREAM(name, is)                                                                     \
    do {                                                                                           \
        if (fault.how == ERROR && fault.error != EINTR && chosen(READ, #name, CALLER)) {           \
            file->_flags |= _IO_ERR_SEEN;                                                          \
            errno = fault.error;                                                                   \
            return is;                                                                             \
        }                                                                                          \
    } while (0)

/* --- memory --- */

#define NO_MEMORY(name)                                                                            \
    do {                                                                                           \
        if (chosen(ALLOC, #name, CALLER)) {                                                        \
            errno = ENOMEM;                                                                        \
            return NULL;                                                                           \
        }                                                                                          \
    } while (0)

void *malloc(size_t bytes)
{
    NEXT(malloc);
    NO_MEMORY(malloc);
    return next(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    NEXT(calloc);
    NO_MEMORY(calloc);
    return next(n, bytes);
}

void *realloc(void *block, size_t bytes)
{
    NEXT(realloc);
    NO_MEMORY(realloc);
    return next(block, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    NEXT(aligned_alloc);
    NO_MEMORY(aligned_alloc);
    return next(align, bytes);
}

int posix_memalign(void **block, size_t align, size_t bytes)
{
    NEXT(posix_memalign);
    if (chosen(ALLOC, "posix_memalign", CALLER))
        return ENOMEM;
    return next(block, align, bytes);
}

char *strdup(const char *text)
{
    NEXT(strdup);
    NO_MEMORY(strdup);
    return next(text);
}

char *realpath(const char *path, char *real)
{
    NEXT(realpath);
    NO_MEMORY(realpath);
    return next(path, real);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                   void *context)
{
    NEXT(pthread_create);
    if (chosen(ALLOC, "pthread_create", CALLER))
        return EAGAIN;
    return next(thread, attr, run, context);
}

/* --- reading --- */

/* What a call that moves bytes does: 0 to go on with `bytes`, else *result is what it says. */
static bool moves(enum kind kind, const char *name, const void *caller, size_t *bytes,
                  ssize_t *result)
{
    if (!chosen(kind, name, caller))
        return true;
    if (fault.how == SHORT && *bytes > 1) {
        *bytes /= 2;
        return true;
    }
    if (fault.how == SHORT)
        return true;
    *result = fault.how == END && kind == READ ? 0 : -1;
    errno = fault.how == END ? EIO : fault.error;
    return false;
}

ssize_t read(int fd, void *data, size_t bytes)
{
    NEXT(read);
    ssize_t result;
    return moves(READ, "read", CALLER, &bytes, &result) ? next(fd, data, bytes) : result;
}

ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
    NEXT(pread);
    ssize_t result;
    return moves(READ, "pread", CALLER, &bytes, &result) ? next(fd, data, bytes, offset) : result;
}

size_t fread(void *data, size_t size, size_t n, FILE *file)
{
    NEXT(fread);
    FAILS_STREAM(fread, 0);
    return next(data, size, n, file);
}

ssize_t getline(char **line, size_t *room, FILE *file)
{
    NEXT(getline);
    FAILS_STREAM(getline, -1);
    return next(line, room, file);
}

int getc(FILE *file)
{
    NEXT(getc);
    FAILS_STREAM(getc, EOF);
    return next(file);
}

char *fgets(char *line, int room, FILE *file)
{
    NEXT(fgets);
    FAILS_STREAM(fgets, NULL);
    return next(line, room, file);
}

FILE *fopen(const char *path, const char *mode)
{
    NEXT(fopen);
    FAILS(READ, fopen, NULL);
    return next(path, mode);
}

FILE *fdopen(int fd, const char *mode)
{
    NEXT(fdopen);
    FAILS(READ, fdopen, NULL);
    return next(fd, mode);
}

int fstat(int fd, struct stat *info)
{
    NEXT(fstat);
    FAILS(READ, fstat, -1);
    return next(fd, info);
}

int stat(const char *path, struct stat *info)
{
    NEXT(stat);
    FAILS(READ, stat, -1);
    return next(path, info);
}

int lstat(const char *path, struct stat *info)
{
    NEXT(lstat);
    FAILS(READ, lstat, -1);
    return next(path, info);
}

int access(const char *path, int how)
{
    NEXT(access);
    FAILS(READ, access, -1);
    return next(path, how);
}

DIR *opendir(const char *path)
{
    NEXT(opendir);
    FAILS(READ, opendir, NULL);
    return next(path);
}

struct dirent *readdir(DIR *dir)
{
    NEXT(readdir);
    FAILS(READ, readdir, NULL);
    return next(dir);
}

ssize_t getrandom(void *data, size_t bytes, unsigned flags)
{
    NEXT(getrandom);
    ssize_t result;
    return moves(READ, "getrandom", CALLER, &bytes, &result) ? next(data, bytes, flags) : result;
}

/* --- writing --- */

int open(const char *path, int flags, ...)
{
    NEXT(open);
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (fault.how == ERROR &&
        chosen((flags & O_ACCMODE) == O_RDONLY ? READ : WRITE, "open", CALLER)) {
        errno = fault.error;
        return -1;
    }
    return next(path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
    NEXT(fcntl);
    va_list rest;
    va_start(rest, command);
    void *value = va_arg(rest, void *);
    va_end(rest);
    FAILS(WRITE, fcntl, -1);
    return next(fd, command, value);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    NEXT(write);
    ssize_t result;
    return moves(WRITE, "write", CALLER, &bytes, &result) ? next(fd, data, bytes) : result;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    NEXT(pwrite);
    ssize_t result;
    return moves(WRITE, "pwrite", CALLER, &bytes, &result) ? next(fd, data, bytes, offset) : result;
}

int poll(struct pollfd *fds, nfds_t n, int ms)
{
    NEXT(poll);
    ssize_t result;
    size_t none = 0;
    return moves(WRITE, "poll", CALLER, &none, &result) ? next(fds, n, ms) : -1;
}

int fsync(int fd)
{
    NEXT(fsync);
    FAILS(WRITE, fsync, -1);
    return next(fd);
}

int ftruncate(int fd, off_t bytes)
{
    NEXT(ftruncate);
    FAILS(WRITE, ftruncate, -1);
    return next(fd, bytes);
}

int rename(const char *from, const char *to)
{
    NEXT(rename);
    FAILS(WRITE, rename, -1);
    return next(from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    NEXT(renameat2);
    FAILS(WRITE, renameat2, -1);
    return next(from_folder, from, to_folder, to, flags);
}

int mkdir(const char *path, mode_t mode)
{
    NEXT(mkdir);
    FAILS(WRITE, mkdir, -1);
    return next(path, mode);
}

int flock(int fd, int how);
int flock(int fd, int how)
{
    NEXT(flock);
    FAILS(WRITE, flock, -1);
    return next(fd, how);
}

/* A descriptor is closed even where that tells an error. */
int close(int fd)
{
    NEXT(close);
    const int closed = next(fd);
    FAILS(WRITE, close, -1);
    return closed;
}

int fclose(FILE *file)
{
    NEXT(fclose);
    const int closed = next(file);
    FAILS(WRITE, fclose, EOF);
    return closed;
}

int fflush(FILE *file)
{
    NEXT(fflush);
    const int done = next(file);
    FAILS(WRITE, fflush, EOF);
    return done;
}
