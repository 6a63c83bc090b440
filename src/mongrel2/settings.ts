import * as is from '../options/option.ts'
import { spec, text } from './quoting.ts'

/** Mongrel2's settings by their names there, for all servers of a configuration. A flag is true or false, or 1 or 0. */
export interface Mongrel2Settings {
  /** The directory of certificates, with a slash at its end: `UUID.crt` and `UUID.key` of each server with `tls`. */
  certdir?: string
  /** The control port of servers that name none. Default: `ipc://run/control`. */
  control_port?: string
  /** Whether no access log is written. Default: false. */
  'disable.access_logging'?: Mongrel2Flag
  /** Whether Handlers are told what each client has read, 102,400 bytes of which may wait. Default: false. */
  'download.flow_control'?: Mongrel2Flag
  /** Bytes that the line and headers of a request may have. Default: 4096. */
  'limits.buffer_size'?: number
  /** Attempts to read the head of a request from a client. Default: 5. */
  'limits.client_read_retries'?: number
  /** Bytes of the stack of a connection. Default: 32,768. */
  'limits.connection_stack_size'?: number
  /** Bytes of a body that a message to a Handler may have. Larger ones are uploads. Default: 20,480. */
  'limits.content_length'?: number
  /** Bytes that the path of a file of a Dir may have. Default: 256. */
  'limits.dir_max_path'?: number
  /** Bytes of a file of a Dir that are sent at once. Default: 16,384. */
  'limits.dir_send_buffer'?: number
  /** Bytes of the stack of the task that waits for sockets. Default: 102,400. */
  'limits.fdtask_stack'?: number
  /** Bytes of the stack of the task of a Handler. Default: 102,400. */
  'limits.handler_stack'?: number
  /** Connections that one reply may name; it is dropped if it names more. Default: 128. */
  'limits.handler_targets'?: number
  /** Headers that a request may have. Default: 1280. */
  'limits.header_count'?: number
  /** Bytes that the name of a host may have. Default: 256. */
  'limits.host_name'?: number
  /** A connection is killed when it breaks more of the three limits `limits.min_*` than this. Default: 2. */
  'limits.kill_limit'?: number
  /** Bytes that the extension of a file may have. Default: 128. */
  'limits.mime_ext_len'?: number
  /** Seconds since the last request of a client; 0 is no limit. Default: 120. */
  'limits.min_ping'?: number
  /** Bytes a second that a client has to send; 0 is no limit. Default: 300. */
  'limits.min_read_rate'?: number
  /** Bytes a second that a client has to get; 0 is no limit. Default: 300. */
  'limits.min_write_rate'?: number
  /** Attempts to read the head of a response from a Proxy. Default: 100. */
  'limits.proxy_read_retries'?: number
  /** Attempts after which a slow Proxy is logged. Default: 10. */
  'limits.proxy_read_retry_warn'?: number
  /** Seconds between two searches for connections to kill. Default: 10. */
  'limits.tick_timer'?: number
  /** Bytes that the path of a request may have. Default: 256. */
  'limits.url_path'?: number
  /** Whether TCP keep-alive is on for clients. Default: false. */
  'net.tcp_keepalive'?: Mongrel2Flag
  /** Whether the client's X-Forwarded-For is passed on; otherwise it is overwritten with the client's address. Default: false. */
  no_clobber_xff?: Mongrel2Flag
  /** Whether some malformed requests are accepted. Default: false. */
  'request.relaxed'?: Mongrel2Flag
  /** Whether Mongrel2 goes into the background. Default: true. */
  'server.daemonize'?: Mongrel2Flag
  /** The file with the certificates of authorities that clients' certificates are checked with. */
  'ssl.ca_chain'?: string
  /** Whether clients are asked for a certificate. Default: false. */
  'ssl.verify_optional'?: Mongrel2Flag
  /** Whether clients need a certificate. Default: false. */
  'ssl.verify_required'?: Mongrel2Flag
  /** The names of the cipher suites, separated by spaces. Default: all that Mongrel2 has. */
  ssl_ciphers?: string
  /** The part of `superpoll.max_fd` for busy connections: 4 is a quarter. 2 is better for thousands of clients. Default: 4. */
  'superpoll.hot_dividend'?: number
  /** Files that Mongrel2 may have open. Default: 10,240. */
  'superpoll.max_fd'?: number
  /** Whether large bodies are sent to the Handler as they arrive. Default: false. */
  'upload.stream'?: Mongrel2Flag
  /** Where large bodies are stored, a path that ends in `XXXXXX`. Without it and `upload.stream` they are refused. */
  'upload.temp_store'?: string
  /** The mode of these files, such as `0640`. Default: `0600`. */
  'upload.temp_store_mode'?: string
  /** Threads of ZeroMQ. Default: 1. */
  'zeromq.threads'?: number
}

/** A setting that is on or off. */
export type Mongrel2Flag = boolean | 0 | 1

const FLAG = is.option<Mongrel2Flag>('true or false', (value) => [true, false, 0, 1].some((one) => one === value))
/** Mongrel2 keeps numbers in a C `int`. */
const MAX_INT = 2_147_483_647
const count = (least = 1): is.Option<number> => is.count(undefined, [least, MAX_INT])

/** The checks of the settings. */
export const SETTINGS = {
  certdir: text('a path that ends in a slash', (path) => path.endsWith('/')),
  control_port: spec(),
  'disable.access_logging': FLAG,
  'download.flow_control': FLAG,
  'limits.buffer_size': count(),
  'limits.client_read_retries': count(),
  'limits.connection_stack_size': count(),
  'limits.content_length': count(),
  'limits.dir_max_path': count(),
  'limits.dir_send_buffer': count(),
  'limits.fdtask_stack': count(),
  'limits.handler_stack': count(),
  'limits.handler_targets': count(),
  'limits.header_count': count(),
  'limits.host_name': count(),
  'limits.kill_limit': count(0),
  'limits.mime_ext_len': count(),
  'limits.min_ping': count(0),
  'limits.min_read_rate': count(0),
  'limits.min_write_rate': count(0),
  'limits.proxy_read_retries': count(),
  'limits.proxy_read_retry_warn': count(),
  'limits.tick_timer': count(),
  'limits.url_path': count(),
  'net.tcp_keepalive': FLAG,
  no_clobber_xff: FLAG,
  'request.relaxed': FLAG,
  'server.daemonize': FLAG,
  'ssl.ca_chain': text('a path'),
  'ssl.verify_optional': FLAG,
  'ssl.verify_required': FLAG,
  ssl_ciphers: text('names of cipher suites'),
  'superpoll.hot_dividend': count(),
  'superpoll.max_fd': count(),
  'upload.stream': FLAG,
  'upload.temp_store': text('a path that ends in XXXXXX', (path) => path.endsWith('XXXXXX')),
  'upload.temp_store_mode': text('an octal mode such as 0640', (mode) => /^0[0-7]{1,4}$/.test(mode)),
  'zeromq.threads': count(),
} satisfies is.Described<Mongrel2Settings>
