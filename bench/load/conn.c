/* Sockets and frames: connects, upgrades, walks the frame headers of what arrives (RFC 6455,
 * section 5.2) and tells the running mode what was counted. It never looks further into a payload
 * than the prefixes of the plan's classes, unless a mode does (`on_text`). */
#define _GNU_SOURCE
#include "counter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct totals totals;
uint64_t message_number;
void (*on_ready)(struct conn *);
void (*on_counted)(struct conn *, uint32_t);
void (*on_ack)(struct conn *);
void (*on_closed)(struct conn *);
void (*on_text)(struct conn *, int, const char *, size_t);

static int poller;
static char *buffer;
static struct conn **dirty;
static int dirty_count;
/* Any key but zero, so that servers really unmask. */
static const uint8_t mask_key[4] = {0x37, 0xfa, 0x21, 0x3d};

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void loop_init(void) {
    poller = epoll_create1(0);
    /* A read is put behind the stash of its connection, which is less than one frame. */
    buffer = malloc(READ_BYTES * 8);
    dirty = malloc(sizeof *dirty * (size_t)(plan.conn_count + 1));
}

static void watch(struct conn *c, int operation, int out) {
    /* Edge-triggered: what was read to its end need not be looked at again. */
    struct epoll_event e = {.events = EPOLLIN | EPOLLET | (out ? EPOLLOUT : 0), .data.ptr = c};
    c->wants_out = (uint8_t)out;
    epoll_ctl(poller, operation, c->fd, &e);
}

static void mark_dirty(struct conn *c) {
    if (c->dirty) return;
    c->dirty = 1;
    dirty[dirty_count++] = c;
}

static char *reserve(struct conn *c, uint32_t bytes) {
    if (c->out_len + bytes > c->out_cap) {
        c->out_cap = c->out_len + bytes + 256;
        c->out = realloc(c->out, c->out_cap);
    }
    return c->out + c->out_len;
}

static void queue_frame(struct conn *c, uint8_t opcode, const char *payload, uint32_t len) {
    uint8_t *out = (uint8_t *)reserve(c, len + 14);
    uint32_t at = 0;
    out[at++] = 0x80 | opcode;
    if (len < 126) out[at++] = (uint8_t)(0x80 | len);
    else {
        out[at++] = 0x80 | 126;
        out[at++] = (uint8_t)(len >> 8);
        out[at++] = (uint8_t)len;
    }
    memcpy(out + at, mask_key, 4);
    at += 4;
    for (uint32_t i = 0; i < len; i++) out[at + i] = (uint8_t)payload[i] ^ mask_key[i & 3];
    c->out_len += at + len;
    mark_dirty(c);
}

/* Writes a template: %a and %b are the connection's own values, %p and %t the seat and the token it
 * was given, %n a number never used before. Answers the length. */
static uint32_t fill(struct conn *c, const char *template, char *text, uint32_t size) {
    uint32_t at = 0;
    for (const char *p = template; *p && at < size - 4096; p++) {
        char number[32];
        const char *value = NULL;
        if (p[0] == '%')
            switch (p[1]) {
            case 'a': value = c->a; break;
            case 'b': value = c->b; break;
            case 'p': value = c->seat; break;
            case 't': value = c->token; break;
            case 'n':
                snprintf(number, sizeof number, "%08llu", (unsigned long long)++message_number);
                value = number;
            }
        if (value) {
            size_t len = strnlen(value, 4000);
            memcpy(text + at, value, len);
            at += (uint32_t)len;
            p++;
        } else text[at++] = *p;
    }
    text[at] = 0;
    return at;
}

static char text[16384];

/* Queues a text frame, written as `fill` does. */
void conn_queue_text(struct conn *c, const char *template) {
    queue_frame(c, 1, text, fill(c, template, text, sizeof text));
}

static void flush(struct conn *c) {
    while (c->out_len) {
        ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                if (!c->wants_out) watch(c, EPOLL_CTL_MOD, 1);
                return;
            }
            conn_close(c);
            return;
        }
        c->out_len -= (uint32_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
    if (c->wants_out) watch(c, EPOLL_CTL_MOD, 0);
}

static void drop_socket(struct conn *c) {
    /* A reset leaves no TIME_WAIT behind, so thousands of drops do not eat the ports. */
    struct linger reset = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c->fd);
    c->fd = -1;
    c->out_len = c->stash_len = 0;
    free(c->stash);
    c->stash = NULL;
}

void conn_close(struct conn *c) {
    if (c->phase == PHASE_CLOSED || c->phase == PHASE_NEW) return;
    drop_socket(c);
    c->phase = PHASE_CLOSED;
    totals.closed++;
    if (on_closed) on_closed(c);
}

