/* Answers of agents, watched: senders ask, the answer comes in pieces, and as soon as it is whole the
 * sender asks again. The agent (servers/agents.py) says where each token was due, so that every piece
 * tells how late it is, and every byte can be compared with what was said.
 *
 * An answer is `@` and the agent's clock in nanoseconds, 19 digits of it and a space, and then tokens
 * of six digits and a space, numbered from 1. Both clocks are the machine's. */
#define _GNU_SOURCE
#include "counter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LEN 21
#define TOKEN_LEN 7
/* Places of the plan's classes. */
enum { CHUNK, START, END, ERROR };

struct viewer {
    uint64_t asked, stamp;
    uint32_t length;
    uint8_t in_run;
};

/* Milliseconds that something took, in the measured window. */
struct times {
    float *ms;
    size_t count, cap;
};

static struct viewer *viewers;
static struct times first, newest, oldest, answered, late;
static uint64_t interval_ns, token_count;
static uint64_t frames, tokens, ended, wrong, incomplete, begun;
static int measuring, asking;

static struct viewer *viewer_of(struct conn *c) {
    return &viewers[c - plan.conns];
}

static void took(struct times *t, uint64_t from, uint64_t to) {
    if (!measuring) return;
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 1 << 14;
        t->ms = realloc(t->ms, t->cap * sizeof *t->ms);
    }
    t->ms[t->count++] = to > from ? (float)((double)(to - from) / 1e6) : 0;
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void print_times(const char *name, struct times *t) {
    qsort(t->ms, t->count, sizeof *t->ms, compare);
    size_t n = t->count;
    printf("\"%s_p50_ms\":%.3f,\"%s_p99_ms\":%.3f,\"%s_max_ms\":%.3f,", name, n ? t->ms[n / 2] : -1.0, name,
           n ? t->ms[(size_t)(0.99 * (double)n)] : -1.0, name, n ? t->ms[n - 1] : -1.0);
    t->count = 0;
}

static uint64_t tokens_in(uint64_t length) {
    return length < FIRST_LEN ? 0 : 1 + (length - FIRST_LEN) / TOKEN_LEN;
}

static char expected(uint64_t at) {
    static const uint32_t tens[] = {100000, 10000, 1000, 100, 10, 1};
    uint64_t place = (at - FIRST_LEN) % TOKEN_LEN, number = 1 + (at - FIRST_LEN) / TOKEN_LEN;
    return place == TOKEN_LEN - 1 ? ' ' : (char)('0' + number / tens[place] % 10);
}

static const char *after(const char *payload, size_t len, const char *name) {
    const char *found = memmem(payload, len, name, strlen(name));
    return found ? found + strlen(name) : NULL;
}

static void ask(struct conn *c) {
    viewer_of(c)->asked = now_ns();
    conn_queue_text(c, plan.message);
}

static void take_chunk(struct viewer *v, const char *payload, size_t len, uint64_t now) {
    const char *text = after(payload, len, "\"content\":\""), *place = after(payload, len, "\"offset\":");
    const char *end = text ? memchr(text, '"', (size_t)(payload + len - text)) : NULL;
    if (!end || !place || !v->in_run || strtoull(place, NULL, 10) != v->length) {
        wrong++;
        return;
    }
    uint64_t before = tokens_in(v->length), size = (uint64_t)(end - text);
    if (v->length == 0) {
        if (size < FIRST_LEN || text[0] != '@') {
            wrong++;
            return;
        }
        v->stamp = strtoull(text + 1, NULL, 10);
        took(&first, v->stamp, now);
        if (v->asked) took(&answered, v->asked, now);
    }
    for (uint64_t i = 0; i < size; i++)
        if (v->length + i >= FIRST_LEN && text[i] != expected(v->length + i)) {
            wrong++;
            break;
        }
    v->length += (uint32_t)size;
    uint64_t there = tokens_in(v->length);
    if (there == before) return;
    took(&oldest, v->stamp + before * interval_ns, now);
    took(&newest, v->stamp + (there - 1) * interval_ns, now);
    if (measuring) {
        frames++;
        tokens += there - before;
    }
}

