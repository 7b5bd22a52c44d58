/* Everyone comes within some seconds, by the clock, and then each says one thing within some more.
 * Whoever joins asks first (see plan.py); all others are there before. Every tenth says it twice, as
 * a phone does that did not hear the answer. */
#include "counter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS 1000000000ull
/* Counted messages of the last second that a guest can have had without being miscounted. */
#define RECENT 256
#define TWICE_EVERY 10

struct guest {
    uint64_t due, came, said_due, answered; /* 0: not yet */
    uint8_t owes; /* was to say something before it was there */
    uint8_t twice;
    uint64_t at[RECENT];
    uint8_t is_answer[RECENT];
    uint8_t next;
};

static struct guest *guests;
static int came, answered;
static unsigned most_counted, most_heard;

static struct guest *guest_of(struct conn *c) {
    return &guests[c - plan.conns];
}

/* The most in any second that ends with what came now. */
static void hear(struct guest *g, int is_answer, uint64_t now) {
    g->at[g->next] = now;
    g->is_answer[g->next++] = (uint8_t)is_answer;
    unsigned heard = 0, counted = 0;
    for (int i = 0; i < RECENT; i++)
        if (g->at[i] && g->at[i] + SECOND_NS > now) {
            heard++;
            counted += !g->is_answer[i];
        }
    if (heard > most_heard) most_heard = heard;
    if (counted > most_counted) most_counted = counted;
}

static void say(struct conn *c) {
    struct guest *g = guest_of(c);
    g->owes = 0;
    conn_queue_text(c, plan.message);
}

static void crowd_ready(struct conn *c) {
    struct guest *g = guest_of(c);
    if (!c->joins || g->came) return;
    g->came = now_ns();
    came++;
    if (g->owes) say(c);
}

static void crowd_counted(struct conn *c, uint32_t frames) {
    uint64_t now = now_ns();
    for (uint32_t i = 0; i < frames; i++) hear(guest_of(c), 0, now);
}

static void crowd_ack(struct conn *c) {
    struct guest *g = guest_of(c);
    uint64_t now = now_ns();
    hear(g, 1, now);
    if (g->answered) return;
    g->answered = now;
    answered++;
    if (g->twice) conn_queue_text(c, plan.message);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* "name_p50_ms":…, and so on; -1 where there is none. */
static void print_times(const char *name, double *ms, int n) {
    qsort(ms, (size_t)n, sizeof *ms, compare);
    printf("\"%s_p50_ms\":%.3f,\"%s_p99_ms\":%.3f,\"%s_max_ms\":%.3f,", name, n ? ms[n / 2] : -1.0, name,
           n ? ms[(int)(0.99 * n)] : -1.0, name, n ? ms[n - 1] : -1.0);
}

static void wait_for_others(void) {
    int others = 0, ready;
    for (int i = 0; i < plan.conn_count; i++)
        if (!plan.conns[i].joins) {
            others++;
            conn_start(&plan.conns[i], i);
        }
    uint64_t limit = now_ns() + 20 * SECOND_NS;
    do {
        loop_turn(20);
        ready = 0;
        for (int i = 0; i < plan.conn_count; i++) ready += !plan.conns[i].joins && plan.conns[i].phase == PHASE_READY;
    } while (ready < others && now_ns() < limit);
}

static void print_result(int joining, double seconds, double cpu, uint64_t late) {
    double *joins = malloc(sizeof *joins * (size_t)(joining + 1)), *answers = malloc(sizeof *answers * (size_t)(joining + 1));
    int j = 0, a = 0;
    for (int i = 0; i < plan.conn_count; i++) {
        struct guest *g = &guests[i];
        if (g->came) joins[j++] = (double)(g->came - g->due) / 1e6;
        if (g->answered) answers[a++] = (double)(g->answered - g->said_due) / 1e6;
    }
    printf("{\"event\":\"result\",\"mode\":\"crowd\",\"seconds\":%.6f,\"wanted\":%d,\"came\":%d,\"answered\":%d,", seconds,
           joining, came, answered);
    print_times("join", joins, j);
    print_times("answer", answers, a);
    printf("\"most_counted\":%u,\"most_heard\":%u,\"refused\":%llu,\"closed\":%llu,\"close_code\":%d,\"late_ms\":%.3f,"
           "\"bytes\":%llu,\"load_cpu\":%.4f}\n",
           most_counted, most_heard, (unsigned long long)totals.refused, (unsigned long long)totals.closed,
           totals.last_close_code, (double)late / 1e6, (unsigned long long)totals.bytes, cpu / seconds);
    fflush(stdout);
    free(joins);
    free(answers);
}

void mode_crowd(double join_seconds, double vote_seconds, double limit_seconds) {
    guests = calloc((size_t)plan.conn_count + 1, sizeof *guests);
    came = answered = 0;
    most_counted = most_heard = 0;
    wait_for_others();
    int *joining = malloc(sizeof *joining * ((size_t)plan.conn_count + 1)), wanted = 0;
    for (int i = 0; i < plan.conn_count; i++)
        if (plan.conns[i].joins) joining[wanted++] = i;
    uint64_t start = now_ns(), saying = start + (uint64_t)(join_seconds * 1e9);
    uint64_t end = saying + (uint64_t)(vote_seconds * 1e9), limit = end + (uint64_t)(limit_seconds * 1e9);
    for (int k = 0; k < wanted; k++) {
        struct guest *g = &guests[joining[k]];
        g->due = start + (uint64_t)(join_seconds * 1e9 * k / wanted);
        g->said_due = saying + (uint64_t)(vote_seconds * 1e9 * k / wanted);
        g->twice = k % TWICE_EVERY == 0;
    }
    on_ready = crowd_ready;
    on_counted = crowd_counted;
    on_ack = crowd_ack;
    double cpu = cpu_seconds();
    printf("{\"event\":\"start\"}\n");
    fflush(stdout);
    uint64_t now = start, late = 0;
    int started = 0, said = 0;
    while (now < limit && (now < end || answered < wanted)) {
        uint64_t due = end;
        for (; started < wanted && guests[joining[started]].due <= now; started++) {
            struct conn *c = &plan.conns[joining[started]];
            if (now - guests[joining[started]].due > late) late = now - guests[joining[started]].due;
            conn_start(c, joining[started]);
        }
        for (; said < wanted && guests[joining[said]].said_due <= now; said++) {
            struct conn *c = &plan.conns[joining[said]];
            if (now - guests[joining[said]].said_due > late) late = now - guests[joining[said]].said_due;
            if (c->phase == PHASE_READY) say(c);
            else guests[joining[said]].owes = 1;
        }
        if (started < wanted) due = guests[joining[started]].due;
        else if (said < wanted) due = guests[joining[said]].said_due;
        loop_turn(now < end ? wait_ms(due) : 20);
        now = now_ns();
    }
    print_result(wanted, (double)(now - start) / 1e9, cpu_seconds() - cpu, late);
    clear_hooks();
    free(guests);
    free(joining);
}
