// Limits of Mongrel2 1.12 by their names there. If a setting can change one, this is the default.

/** `DELIVER_OUTSTANDING_MSGS`: messages that may wait for one connection; one more and Mongrel2 ends it. */
export const DELIVER_OUTSTANDING_MSGS = 16

/** Bytes that may wait for one connection under `download.flow_control`; one more and Mongrel2 ends it. */
export const FLOW_CONTROL_WINDOW = 102_400

/** `limits.buffer_size`: bytes that the line and headers of a request may have. */
export const BUFFER_SIZE = 4096

/** `limits.content_length`: bytes of a body that a message may have. */
export const CONTENT_LENGTH = 20_480

/** `superpoll.max_fd`: files that Mongrel2 may have open. */
export const SUPERPOLL_MAX_FD = 10_240

/** `superpoll.hot_dividend`: the part of these for busy connections is one of so many. */
export const SUPERPOLL_HOT_DIVIDEND = 4

/** `limits.handler_targets`: connections that one reply can name. */
export const HANDLER_TARGETS = 128

/** The largest Content-Length that Mongrel2 reads a body for: it keeps the length in a C `int`. */
export const MAX_CONTENT_LENGTH = 2_147_483_647

/** Values of one field that Mongrel2 keeps; it silently drops more. */
export const MOST_FIELD_VALUES = 5