void conn_start(struct conn *c, int index) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        perror("socket");
        exit(3);
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(index % plan.sources));
    bind(c->fd, (struct sockaddr *)&from, sizeof from);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(c->port ? c->port : plan.port))};
    inet_pton(AF_INET, plan.address, &to.sin_addr);
    c->phase = PHASE_OPENING;
    c->stash_len = 0;
    watch(c, EPOLL_CTL_ADD, 1);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        totals.refused++;
        conn_close(c);
    }
}

/* The next of what is asked over HTTP before the upgrade, all on one connection. */
static void send_ask(struct conn *c) {
    struct ask *ask = &plan.asks[c->asked];
    static char body[16384], path[16384];
    uint32_t body_len = fill(c, ask->body, body, sizeof body);
    fill(c, ask->path, path, sizeof path);
    char *out = reserve(c, body_len + (uint32_t)strlen(path) + 1024);
    uint32_t at = (uint32_t)sprintf(out, "%s %s HTTP/1.1\r\nHost: %s:%d\r\n", ask->method, path, plan.address, plan.port);
    if (c->token) at += (uint32_t)sprintf(out + at, "Authorization: Bearer %.500s\r\n", c->token);
    if (body_len) at += (uint32_t)sprintf(out + at, "Content-Type: application/json\r\nContent-Length: %u\r\n", body_len);
    c->out_len += at + (uint32_t)sprintf(out + at, "\r\n%s", body);
    c->phase = PHASE_ASKING;
    mark_dirty(c);
}

static void send_upgrade(struct conn *c) {
    const char *path = c->path;
    if (c->joins) {
        fill(c, c->path, text, sizeof text);
        path = text;
    }
    uint32_t room = (uint32_t)strlen(path) + 1024;
    char *out = reserve(c, room);
    c->out_len += (uint32_t)snprintf(out, room,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n",
        path, plan.address, plan.port, plan.headers ? plan.headers : "", plan.headers ? "\r\n" : "");
    c->phase = PHASE_UPGRADING;
    mark_dirty(c);
}

static void become_ready(struct conn *c) {
    if (c->phase != PHASE_OPEN) return;
    c->phase = PHASE_READY;
    if (on_ready) on_ready(c);
}

/* One message: which class is it, and who wants to know. */
static void classify(struct conn *c, const char *payload, size_t len, uint32_t *counted) {
    for (int i = 0; i < plan.classes; i++) {
        if (len < plan.class_len[i] || memcmp(payload, plan.class_prefix[i], plan.class_len[i])) continue;
        totals.class_frames[i]++;
        if (on_text) on_text(c, i, payload, len);
        if (i == plan.count_class && plan.answer && memmem(payload, len, plan.answer, strlen(plan.answer))) {
            if (on_ack) on_ack(c);
            return;
        }
        if (i == plan.count_class) (*counted)++;
        if (i == plan.ack_class && on_ack) on_ack(c);
        if (i == plan.ready_class) become_ready(c);
        for (int r = 0; r < plan.reply_count; r++)
            if (plan.replies[r].class_index == i) conn_queue_text(c, plan.replies[r].text);
        return;
    }
    totals.other_frames++;
}

static void take_frame(struct conn *c, uint8_t opcode, const char *payload, size_t len, uint32_t *counted) {
    if (opcode == 9) {
        totals.pings++;
        queue_frame(c, 10, payload, (uint32_t)len);
    } else if (opcode == 8) {
        totals.last_close_code = len >= 2 ? ((uint8_t)payload[0] << 8 | (uint8_t)payload[1]) : 1005;
        conn_close(c);
    } else if (opcode == 1 || opcode == 2) {
        if (!plan.split_lines) classify(c, payload, len, counted);
        else
            for (const char *end = payload + len; payload < end;) {
                const char *line = memchr(payload, '\n', (size_t)(end - payload));
                size_t size = (size_t)((line ? line : end) - payload);
                if (size) classify(c, payload, size, counted);
                payload += size + 1;
            }
    }
}

/* Walks whole frames in bytes[0:len]; answers how many bytes they were. */
static size_t walk(struct conn *c, const char *bytes, size_t len) {
    size_t at = 0;
    uint32_t counted = 0;
    while (len - at >= 2) {
        const uint8_t *h = (const uint8_t *)bytes + at;
        size_t head = 2, size = h[1] & 0x7f;
        if (size == 126) {
            if (len - at < 4) break;
            head = 4;
            size = (size_t)h[2] << 8 | h[3];
        } else if (size == 127) {
            if (len - at < 10) break;
            head = 10;
            size = (size_t)h[6] << 24 | (size_t)h[7] << 16 | (size_t)h[8] << 8 | h[9];
        }
        if (len - at < head + size) break;
        take_frame(c, h[0] & 0x0f, bytes + at + head, size, &counted);
        if (c->phase == PHASE_CLOSED) return len;
        at += head + size;
    }
    c->seen += counted;
    if (counted && on_counted) on_counted(c, counted);
    return at;
}

