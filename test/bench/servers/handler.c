/* The least a Mongrel2 handler can do: handler SEND_SPEC RECV_SPEC answers every request with the same bytes. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define ANSWER \
    "HTTP/1.1 200 OK\r\n" \
    "content-type: text/plain;charset=UTF-8\r\n" \
    "content-length: 11\r\n" \
    "\r\n" \
    "Hello World"

static void *connected(void *context, int type, const char *spec)
{
    void *socket = zmq_socket(context, type);
    if (socket == NULL || zmq_connect(socket, spec) != 0) {
        fprintf(stderr, "%s: %s\n", spec, zmq_strerror(zmq_errno()));
        exit(1);
    }
    return socket;
}

/* SENDER SP CONN_ID SP PATH SP ...; writes the reply and returns its length, 0 for what must not be answered. */
static int reply_to(const char *message, size_t length, char *reply, size_t size)
{
    const char *end = message + length;
    const char *id = memchr(message, ' ', length);
    const char *path = id == NULL ? NULL : memchr(id + 1, ' ', end - id - 1);
    if (path == NULL || end - path < 3 || memcmp(path, " @*", 3) == 0) return 0;
    int written = snprintf(reply, size, "%.*s %d:%.*s, " ANSWER, (int)(id - message), message, (int)(path - id - 1),
        (int)(path - id - 1), id + 1);
    return written < (int)size ? written : 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    void *context = zmq_ctx_new();
    /* XPUB is a PUB that tells when Mongrel2 has subscribed; what is sent before is lost. */
    void *publisher = connected(context, ZMQ_XPUB, argv[2]);
    char subscription[64];
    if (zmq_recv(publisher, subscription, sizeof subscription, 0) < 1) return 1;
    void *source = connected(context, ZMQ_PULL, argv[1]);
    puts("ready");
    fflush(stdout);

    char reply[1024];
    zmq_msg_t message;
    zmq_msg_init(&message);
    while (zmq_msg_recv(&message, source, 0) >= 0) {
        int length = reply_to(zmq_msg_data(&message), zmq_msg_size(&message), reply, sizeof reply);
        if (length > 0 && zmq_send(publisher, reply, length, 0) < 0) break;
    }
    fprintf(stderr, "%s\n", zmq_strerror(zmq_errno()));
    return 1;
}
