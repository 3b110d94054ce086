#include "io/weights/residency.h"

#include <string.h>

#include "io/weights/weight.h"

struct weight {
    struct wf_param *param;
    const struct wf_st_tensor *tensor;
    int unit;
    void *values; /* of a VECTOR that is let go */
};

/* A group with its own weights, or a layer of one. */
struct unit {
    int group; /* its number among the groups */
    bool is_layer;
    int load; /* that brings it */
};

struct group {
    int first, count; /* of its weights, its layers' among them */
    int unit;
};

/* Memory that a load lies in. */
struct room {
    void *data;
    size_t bytes;
    bool for_layers;
    struct load *load; /* that is in it; NULL: none */
};

/* What is loaded together: the weights of some groups, or of one unit. */
struct load {
    int first, count; /* among the weights */
    int unit;         /* those of this one alone; -1: all */
    bool is_layer;
    size_t bytes;
    enum { AWAY, COMING, HERE } state;
    int users; /* acquired and not yet released */
    struct room *room;
    unsigned long turn; /* when it was acquired last */
};

struct wf_residency {
    struct wf_policy policy;
    bool once;
    struct wf_checkpoint *ckpt;
    struct wf_backend *be;
    struct wf_mem *mem;
    struct weight *weights;
    struct group *groups;
    struct unit *units;
    int weight_count, weight_room;
    int group_count, group_room;
    int unit_count, unit_room;
    int unit;    /* that weights are added to */
    int ordered; /* groups before those that stand aside; -1: all */
    /* From the first acquire on. */
    struct load *loads;
    struct room *rooms;
    int load_count, room_count;
    int ordered_loads;
    unsigned long turn;
};

const char *wf_offload_name(enum wf_offload offload)
{
    static const char *const names[] = {[WF_OFFLOAD_NONE] = "none",
                                        [WF_OFFLOAD_MODEL] = "model",
                                        [WF_OFFLOAD_GROUP] = "group",
                                        [WF_OFFLOAD_SEQUENTIAL] = "sequential"};
    return names[offload];
}

/* --- declaring --- */

enum wf_status wf_residency_open(struct wf_policy policy, struct wf_checkpoint *ckpt,
                                 struct wf_backend *be, struct wf_mem *mem,
                                 struct wf_residency **res, struct wf_error *err)
{
    *res = wf_calloc(mem, WF_MEM_MISC, 1, sizeof **res);
    if (!*res)
        return wf_fail_memory(err, "weights", sizeof **res);
    **res =
        (struct wf_residency){.policy = policy, .ckpt = ckpt, .be = be, .mem = mem, .ordered = -1};
    return WF_OK;
}

struct wf_checkpoint *wf_residency_checkpoint(const struct wf_residency *res)
{
    return res->ckpt;
}

struct wf_backend *wf_residency_backend(const struct wf_residency *res)
{
    return res->be;
}

void wf_residency_order(struct wf_residency *res, bool around)
{
    res->once = !around;
}

void wf_residency_aside(struct wf_residency *res)
{
    res->ordered = res->group_count;
}

static int ordered_groups(const struct wf_residency *res)
{
    return res->ordered < 0 ? res->group_count : res->ordered;
}

/* Room for one more element: doubles the array when it is full. */
static enum wf_status grow(struct wf_mem *mem, void **array, int count, int *room, size_t size,
                           struct wf_error *err)
{
    if (count < *room)
        return WF_OK;
    const int wider = *room ? 2 * *room : 64;
    void *copy = wf_calloc(mem, WF_MEM_MISC, (size_t)wider, size);
    if (!copy)
        return wf_fail_memory(err, "weights", (size_t)wider * size);
    if (count)
        memcpy(copy, *array, (size_t)count * size);
    wf_free(*array);
    *array = copy;
    *room = wider;
    return WF_OK;
}

