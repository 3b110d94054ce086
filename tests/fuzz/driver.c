/* A small fuzzer for where libFuzzer is not: runs the named files, and those of named folders,
   through the target, then changes of them, drawn by chance, until the time is over. It takes
   libFuzzer's options that fuzz.sh gives: -max_total_time, -timeout (of one input), -rss_limit_mb,
   -artifact_prefix (where an input that ends the target is kept), -seed (1: each run draws the
   same). A process of its own runs the target, this one watches it. */
#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

enum { MOST_BYTES = 1 << 16, MOST_SEEDS = 4096 };

/* What both processes see: the input that is running. */
struct running {
    atomic_ulong runs;
    size_t size;
    uint8_t data[MOST_BYTES];
};

struct options {
    long seconds, timeout, megabytes, seed;
    const char *prefix;
};

struct seed {
    uint8_t *data;
    size_t size;
};

struct fuzzer {
    struct running *running;
    struct seed seeds[MOST_SEEDS];
    size_t count;
    uint64_t state; /* of chance */
};

/* --- seeds --- */

static void load(struct fuzzer *z, const char *path)
{
    FILE *file = fopen(path, "rb");
    struct seed seed = {.data = malloc(MOST_BYTES)};
    FUZZ_CHECK(seed.data);
    if (file && z->count < MOST_SEEDS) {
        seed.size = fread(seed.data, 1, MOST_BYTES, file);
        z->seeds[z->count++] = seed;
    } else {
        free(seed.data);
    }
    if (file)
        fclose(file);
}

/* The files of a folder, or one file. */
static void load_path(struct fuzzer *z, const char *path)
{
    char name[4096];
    DIR *dir = opendir(path);
    if (!dir)
        load(z, path);
    for (const struct dirent *d; dir && (d = readdir(dir));) {
        const int length = snprintf(name, sizeof name, "%s/%s", path, d->d_name);
        if (d->d_name[0] != '.' && length < (int)sizeof name)
            load(z, name);
    }
    if (dir)
        closedir(dir);
}

/* --- changes --- */

/* Vigna's splitmix64; below limit, which is above 0. */
static size_t draw(struct fuzzer *z, size_t limit)
{
    uint64_t x = z->state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (size_t)((x ^ x >> 31) % limit);
}

static void remove_range(struct fuzzer *z)
{
    struct running *r = z->running;
    const size_t at = draw(z, r->size), rest = r->size - at;
    const size_t bytes = 1 + draw(z, rest < 16 ? rest : 16);
    memmove(r->data + at, r->data + at + bytes, rest - bytes);
    r->size -= bytes;
}

/* Bytes of a seed, of any place in it. */
static void insert_range(struct fuzzer *z)
{
    struct running *r = z->running;
    const struct seed *seed = &z->seeds[draw(z, z->count)];
    if (seed->size == 0)
        return;
    const size_t at = draw(z, r->size + 1), from = draw(z, seed->size);
    size_t bytes = 1 + draw(z, 32);
    bytes = bytes < seed->size - from ? bytes : seed->size - from;
    bytes = bytes < MOST_BYTES - r->size ? bytes : MOST_BYTES - r->size;
    memmove(r->data + at + bytes, r->data + at, r->size - at);
    memcpy(r->data + at, seed->data + from, bytes);
    r->size += bytes;
}

/* A byte, or a number's digits. */
static void change_bytes(struct fuzzer *z)
{
    static const char odd[] = "\x00\x01\x7f\x80\xff\x20\x30\x39\x2d\x2e\x22\x2c\x5b\x7b\x0a\x25";
    struct running *r = z->running;
    const size_t at = draw(z, r->size);
    switch (draw(z, 4)) {
    case 0:
        r->data[at] ^= (uint8_t)(1 << draw(z, 8));
        break;
    case 1:
        r->data[at] = (uint8_t)odd[draw(z, sizeof odd - 1)];
        break;
    case 2:
        r->data[at] = (uint8_t)draw(z, 256);
        break;
    default:
        for (size_t i = at; i < r->size && r->data[i] >= '0' && r->data[i] <= '9'; i++)
            r->data[i] = (uint8_t)('0' + draw(z, 10));
    }
}