/* The text behind `name` in a JSON object of the server's own, as a new string. */
static char *json_text(const char *body, const char *end, const char *name) {
    const char *from = memmem(body, (size_t)(end - body), name, strlen(name));
    if (!from) return NULL;
    from += strlen(name);
    const char *to = memchr(from, '"', (size_t)(end - from));
    return to ? strndup(from, (size_t)(to - from)) : NULL;
}

/* One whole answer over HTTP; after the last one the connection is opened anew, to be upgraded. */
static size_t take_answer(struct conn *c, const char *bytes, size_t len) {
    const char *head = memmem(bytes, len, "\r\n\r\n", 4);
    if (!head) return 0;
    static const char length[] = "\r\ncontent-length:";
    size_t size = 0;
    for (const char *p = bytes; p < head; p++)
        if (!strncasecmp(p, length, sizeof length - 1)) size = strtoul(p + sizeof length - 1, NULL, 10);
    const char *body = head + 4, *end = body + size;
    if ((size_t)(bytes + len - body) < size) return 0;
    if (bytes[9] != '2') {
        if (totals.refused++ == 0) fprintf(stderr, "refused: %.*s\n", (int)(len < 600 ? len : 600), bytes);
        conn_close(c);
        return len;
    }
    if (!c->token) {
        c->seat = json_text(body, end, "\"participant_id\":\"");
        c->token = json_text(body, end, "\"token\":\"");
    }
    if (++c->asked < plan.ask_count) {
        send_ask(c);
        return (size_t)(end - bytes);
    }
    drop_socket(c);
    conn_start(c, (int)(c - plan.conns));
    return len;
}

static size_t take_upgrade(struct conn *c, const char *bytes, size_t len) {
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (!end) return 0;
    if (len < 12 || memcmp(bytes + 8, " 101", 4)) {
        if (totals.refused++ == 0) fprintf(stderr, "refused: %.*s\n", (int)(len < 600 ? len : 600), bytes);
        conn_close(c);
        return len;
    }
    c->phase = PHASE_OPEN;
    if (plan.hello) conn_queue_text(c, plan.hello);
    if (plan.ready_class == NO_CLASS) become_ready(c);
    return (size_t)(end - bytes) + 4;
}

/* Reads once; true if there may be more. */
static int read_some(struct conn *c) {
    if (c->stash_len) memcpy(buffer, c->stash, c->stash_len);
    ssize_t n = recv(c->fd, buffer + c->stash_len, READ_BYTES, 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) conn_close(c);
        return 0;
    }
    totals.bytes += (uint64_t)n;
    size_t len = c->stash_len + (size_t)n, at = 0;
    if (c->phase == PHASE_ASKING) {
        at = take_answer(c, buffer, len);
        if (c->phase == PHASE_OPENING) return 0;
    } else if (c->phase == PHASE_UPGRADING) at = take_upgrade(c, buffer, len);
    if (c->phase == PHASE_OPEN || c->phase == PHASE_READY) at += walk(c, buffer + at, len - at);
    if (c->phase == PHASE_CLOSED) return 0;
    size_t left = len - at;
    if (left > READ_BYTES * 4) {
        fprintf(stderr, "a frame above %d bytes\n", READ_BYTES * 4);
        exit(3);
    }
    if (left || c->stash) {
        if (left) {
            c->stash = realloc(c->stash, left);
            memcpy(c->stash, buffer + at, left);
        } else {
            free(c->stash);
            c->stash = NULL;
        }
        c->stash_len = (uint32_t)left;
    }
    return n == READ_BYTES;
}

static void readable(struct conn *c) {
    while (read_some(c)) continue;
}

void conn_events(struct conn *c, uint32_t events) {
    if (c->phase == PHASE_CLOSED) return;
    if (c->phase == PHASE_OPENING) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error) {
            totals.refused++;
            conn_close(c);
            return;
        }
        if (events & EPOLLOUT) {
            if (c->joins && c->asked < plan.ask_count) send_ask(c);
            else send_upgrade(c);
            flush(c);
            if (c->phase != PHASE_CLOSED && c->wants_out && !c->out_len) watch(c, EPOLL_CTL_MOD, 0);
        }
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
    if (c->phase != PHASE_CLOSED && (events & EPOLLOUT)) flush(c);
}

/* One turn: everything that arrived, then one send per connection that has something to say. */
void loop_turn(int timeout_ms) {
    static struct epoll_event events[1024];
    int n = epoll_wait(poller, events, 1024, timeout_ms);
    for (int i = 0; i < n; i++) conn_events(events[i].data.ptr, events[i].events);
    for (int i = 0; i < dirty_count; i++) {
        dirty[i]->dirty = 0;
        if (dirty[i]->phase != PHASE_CLOSED) flush(dirty[i]);
    }
    dirty_count = 0;
}