static enum wf_status add_unit(struct wf_residency *res, int group, bool is_layer, int *unit,
                               struct wf_error *err)
{
    void *array = res->units;
    WF_TRY(grow(res->mem, &array, res->unit_count, &res->unit_room, sizeof *res->units, err));
    res->units = array;
    res->units[res->unit_count] = (struct unit){.group = group, .is_layer = is_layer};
    *unit = res->unit = res->unit_count++;
    return WF_OK;
}

enum wf_status wf_residency_group(struct wf_residency *res, int *unit, struct wf_error *err)
{
    if (res->loads)
        return wf_fail(err, WF_FAILED, "weights: a group cannot be declared any more");
    void *array = res->groups;
    WF_TRY(grow(res->mem, &array, res->group_count, &res->group_room, sizeof *res->groups, err));
    res->groups = array;
    WF_TRY(add_unit(res, res->group_count, false, unit, err));
    res->groups[res->group_count++] = (struct group){.first = res->weight_count, .unit = *unit};
    return WF_OK;
}

static enum wf_status check_open(const struct wf_residency *res, const char *name,
                                 struct wf_error *err)
{
    if (res->group_count == 0 || res->loads)
        return wf_fail(err, WF_FAILED, "weights: %s cannot be declared here", name);
    return WF_OK;
}

enum wf_status wf_residency_layer(struct wf_residency *res, int *unit, struct wf_error *err)
{
    WF_TRY(check_open(res, "a layer", err));
    return add_unit(res, res->group_count - 1, true, unit, err);
}

void wf_residency_layer_end(struct wf_residency *res)
{
    res->unit = res->groups[res->group_count - 1].unit;
}

enum wf_status wf_residency_add(struct wf_residency *res, struct wf_param *p,
                                enum wf_param_kind kind, const char *name, int rank,
                                const int64_t *dims, struct wf_error *err)
{
    const struct wf_st_tensor *tensor;
    WF_TRY(check_open(res, name, err));
    WF_TRY(wf_weight_find(res->ckpt, kind, name, rank, dims, p, &tensor, err));
    void *array = res->weights;
    WF_TRY(grow(res->mem, &array, res->weight_count, &res->weight_room, sizeof *res->weights, err));
    res->weights = array;
    res->weights[res->weight_count++] =
        (struct weight){.param = p, .tensor = tensor, .unit = res->unit};
    res->groups[res->group_count - 1].count++;
    return WF_OK;
}

/* --- what is loaded together --- */

/* The i-th weight of a load, or NULL after the last: call with i from 0 on, which is moved on. */
static struct weight *next_weight(const struct wf_residency *res, const struct load *load, int *i)
{
    while (*i < load->count) {
        struct weight *w = &res->weights[load->first + (*i)++];
        if (load->unit < 0 || w->unit == load->unit)
            return w;
    }
    return NULL;
}

static void measure(const struct wf_residency *res, struct load *load)
{
    const struct weight *w;
    for (int i = 0; (w = next_weight(res, load, &i));)
        load->bytes += wf_param_bytes(res->be, w->param);
}

static void plan_units(struct wf_residency *res)
{
    for (int i = 0; i < res->unit_count; i++) {
        const struct group *g = &res->groups[res->units[i].group];
        res->units[i].load = i;
        res->loads[i] = (struct load){
            .first = g->first, .count = g->count, .unit = i, .is_layer = res->units[i].is_layer};
        if (res->units[i].group < ordered_groups(res))
            res->ordered_loads = i + 1;
    }
    res->load_count = res->unit_count;
}

/* The load of a group, where so many in the order are loaded together. */
static int load_of(const struct wf_residency *res, int group, int together)
{
    const int ordered = ordered_groups(res);
    return group < ordered ? group / together : res->ordered_loads + group - ordered;
}