static void take_end(struct conn *c, struct viewer *v, const char *payload, size_t len, uint64_t now) {
    if (!v->in_run || tokens_in(v->length) != token_count) wrong++;
    if (!after(payload, len, "\"status\":\"complete\"")) incomplete++;
    v->in_run = 0;
    if (!c->sends) return;
    took(&late, v->stamp + (token_count - 1) * interval_ns, now);
    if (measuring) ended++;
    v->asked = 0;
    if (asking) ask(c);
}

static void runs_text(struct conn *c, int class, const char *payload, size_t len) {
    struct viewer *v = viewer_of(c);
    uint64_t now = now_ns();
    if (class == CHUNK) take_chunk(v, payload, len, now);
    else if (class == START) {
        v->in_run = 1;
        v->length = 0;
        begun += c->sends;
    } else if (class == END) take_end(c, v, payload, len, now);
    else if (class == ERROR && incomplete++ == 0) fprintf(stderr, "refused: %.*s\n", (int)(len < 600 ? len : 600), payload);
}

/* Everyone asks once within the first `stagger` seconds; what is measured begins after `warm`. */
void mode_runs(double count, double interval_ms, double stagger, double warm, double seconds) {
    if (!viewers) viewers = calloc((size_t)plan.conn_count + 1, sizeof *viewers);
    token_count = (uint64_t)count;
    interval_ns = (uint64_t)(interval_ms * 1e6);
    frames = tokens = ended = 0;
    on_text = runs_text;
    asking = 1;
    int *senders = malloc(sizeof *senders * ((size_t)plan.conn_count + 1)), wanted = 0, asked = 0;
    for (int i = 0; i < plan.conn_count; i++)
        if (plan.conns[i].sends) senders[wanted++] = i;
    uint64_t start = now_ns(), window = start + (uint64_t)(warm * 1e9), end = window + (uint64_t)(seconds * 1e9);
    double cpu = 0;
    for (uint64_t now = start; now < end; now = now_ns()) {
        uint64_t due = now < window ? window : end;
        while (asked < wanted) {
            uint64_t at = start + (uint64_t)(stagger * 1e9 * asked / wanted);
            if (at > now) {
                if (at < due) due = at;
                break;
            }
            struct conn *c = &plan.conns[senders[asked++]];
            /* One that is still in the run of the command before asks when that has ended. */
            if (!viewer_of(c)->in_run && !viewer_of(c)->asked) ask(c);
        }
        if (!measuring && now >= window) {
            measuring = 1;
            window = now;
            cpu = cpu_seconds();
            printf("{\"event\":\"start\"}\n");
            fflush(stdout);
        }
        loop_turn(wait_ms(due));
    }
    double took_seconds = (double)(now_ns() - window) / 1e9;
    measuring = 0;
    int under_way = 0;
    for (int i = 0; i < wanted; i++) under_way += viewers[senders[i]].in_run;
    printf("{\"event\":\"result\",\"mode\":\"runs\",\"seconds\":%.6f,\"frames\":%llu,\"tokens\":%llu,\"ended\":%llu,"
           "\"under_way\":%d,",
           took_seconds, (unsigned long long)frames, (unsigned long long)tokens, (unsigned long long)ended, under_way);
    print_times("first", &first);
    print_times("newest", &newest);
    print_times("oldest", &oldest);
    print_times("answered", &answered);
    print_times("late", &late);
    printf("\"closed\":%llu,\"load_cpu\":%.4f}\n", (unsigned long long)totals.closed,
           (cpu_seconds() - cpu) / took_seconds);
    fflush(stdout);
    free(senders);
}

/* Nobody asks again; waits for the answers under way and tells how many were not as they were said. */
void mode_rest(double limit_seconds) {
    asking = 0;
    uint64_t limit = now_ns() + (uint64_t)(limit_seconds * 1e9);
    int left = 1;
    while (left && now_ns() < limit) {
        loop_turn(20);
        left = 0;
        for (int i = 0; viewers && i < plan.conn_count; i++) left += viewers[i].in_run || viewers[i].asked;
    }
    printf("{\"event\":\"result\",\"mode\":\"rest\",\"begun\":%llu,\"wrong\":%llu,\"incomplete\":%llu,\"left\":%d,"
           "\"closed\":%llu}\n",
           (unsigned long long)begun, (unsigned long long)wrong, (unsigned long long)incomplete, left,
           (unsigned long long)totals.closed);
    fflush(stdout);
    begun = wrong = incomplete = 0;
    clear_hooks();
}
