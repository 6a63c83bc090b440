/** The longest path of an ipc address in bytes: `sun_path` of Linux holds 108, the last of them zero. */
export const IPC_LONGEST = 107

/** One Mongrel2 Handler, by its own names: what it sends on, we pull from; what it receives on, we publish to. */
export interface Endpoint {
  /** The Handler's `send_spec`, such as `tcp://127.0.0.1:9999` or `ipc:///srv/m2/run/send`. */
  readonly sendSpec: string
  /** The Handler's `recv_spec`. */
  readonly recvSpec: string
}

/** A Handler with what a link to it has to know. */
export interface LinkEndpoint extends Endpoint {
  /** Bytes that the body of a message may have; a longer message is cut. */
  readonly maxMessageSize: number
}