static void plan_groups(struct wf_residency *res, int blocks)
{
    const int ordered = ordered_groups(res), together = blocks < ordered ? blocks : ordered;
    res->ordered_loads = (ordered + together - 1) / together;
    res->load_count = res->ordered_loads + res->group_count - ordered;
    for (int i = 0; i < res->load_count; i++)
        res->loads[i] = (struct load){.unit = -1};
    for (int i = 0; i < res->group_count; i++) {
        struct load *load = &res->loads[load_of(res, i, together)];
        load->first = load->count ? load->first : res->groups[i].first;
        load->count += res->groups[i].count;
    }
    for (int i = 0; i < res->unit_count; i++)
        res->units[i].load = load_of(res, res->units[i].group, together);
}

/* Once all is declared. */
static enum wf_status plan_loads(struct wf_residency *res, struct wf_error *err)
{
    const size_t most = (size_t)res->unit_count;
    const int blocks = res->policy.blocks > 0 ? res->policy.blocks : 1;
    if (res->loads)
        return WF_OK;
    struct load *loads = wf_calloc(res->mem, WF_MEM_MISC, most, sizeof *loads);
    struct room *rooms = wf_calloc(res->mem, WF_MEM_MISC, most, sizeof *rooms);
    if (!loads || !rooms) {
        wf_free(loads);
        wf_free(rooms);
        return wf_fail_memory(err, "weights", most * (sizeof *loads + sizeof *rooms));
    }
    res->loads = loads;
    res->rooms = rooms;
    if (res->policy.offload == WF_OFFLOAD_SEQUENTIAL)
        plan_units(res);
    else
        plan_groups(res, res->policy.offload == WF_OFFLOAD_GROUP ? blocks : 1);
    for (int i = 0; i < res->load_count; i++)
        measure(res, &res->loads[i]);
    return WF_OK;
}

/* --- rooms --- */

/* Whether each load has a room of its own, and keeps it. */
static bool holds_all(const struct wf_residency *res)
{
    return res->policy.offload == WF_OFFLOAD_NONE ||
           (res->policy.offload == WF_OFFLOAD_MODEL && !res->once);
}

static void unload(struct wf_residency *res, struct load *load)
{
    const struct weight *w;
    for (int i = 0; (w = next_weight(res, load, &i));)
        wf_param_unload(res->be, w->param);
    if (load->room)
        load->room->load = NULL;
    load->room = NULL;
    load->state = AWAY;
    load->users = 0;
}

static bool looks_ahead(const struct wf_residency *res)
{
    return res->be->device.queued && res->policy.offload != WF_OFFLOAD_SEQUENTIAL;
}

/* A room of that kind whose load is in no use, an empty one or the one whose load was used longest
   ago. NULL: a new one is to be taken, unless *full, when as many as the policy has are in use. */
static struct room *find_room(const struct wf_residency *res, bool for_layers, bool *full)
{
    const int most = looks_ahead(res) ? 2 : 1;
    struct room *oldest = NULL;
    int count = 0;
    *full = false;
    for (int i = 0; i < res->room_count; i++) {
        struct room *room = &res->rooms[i];
        if (room->for_layers != for_layers)
            continue;
        if (!room->load)
            return room;
        count++;
        if (!room->load->users && (!oldest || room->load->turn < oldest->load->turn))
            oldest = room;
    }
    *full = count >= most && !oldest;
    return count < most ? NULL : oldest;
}

static enum wf_status new_room(struct wf_residency *res, bool for_layers, size_t bytes,
                               struct room **room, struct wf_error *err)
{
    void *data = res->be->ops.take(res->be, WF_MEM_WEIGHTS, bytes);
    if (!data)
        return wf_fail_memory(err, "weights", bytes);
    *room = &res->rooms[res->room_count++]; /* there are no more than loads */
    **room = (struct room){.data = data, .bytes = bytes, .for_layers = for_layers};
    return WF_OK;
}

