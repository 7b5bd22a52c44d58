/* The ways of loading a server. Each mode prints {"event":"start"} when its warm-up is over and one
 * JSON result when it ends; whoever drives us reads the server's CPU at those two moments. */
#include "counter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define STALLED_NS 3000000000ull

static uint32_t *latencies; /* microseconds */
static size_t latency_count, latency_cap;
static uint64_t window_start, last_progress;
static double window_cpu;
static int measuring;
static uint64_t deliveries, landed;

double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void latency(uint64_t from, uint64_t to) {
    if (!measuring) return;
    if (latency_count == latency_cap) {
        latency_cap = latency_cap ? latency_cap * 2 : 1 << 16;
        latencies = realloc(latencies, latency_cap * sizeof *latencies);
    }
    latencies[latency_count++] = to > from ? (uint32_t)((to - from) / 1000) : 0;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_ms(double share) {
    if (!latency_count) return -1;
    size_t at = (size_t)(share * (double)latency_count);
    if (at >= latency_count) at = latency_count - 1;
    return latencies[at] / 1000.0;
}

static void begin(void) {
    latency_count = 0;
    deliveries = landed = 0;
    measuring = 1;
    window_start = now_ns();
    window_cpu = cpu_seconds();
    printf("{\"event\":\"start\"}\n");
    fflush(stdout);
}

static void finish(const char *mode, int stalled, uint64_t backlog) {
    double seconds = (double)(now_ns() - window_start) / 1e9;
    double cpu = cpu_seconds() - window_cpu;
    measuring = 0;
    qsort(latencies, latency_count, sizeof *latencies, compare);
    printf("{\"event\":\"result\",\"mode\":\"%s\",\"seconds\":%.6f,\"landed\":%llu,\"deliveries\":%llu,"
           "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"load_cpu\":%.4f,\"stalled\":%s,\"backlog\":%llu,"
           "\"closed\":%llu,\"close_code\":%d}\n",
           mode, seconds, (unsigned long long)landed, (unsigned long long)deliveries, percentile_ms(0.50),
           percentile_ms(0.99), percentile_ms(1.0), cpu / seconds, stalled ? "true" : "false",
           (unsigned long long)backlog, (unsigned long long)totals.closed, totals.last_close_code);
    fflush(stdout);
}

void clear_hooks(void) {
    on_ready = NULL;
    on_counted = NULL;
    on_ack = NULL;
    on_closed = NULL;
    on_text = NULL;
}

/* The senders, taken in turn. */
static struct conn *next_sender(void) {
    static int at;
    for (int i = 0; i < plan.conn_count; i++) {
        struct conn *c = &plan.conns[at++ % plan.conn_count];
        if (c->sends && c->phase == PHASE_READY) return c;
    }
    return NULL;
}

int wait_ms(uint64_t until) {
    uint64_t now = now_ns();
    if (now >= until) return 0;
    uint64_t ms = (until - now) / 1000000;
    return ms > 100 ? 100 : (int)ms;
}

/* ---- connect ---------------------------------------------------------------------------- */
static int settled;

static void settle(struct conn *c) {
    (void)c;
    settled++;
}

void mode_connect(int window, double limit_seconds) {
    int started = 0;
    uint64_t refused = totals.refused, closed = totals.closed;
    settled = 0;
    on_ready = on_closed = settle;
    window_start = now_ns();
    window_cpu = cpu_seconds();
    uint64_t limit = window_start + (uint64_t)(limit_seconds * 1e9);
    while (settled < plan.conn_count && now_ns() < limit) {
        while (started < plan.conn_count && started - settled < window) {
            conn_start(&plan.conns[started], started);
            started++;
        }
        loop_turn(20);
    }
    double seconds = (double)(now_ns() - window_start) / 1e9;
    clear_hooks();
    int ready = 0;
    for (int i = 0; i < plan.conn_count; i++) ready += plan.conns[i].phase == PHASE_READY;
    printf("{\"event\":\"result\",\"mode\":\"connect\",\"seconds\":%.6f,\"ready\":%d,\"wanted\":%d,\"refused\":%llu,"
           "\"closed\":%llu,\"close_code\":%d,\"load_cpu\":%.4f}\n",
           seconds, ready, plan.conn_count, (unsigned long long)(totals.refused - refused),
           (unsigned long long)(totals.closed - closed), totals.last_close_code, (cpu_seconds() - window_cpu) / seconds);
    fflush(stdout);
}

/* ---- fanout: a message has landed when every receiver has it ------------------------------ */
static uint32_t behind[IN_FLIGHT_RING]; /* receivers that have seen exactly n messages, by n */
static uint64_t sent_at[IN_FLIGHT_RING];
static uint64_t sent, landed_total;
static int refill; /* a landed message sets the next one off */

static void fanout_send(uint64_t started) {
    struct conn *c = next_sender();
    if (!c) return;
    sent_at[sent++ % IN_FLIGHT_RING] = started;
    conn_queue_text(c, plan.message);
}

static void fanout_counted(struct conn *c, uint32_t frames) {
    if (!c->receives) return;
    deliveries += frames;
    behind[(c->seen - frames) % IN_FLIGHT_RING]--;
    behind[c->seen % IN_FLIGHT_RING]++;
    uint64_t now = 0;
    while (landed_total < sent && behind[landed_total % IN_FLIGHT_RING] == 0) {
        if (!now) now = last_progress = now_ns();
        latency(sent_at[landed_total % IN_FLIGHT_RING], now);
        landed_total++;
        landed++;
        if (refill) fanout_send(now);
    }
}

static void fanout_closed(struct conn *c) {
    if (c->receives) behind[c->seen % IN_FLIGHT_RING]--;
}

static void fanout_reset(void) {
    memset(behind, 0, sizeof behind);
    sent = landed_total = 0;
    measuring = 0;
    for (int i = 0; i < plan.conn_count; i++) {
        plan.conns[i].seen = 0;
        behind[0] += plan.conns[i].receives && plan.conns[i].phase == PHASE_READY;
    }
    on_counted = fanout_counted;
    on_closed = fanout_closed;
    last_progress = now_ns();
}

/* Messages stop; what is in flight still lands. */
static void fanout_drain(void) {
    refill = 0;
    for (uint64_t end = now_ns() + 2000000000ull; landed_total < sent && now_ns() < end;) loop_turn(20);
    clear_hooks();
}

void mode_fanout(int in_flight, double warm, double seconds) {
    fanout_reset();
    refill = 1;
    uint64_t measured_from = last_progress + (uint64_t)(warm * 1e9), until = 0;
    for (int i = 0; i < in_flight; i++) fanout_send(now_ns());
    int stalled = 0;
    while (!stalled) {
        loop_turn(50);
        uint64_t now = now_ns();
        stalled = now - last_progress > STALLED_NS;
        if (!until && now >= measured_from) {
            begin();
            until = now + (uint64_t)(seconds * 1e9);
        } else if (until && now >= until) break;
    }
    finish("fanout", stalled, sent - landed_total);
    fanout_drain();
}

/* Open loop: messages start by the clock and are timed from when they were due. */
void mode_chat(double rate, double warm, double seconds) {
    fanout_reset();
    refill = 0;
    uint64_t start = now_ns(), measured_from = start + (uint64_t)(warm * 1e9), until = 0, due = 0;
    for (;;) {
        uint64_t now = now_ns();
        for (; start + (uint64_t)((double)due * 1e9 / rate) <= now; due++)
            fanout_send(start + (uint64_t)((double)due * 1e9 / rate));
        loop_turn(wait_ms(start + (uint64_t)((double)due * 1e9 / rate)));
        now = now_ns();
        if (!until && now >= measured_from) {
            begin();
            until = now + (uint64_t)(seconds * 1e9);
        } else if (until && now >= until) break;
    }
    finish("chat", sent - landed_total > (uint64_t)rate, sent - landed_total);
    fanout_drain();
}

/* ---- acked: a message has landed when its sender has the confirmation --------------------- */
static void acked_send(struct conn *c, uint64_t started) {
    if (!c->started) c->started = malloc(ACK_RING * sizeof *c->started);
    if (c->ack_head - c->ack_tail >= ACK_RING) return;
    c->started[c->ack_head++ % ACK_RING] = started;
    sent++;
    conn_queue_text(c, plan.message);
}

static void acked_ack(struct conn *c) {
    if (c->ack_tail == c->ack_head) return;
    uint64_t now = now_ns();
    latency(c->started[c->ack_tail++ % ACK_RING], now);
    landed++;
    landed_total++;
    last_progress = now;
    if (refill) {
        struct conn *next = next_sender();
        if (next) acked_send(next, now);
    }
}

static void acked_counted(struct conn *c, uint32_t frames) {
    (void)c;
    deliveries += frames;
}

static void acked_reset(void) {
    sent = landed_total = 0;
    measuring = 0;
    for (int i = 0; i < plan.conn_count; i++) plan.conns[i].seen = plan.conns[i].ack_head = plan.conns[i].ack_tail = 0;
    on_ack = acked_ack;
    on_counted = acked_counted;
    last_progress = now_ns();
}

static void acked_drain(void) {
    refill = 0;
    for (uint64_t end = now_ns() + 3000000000ull; landed_total < sent && now_ns() < end;) loop_turn(20);
    clear_hooks();
}

void mode_acked(int in_flight, double warm, double seconds) {
    acked_reset();
    uint64_t measured_from = last_progress + (uint64_t)(warm * 1e9), until = 0;
    refill = 1;
    for (int i = 0; i < in_flight; i++) {
        struct conn *c = next_sender();
        if (c) acked_send(c, now_ns());
    }
    int stalled = 0;
    while (!stalled) {
        loop_turn(50);
        uint64_t now = now_ns();
        stalled = now - last_progress > STALLED_NS;
        if (!until && now >= measured_from) {
            begin();
            until = now + (uint64_t)(seconds * 1e9);
        } else if (until && now >= until) break;
    }
    finish("acked", stalled, sent - landed_total);
    acked_drain();
}

/* Open loop: messages start when the schedule says so, and are timed from there, so that a server
 * that stops for a while does not stop the clock of those who wait for it. */
void mode_paced(double rate, double warm, double seconds) {
    acked_reset();
    refill = 0;
    uint64_t start = now_ns(), measured_from = start + (uint64_t)(warm * 1e9), until = 0, due = 0;
    for (;;) {
        uint64_t now = now_ns();
        for (; start + (uint64_t)((double)due * 1e9 / rate) <= now; due++) {
            struct conn *c = next_sender();
            if (c) acked_send(c, start + (uint64_t)((double)due * 1e9 / rate));
        }
        loop_turn(wait_ms(start + (uint64_t)((double)due * 1e9 / rate)));
        now = now_ns();
        if (!until && now >= measured_from) {
            begin();
            until = now + (uint64_t)(seconds * 1e9);
        } else if (until && now >= until) break;
    }
    finish("paced", sent - landed_total > (uint64_t)rate, sent - landed_total);
    acked_drain();
}

/* ---- burst: every sender sends exactly n, one at a time ----------------------------------- */
static void burst_ack(struct conn *c) {
    acked_ack(c);
    if (!c->to_send) return;
    c->to_send--;
    acked_send(c, now_ns());
}

void mode_burst(int per_sender, double limit_seconds) {
    acked_reset();
    refill = 0;
    on_ack = burst_ack;
    uint64_t wanted = 0, limit = now_ns() + (uint64_t)(limit_seconds * 1e9);
    begin();
    for (int i = 0; i < plan.conn_count; i++) {
        struct conn *c = &plan.conns[i];
        if (!c->sends || c->phase != PHASE_READY) continue;
        wanted += (uint64_t)per_sender;
        c->to_send = (uint32_t)per_sender - 1;
        acked_send(c, now_ns());
        if (sent % 64 == 0) loop_turn(0);
    }
    while (landed_total < wanted && now_ns() < limit) loop_turn(20);
    finish("burst", landed_total < wanted, wanted - landed_total);
    clear_hooks();
}

/* ---- the rest ---------------------------------------------------------------------------- */
void mode_hold(double seconds) {
    uint64_t pings = totals.pings, closed = totals.closed;
    uint64_t until = now_ns() + (uint64_t)(seconds * 1e9);
    begin();
    while (now_ns() < until) loop_turn(wait_ms(until));
    printf("{\"event\":\"result\",\"mode\":\"hold\",\"seconds\":%.3f,\"pings\":%llu,\"closed\":%llu}\n", seconds,
           (unsigned long long)(totals.pings - pings), (unsigned long long)(totals.closed - closed));
    fflush(stdout);
}

/* Waits until nothing arrived for half a second: what connecting set off is over. */
void mode_quiet(double limit_seconds) {
    uint64_t bytes = totals.bytes, from = now_ns(), last = from, limit = from + (uint64_t)(limit_seconds * 1e9);
    while (now_ns() < limit && now_ns() - last < 500000000ull) {
        loop_turn(50);
        if (totals.bytes != bytes) last = now_ns();
        bytes = totals.bytes;
    }
    printf("{\"event\":\"result\",\"mode\":\"quiet\",\"seconds\":%.3f}\n", (double)(now_ns() - from) / 1e9);
    fflush(stdout);
}

/* How many counted frames each receiver has had since it connected or the last mode began. */
void mode_counts(void) {
    uint32_t least = UINT32_MAX, most = 0;
    uint64_t all = 0;
    for (int i = 0; i < plan.conn_count; i++) {
        struct conn *c = &plan.conns[i];
        if (!c->receives) continue;
        all += c->seen;
        if (c->seen < least) least = c->seen;
        if (c->seen > most) most = c->seen;
    }
    printf("{\"event\":\"result\",\"mode\":\"counts\",\"least\":%u,\"most\":%u,\"all\":%llu,\"other\":%llu,\"classes\":[",
           least == UINT32_MAX ? 0 : least, most, (unsigned long long)all, (unsigned long long)totals.other_frames);
    for (int i = 0; i < plan.classes; i++)
        printf("%s%llu", i ? "," : "", (unsigned long long)totals.class_frames[i]);
    printf("]}\n");
    fflush(stdout);
}

void mode_drop(void) {
    int dropped = 0;
    for (int i = 0; i < plan.conn_count; i++) {
        struct conn *c = &plan.conns[i];
        if (c->phase == PHASE_NEW || c->phase == PHASE_CLOSED) continue;
        conn_close(c);
        dropped++;
    }
    printf("{\"event\":\"result\",\"mode\":\"drop\",\"dropped\":%d}\n", dropped);
    fflush(stdout);
}
