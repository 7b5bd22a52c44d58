/* Shared shapes of the load generator: one plan, many connections, one epoll loop.
 * One process, one core. Nothing here allocates per frame, so counting is never the limit. */
#ifndef MADANG_BENCH_COUNTER_H
#define MADANG_BENCH_COUNTER_H
#include <stddef.h>
#include <stdint.h>

#define MAX_CLASSES 8
#define MAX_REPLIES 8
#define MAX_ASKS 16
#define NO_CLASS (-1)
/* Ring of message start times. A power of two far above any number of messages in flight. */
#define IN_FLIGHT_RING (1u << 16)
/* Acks outstanding on one connection. */
#define ACK_RING 128
#define READ_BYTES (256 * 1024)

enum phase { PHASE_NEW, PHASE_OPENING, PHASE_ASKING, PHASE_UPGRADING, PHASE_OPEN, PHASE_READY, PHASE_CLOSED };

struct conn {
    int fd;
    uint8_t phase;
    uint8_t receives; /* counts towards "landed at all receivers" */
    uint8_t sends;
    uint8_t joins; /* asks the plan's asks first; its path is a template */
    uint8_t asked; /* how many of them are answered */
    uint8_t dirty; /* has bytes in out that wait for the end of the loop turn */
    uint8_t wants_out;
    uint32_t seen;   /* counted frames since the mode started */
    uint32_t to_send; /* burst mode: messages left */
    char *path, *a, *b;
    char *seat, *token; /* what an answer gave */
    int port; /* 0: the plan's */
    char *stash; /* the unfinished end of the last read */
    uint32_t stash_len;
    char *out;
    uint32_t out_len, out_cap;
    uint64_t *started; /* ring of start times of sends that wait for an ack */
    uint32_t ack_head, ack_tail;
};

struct reply {
    int class_index;
    char *text;
};

struct ask {
    char *method, *path, *body;
};

struct plan {
    char address[64];
    int port;
    int sources;     /* connections leave from 127.0.0.2 .. 127.0.0.(1+sources) */
    int split_lines; /* a frame carries several messages, one a line */
    char *class_prefix[MAX_CLASSES];
    size_t class_len[MAX_CLASSES];
    int classes;
    struct reply replies[MAX_REPLIES];
    int reply_count;
    struct ask asks[MAX_ASKS];
    int ask_count;
    char *answer; /* what makes a message of the counted class an ack instead */
    int ready_class, count_class, ack_class;
    char *hello; /* sent as soon as the upgrade is done */
    char *message;
    char *headers;
    struct conn *conns;
    int conn_count, conn_cap;
};

struct totals {
    uint64_t class_frames[MAX_CLASSES];
    uint64_t other_frames, bytes, pings, closed, refused;
    int last_close_code;
};

extern struct plan plan;
extern struct totals totals;
extern uint64_t message_number;

/* conn.c */
void conn_start(struct conn *c, int index);
void conn_events(struct conn *c, uint32_t events);
void conn_close(struct conn *c);
void conn_queue_text(struct conn *c, const char *template);
void loop_turn(int timeout_ms);
void loop_init(void);
uint64_t now_ns(void);

/* Hooks that the running mode sets; NULL where a mode does not care. */
extern void (*on_ready)(struct conn *c);
extern void (*on_counted)(struct conn *c, uint32_t frames);
extern void (*on_ack)(struct conn *c);
extern void (*on_closed)(struct conn *c);
/* A message of this class, whole. */
extern void (*on_text)(struct conn *c, int class, const char *payload, size_t len);

/* plan.c */
void plan_read(const char *file);

/* modes.c */
double cpu_seconds(void);
int wait_ms(uint64_t until);
void clear_hooks(void);
void mode_chat(double rate, double warm, double seconds);
void mode_connect(int window, double limit_seconds);
void mode_fanout(int in_flight, double warm, double seconds);
void mode_acked(int in_flight, double warm, double seconds);
void mode_paced(double rate, double warm, double seconds);
void mode_burst(int per_sender, double limit_seconds);
void mode_hold(double seconds);
void mode_quiet(double limit_seconds);
void mode_counts(void);
void mode_drop(void);

/* runs.c */
void mode_runs(double tokens, double interval_ms, double stagger, double warm, double seconds);
void mode_rest(double limit_seconds);

/* crowd.c */
void mode_crowd(double join_seconds, double vote_seconds, double limit_seconds);
#endif