/* One that was taken for less; nothing is in it. */
static enum wf_status widen(struct wf_residency *res, struct room *room, size_t bytes,
                            struct wf_error *err)
{
    if (bytes <= room->bytes)
        return WF_OK;
    res->be->ops.give(res->be, room->data);
    room->bytes = 0;
    room->data = res->be->ops.take(res->be, WF_MEM_WEIGHTS, bytes);
    if (!room->data)
        return wf_fail_memory(err, "weights", bytes);
    room->bytes = bytes;
    return WF_OK;
}

static size_t largest(const struct wf_residency *res, bool is_layer)
{
    size_t bytes = 0;
    for (int i = 0; i < res->load_count; i++) {
        if (res->loads[i].is_layer == is_layer && res->loads[i].bytes > bytes)
            bytes = res->loads[i].bytes;
    }
    return bytes;
}

/* The rooms that a policy has take any load; one more, where several are held at a time because
   rows go through them in slices, takes what it is taken for. */
static enum wf_status find_or_make(struct wf_residency *res, const struct load *load,
                                   struct room **room, struct wf_error *err)
{
    bool full;
    *room = find_room(res, load->is_layer, &full);
    if (!*room)
        return new_room(res, load->is_layer, full ? load->bytes : largest(res, load->is_layer),
                        room, err);
    if ((*room)->load)
        unload(res, (*room)->load);
    return widen(res, *room, load->bytes, err);
}

static enum wf_status place(struct wf_residency *res, struct load *load, struct wf_error *err)
{
    struct room *room = NULL;
    if (load->bytes == 0)
        return WF_OK;
    WF_TRY(holds_all(res) ? new_room(res, load->is_layer, load->bytes, &room, err)
                          : find_or_make(res, load, &room, err));
    room->load = load;
    load->room = room;
    return WF_OK;
}

/* --- loading --- */

static enum wf_status begin_weights(struct wf_residency *res, const struct load *load)
{
    unsigned char *at = load->room ? load->room->data : NULL;
    const struct weight *w;
    for (int i = 0; (w = next_weight(res, load, &i));) {
        const size_t bytes = wf_param_bytes(res->be, w->param);
        WF_TRY(wf_param_load_begin(res->be, w->param, bytes ? at : NULL, &w->tensor->source));
        at += bytes;
    }
    return WF_OK;
}

static enum wf_status end_weights(struct wf_residency *res, const struct load *load)
{
    const struct weight *w;
    for (int i = 0; (w = next_weight(res, load, &i));)
        WF_TRY(wf_param_load_end(res->be, w->param));
    return WF_OK;
}

static enum wf_status fail_load(struct wf_residency *res, struct load *load, enum wf_status status,
                                struct wf_error *err)
{
    if (err && err != res->be->err && res->be->err)
        *err = *res->be->err;
    unload(res, load);
    return status;
}

static enum wf_status begin(struct wf_residency *res, struct load *load, struct wf_error *err)
{
    if (load->state != AWAY)
        return WF_OK;
    WF_TRY(place(res, load, err));
    load->state = COMING;
    const enum wf_status status = begin_weights(res, load);
    return status == WF_OK ? WF_OK : fail_load(res, load, status, err);
}

static enum wf_status end(struct wf_residency *res, struct load *load, struct wf_error *err)
{
    if (load->state == HERE)
        return WF_OK;
    const enum wf_status status = end_weights(res, load);
    if (status != WF_OK)
        return fail_load(res, load, status, err);
    load->state = HERE;
    return WF_OK;
}

/* Tells the system what will be read soon. */
static void hint(const struct wf_residency *res, const struct load *load)
{
    const struct weight *w;
    for (int i = 0; !res->be->is_plan && (w = next_weight(res, load, &i));)
        wf_st_prefetch(w->tensor);
}

/* Begins what comes next, where the device works meanwhile and there is a room for it. */
static void look_ahead(struct wf_residency *res, struct load *load)
{
    const struct load *end = res->loads + res->ordered_loads;
    struct load *next = load >= end      ? NULL
                        : load + 1 < end ? load + 1
                        : res->once      ? NULL
                                         : res->loads;
    if (!next || next->state != AWAY)
        return;
    bool full = false;
    if (!holds_all(res))
        (void)find_room(res, next->is_layer, &full);
    if (!looks_ahead(res) || full)
        hint(res, next);
    else
        (void)begin(res, next, NULL); /* tried again, and told, when it is asked for */
}