static void make_input(struct fuzzer *z)
{
    struct running *r = z->running;
    const struct seed *seed = &z->seeds[draw(z, z->count)];
    r->size = seed->size;
    memcpy(r->data, seed->data, seed->size);
    for (size_t left = 1 + draw(z, 6); left > 0; left--) {
        const size_t kind = draw(z, 8);
        if (r->size == 0 || kind == 0)
            insert_range(z);
        else if (kind == 1)
            remove_range(z);
        else
            change_bytes(z);
    }
}

/* --- running --- */

/* On memory of its own size, so that a byte beyond it is noticed. */
static void run_input(const struct fuzzer *z)
{
    struct running *r = z->running;
    uint8_t *data = malloc(r->size ? r->size : 1);
    FUZZ_CHECK(data);
    memcpy(data, r->data, r->size);
    (void)LLVMFuzzerTestOneInput(data, r->size);
    free(data);
    atomic_fetch_add(&r->runs, 1);
}

static void run_all(struct fuzzer *z, const struct options *o)
{
    const time_t end = time(NULL) + o->seconds;
    z->state = (uint64_t)o->seed;
    FUZZ_CHECK(z->count > 0);
    for (size_t i = 0; i < z->count; i++) {
        z->running->size = z->seeds[i].size;
        memcpy(z->running->data, z->seeds[i].data, z->seeds[i].size);
        run_input(z);
    }
    while (time(NULL) < end) {
        make_input(z);
        run_input(z);
    }
    for (size_t i = 0; i < z->count; i++)
        free(z->seeds[i].data);
}

/* --- watching --- */

static long megabytes_of(pid_t process)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)process);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) >> 10) >> 10;
}

/* NULL when the target came to its end, or what went wrong. */
static const char *watch(pid_t process, struct running *r, const struct options *o)
{
    unsigned long seen = 0;
    time_t since = time(NULL);
    const char *why = NULL;
    int status;
    while (waitpid(process, &status, why ? 0 : WNOHANG) == 0) {
        const unsigned long now = atomic_load(&r->runs);
        since = now == seen ? since : time(NULL);
        seen = now;
        if (time(NULL) - since > o->timeout)
            why = "timeout";
        else if (megabytes_of(process) > o->megabytes)
            why = "oom";
        if (why)
            kill(process, SIGKILL);
        else
            usleep(50000);
    }
    return why || status == 0 ? why : "crash";
}

static void keep(const struct running *r, const struct options *o, const char *why)
{
    char path[4096];
    snprintf(path, sizeof path, "%s%s-%lu", o->prefix, why, atomic_load(&r->runs));
    FILE *file = fopen(path, "wb");
    if (file) {
        fwrite(r->data, 1, r->size, file);
        fclose(file);
    }
    fprintf(stderr, "%s: the input is kept in %s\n", why, path);
}

/* --- the program --- */

static void take_option(struct options *o, const char *word)
{
    const struct {
        const char *name;
        long *value;
    } numbers[] = {{"-max_total_time=", &o->seconds},
                   {"-timeout=", &o->timeout},
                   {"-rss_limit_mb=", &o->megabytes},
                   {"-seed=", &o->seed}};
    static const char prefix[] = "-artifact_prefix=";
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const size_t length = strlen(numbers[i].name);
        if (strncmp(word, numbers[i].name, length) == 0)
            *numbers[i].value = strtol(word + length, NULL, 10);
    }
    if (strncmp(word, prefix, sizeof prefix - 1) == 0)
        o->prefix = word + sizeof prefix - 1;
}

int main(int argc, char **argv)
{
    static struct fuzzer z;
    struct options o = {.timeout = 10, .megabytes = 2048, .seed = 1, .prefix = "./"};
    z.running =
        mmap(NULL, sizeof *z.running, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FUZZ_CHECK(z.running != MAP_FAILED);
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            take_option(&o, argv[i]);
    const pid_t process = fork();
    FUZZ_CHECK(process >= 0);
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 1; i < argc; i++)
            if (argv[i][0] != '-')
                load_path(&z, argv[i]);
        run_all(&z, &o);
        return 0;
    }
    const char *why = watch(process, z.running, &o);
    if (why)
        keep(z.running, &o, why);
    fprintf(stderr, "stat::number_of_executed_units: %lu\n", atomic_load(&z.running->runs));
    return why != NULL;
}