/* What is loaded can be used while it is acquired, and at no other time, under any policy: a use
   too late is a message and no wrong picture. */
static void let_use(const struct wf_residency *res, const struct load *load, bool allowed)
{
    struct weight *w;
    for (int i = 0; (w = next_weight(res, load, &i));) {
        void **data = &w->param->tensor.data;
        if (!allowed)
            w->values = *data;
        *data = allowed ? w->values : NULL;
        w->param->state = allowed ? WF_PARAM_LOADED : WF_PARAM_LET_GO;
    }
}

enum wf_status wf_residency_acquire(struct wf_residency *res, int unit, struct wf_error *err)
{
    if (unit < 0 || unit >= res->unit_count)
        return wf_fail(err, WF_FAILED, "weights: there is no group or layer %d", unit);
    WF_TRY(plan_loads(res, err));
    struct load *load = &res->loads[res->units[unit].load];
    load->turn = ++res->turn;
    if (load->state != HERE) {
        WF_TRY(begin(res, load, err));
        load->users++; /* its room is no longer to be had */
        look_ahead(res, load);
        return end(res, load, err);
    }
    if (load->users++ == 0)
        let_use(res, load, true);
    return WF_OK;
}

void wf_residency_release(struct wf_residency *res, int unit)
{
    if (unit < 0 || unit >= res->unit_count || !res->loads)
        return;
    struct load *load = &res->loads[res->units[unit].load];
    if (load->users > 0 && --load->users == 0)
        let_use(res, load, false);
}

/* --- for plans --- */

size_t wf_residency_held(const struct wf_residency *res)
{
    size_t bytes = 0;
    for (int i = 0; i < res->room_count; i++)
        bytes += res->rooms[i].bytes;
    return bytes;
}

enum wf_status wf_residency_mirror(struct wf_residency *res, const struct wf_residency *other,
                                   struct wf_error *err)
{
    if (other->policy.offload != res->policy.offload || other->policy.blocks != res->policy.blocks)
        return WF_OK;
    if (other->loads)
        WF_TRY(plan_loads(res, err));
    for (int i = 0; i < other->load_count; i++) {
        if (other->loads[i].state != HERE || res->loads[i].state == HERE)
            continue;
        WF_TRY(begin(res, &res->loads[i], err));
        WF_TRY(end(res, &res->loads[i], err));
        let_use(res, &res->loads[i], false);
    }
    return WF_OK;
}

/* --- the end --- */

static void give_back(struct wf_residency *res)
{
    for (int i = 0; i < res->load_count; i++)
        unload(res, &res->loads[i]);
    for (int i = 0; i < res->room_count; i++)
        res->be->ops.give(res->be, res->rooms[i].data);
    if (res->room_count && !res->be->device.own_memory)
        wf_mem_trim();
    res->room_count = 0;
}

void wf_residency_set_policy(struct wf_residency *res, struct wf_policy policy)
{
    give_back(res);
    wf_free(res->loads);
    wf_free(res->rooms);
    res->loads = NULL;
    res->rooms = NULL;
    res->load_count = 0;
    res->policy = policy;
}

void wf_residency_stage_end(struct wf_residency *res)
{
    if (res->policy.offload != WF_OFFLOAD_NONE)
        give_back(res);
}

void wf_residency_close(struct wf_residency **res)
{
    struct wf_residency *r = *res;
    if (!r)
        return;
    give_back(r);
    wf_free(r->weights);
    wf_free(r->groups);
    wf_free(r->units);
    wf_free(r->loads);
    wf_free(r->rooms);
    wf_free(r);
    *res = NULL;
}
