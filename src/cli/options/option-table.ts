import type { Mongrel2Options, UploadOptions } from '../../options/options.ts'
import type { WorkersOptions } from '../../workers/workers-options.ts'

/** What the text of a flag or an environment variable is read as. */
export type OptionKind = 'string' | 'integer' | 'boolean' | 'endpoints' | 'proxies' | 'processes' | 'words' | 'keys'

interface Row {
  readonly kind: OptionKind
  /** The flag without its dashes. Default: the key in kebab-case. */
  readonly flag?: string
  /** A letter that is a flag, too. */
  readonly letter?: string
  /** What stands for the value in the help. */
  readonly value?: string
  readonly choices?: readonly string[]
  /** The default, as people read it. */
  readonly otherwise: string
  /** What it does: one sentence for the help and the README. */
  readonly summary: string
}

type Scalar<T> = { [K in keyof T & string]: NonNullable<T[K]> extends string | number | boolean ? K : never }[keyof T &
  string]
/** Every option of the library that a flag can give; the compiler asks for a row when one is added. */
type LibraryKey = Scalar<Omit<Mongrel2Options, 'uploads'>> | `uploads.${Scalar<Required<UploadOptions>>}`

/** The same for `serveWithWorkers`. */
type WorkersKey = keyof Omit<WorkersOptions, 'app' | 'options' | 'cluster'>

const COMMAND = {
  app: {
    kind: 'string',
    value: 'FILE',
    otherwise: '',
    summary: 'The module with the handler; on the command line it is the argument.',
  },
  export: {
    kind: 'string',
    value: 'NAME',
    otherwise: 'default',
    summary: "The module's export that is the handler: a fetch function or an object with one.",
  },
  zeromq: {
    kind: 'endpoints',
    value: 'SEND,RECV[,CONTROL]',
    otherwise: '',
    summary: 'A Handler to serve. The flag can be given again; in the variable they are separated by blanks.',
  },
  config: {
    kind: 'string',
    value: 'FILE',
    otherwise: 'mongrel2-fetch.config.{ts,mts,cts,js,mjs,cjs,json}',
    summary: 'The configuration file.',
  },
  logger: {
    kind: 'string',
    value: 'console|zeromq:ADDRESS',
    otherwise: 'console',
    summary: 'Where log lines go: to stderr, or to a PULL socket that listens at the address.',
  },
  logLevel: {
    kind: 'string',
    value: 'LEVEL',
    choices: ['debug', 'info', 'warn', 'error', 'silent'],
    otherwise: 'info',
    summary: 'The least that is logged: debug, info, warn, error or silent.',
  },
  closeTimeout: {
    kind: 'integer',
    value: 'MS',
    otherwise: '10000',
    summary: 'How long open requests may take after the first signal.',
  },
  http: {
    kind: 'string',
    value: 'HOST:PORT|PATH',
    otherwise: '',
    summary: 'Answer ordinary HTTP, too, or only: at an address, or at a socket in the file system.',
  },
  direct: {
    kind: 'boolean',
    otherwise: 'false',
    summary: 'Let every worker process pull from Mongrel2 for itself, without a dispatcher.',
  },
  cluster: {
    kind: 'string',
    value: 'ADDRESS',
    otherwise: '',
    summary: 'With an app, where nodes may join: tcp://HOST:PORT; without, the main node to join: tcp://KEY@HOST:PORT.',
  },
  clusterKey: {
    kind: 'string',
    value: 'FILE',
    otherwise: 'mongrel2-fetch.key, if there is one',
    summary: "This machine's keys, as `mongrel2-fetch keygen` makes them.",
  },
  clusterNodes: {
    kind: 'keys',
    value: 'KEY',
    otherwise: '',
    summary:
      'The public key of a node that may join. The flag can be given again; in the variable they are separated by blanks.',
  },
  clusterZeromq: {
    kind: 'endpoints',
    value: 'SEND,RECV[,CONTROL]',
    otherwise: 'as --zeromq',
    summary: 'A Handler as nodes reach it, in the order of --zeromq.',
  },
  insecure: {
    kind: 'boolean',
    otherwise: 'false',
    summary: 'Do without keys in the cluster, though other machines can connect.',
  },
  port: {
    kind: 'integer',
    value: 'N',
    otherwise: '6767',
    summary: 'Where `dev` listens for browsers; 0 is any free port.',
  },
} as const satisfies Record<string, Row>

const LIBRARY = {
  link: {
    kind: 'string',
    value: 'KIND',
    choices: ['auto', 'zmtp', 'zeromq'],
    otherwise: 'auto',
    summary: "What the sockets are made of: zmtp (Node's own), zeromq (libzmq) or auto.",
  },
  identity: { kind: 'string', value: 'UUID', otherwise: 'a new UUID', summary: 'The identity of the sockets.' },
  chroot: {
    kind: 'string',
    value: 'DIR',
    otherwise: 'working directory',
    summary: "Mongrel2's chroot as seen from this process.",
  },
  'uploads.tempStore': {
    kind: 'string',
    flag: 'temp-store',
    value: 'TEMPLATE',
    otherwise: 'tmp/mongrel2.upload.XXXXXX',
    summary: "The value of Mongrel2's setting upload.temp_store.",
  },
  'uploads.keep': {
    kind: 'boolean',
    flag: 'keep-uploads',
    otherwise: 'false',
    summary: 'Keep the files of uploads when the response is finished.',
  },
  flowControl: {
    kind: 'boolean',
    otherwise: 'found out',
    summary: 'Mongrel2 runs with download.flow_control and several processes pull from its Handler.',
  },
  controlPort: {
    kind: 'boolean',
    otherwise: 'true',
    summary: "Look for Mongrel2's control port, run/control in its chroot, where --zeromq names none.",
  },
  shared: {
    kind: 'boolean',
    otherwise: 'false',
    summary: 'Take stored bodies whose beginning went to another process that pulls from the same Handler.',
  },
  maxInFlight: { kind: 'integer', value: 'N', otherwise: '1024', summary: 'Handlers that run at once.' },
  maxQueued: {
    kind: 'integer',
    value: 'N',
    otherwise: '1024',
    summary: 'Requests that wait for one of those places; those beyond get a 503.',
  },
  maxPipelined: {
    kind: 'integer',
    value: 'N',
    otherwise: '16',
    summary: 'Requests of one connection that are worked on at once.',
  },
  maxBufferedBytes: {
    kind: 'integer',
    value: 'BYTES',
    otherwise: '8 MiB',
    summary: 'What is held of one streaming response until its client takes it.',
  },
  minClientRate: {
    kind: 'integer',
    value: 'BYTES',
    otherwise: '16 KiB',
    summary: 'Bytes a second that a client has to read where nobody tells what it has read.',
  },
  maxWaitingBytes: {
    kind: 'integer',
    value: 'BYTES',
    otherwise: '256 MiB',
    summary: 'What may wait in Mongrel2 for all clients together where nobody tells what they have read.',
  },
  keepAliveInterval: {
    kind: 'integer',
    value: 'MS',
    otherwise: '45000',
    summary: 'How often Mongrel2 is told to keep connections with an open request.',
  },
  handlerTargets: {
    kind: 'integer',
    value: 'N',
    otherwise: '128',
    summary: "Connections that one reply may name: Mongrel2's limits.handler_targets.",
  },
  uploadWindow: {
    kind: 'integer',
    value: 'BYTES',
    otherwise: '256 KiB',
    summary: 'What of a streamed upload may be on its way to its handler.',
  },
  bodyTimeout: {
    kind: 'integer',
    value: 'MS',
    otherwise: '60000',
    summary: 'How long a client may take between two parts of a streamed body; then 408. 0 is no limit.',
  },
  maxMessageSize: {
    kind: 'integer',
    value: 'BYTES',
    otherwise: '16 MiB',
    summary: 'What one message from Mongrel2 may have as its body: a WebSocket frame, or a body that is sent whole.',
  },
  requestTimeout: {
    kind: 'integer',
    value: 'MS',
    otherwise: '0, none',
    summary: 'How long a handler may take to return its Response; then 504.',
  },
  maxBodySize: { kind: 'integer', value: 'BYTES', otherwise: 'none', summary: 'Larger request bodies get a 413.' },
  host: {
    kind: 'string',
    value: 'HOST',
    otherwise: 'localhost',
    summary: 'The authority in the URL of HTTP/1.0 requests that name no host.',
  },
  trustProxy: {
    kind: 'proxies',
    value: 'N|true',
    otherwise: 'false',
    summary: 'Proxies in front of Mongrel2 whose X-Forwarded headers are believed.',
  },
  overrideGlobalObjects: {
    kind: 'boolean',
    otherwise: 'true',
    summary: 'Replace the global Request, Response and fetch by quick ones.',
  },
} as const satisfies Record<LibraryKey, Row>

const WORKERS = {
  workers: {
    kind: 'processes',
    letter: 'p',
    value: 'N|auto',
    otherwise: '1',
    summary: 'Worker processes; auto is one for each processor.',
  },
  threads: { kind: 'integer', value: 'N', otherwise: '1', summary: 'Handler threads in each worker process.' },
  workerTimeout: {
    kind: 'integer',
    value: 'MS',
    otherwise: '30000',
    summary: 'How long a worker may give no sign of life until it is killed.',
  },
  startTimeout: {
    kind: 'integer',
    value: 'MS',
    otherwise: '60000',
    summary: 'How long a worker may take to load the app.',
  },
  replaceTimeout: {
    kind: 'integer',
    value: 'MS',
    otherwise: '30000',
    summary: 'How long a worker that is replaced may take to finish what is open.',
  },
  maxRequests: {
    kind: 'integer',
    value: 'N',
    otherwise: '0, never',
    summary: 'Requests after which a worker process is replaced.',
  },
  maxRss: {
    kind: 'integer',
    value: 'BYTES',
    otherwise: '0, never',
    summary: 'Resident memory beyond which a worker process is replaced.',
  },
  execArgv: {
    kind: 'words',
    value: 'ARGS',
    otherwise: "the command's own",
    summary: 'Arguments for Node in worker processes, separated by blanks.',
  },
} as const satisfies Record<WorkersKey, Row>

/** A key of the configuration file; a dot stands for an object in an object. */
export type OptionKey = keyof typeof COMMAND | keyof typeof LIBRARY | keyof typeof WORKERS

/** One option of the command with its three names. */
export interface Option extends Row {
  readonly key: OptionKey
  readonly flag: string
  readonly environment: string
  /** Whether it is an option of `serveMongrel2`, of `serveWithWorkers` or of the command alone. */
  readonly group: 'command' | 'server' | 'workers'
}

/** Every option: the one place for flags, keys of the configuration file and environment variables. */
export const OPTIONS: readonly Option[] = [
  ...(Object.entries(COMMAND) as [OptionKey, Row][]).map(([key, row]) =>
    option(key, row, key === 'zeromq' ? 'server' : 'command'),
  ),
  ...(Object.entries(WORKERS) as [OptionKey, Row][]).map(([key, row]) => option(key, row, 'workers')),
  ...(Object.entries(LIBRARY) as [OptionKey, Row][]).map(([key, row]) => option(key, row, 'server')),
]

function option(key: OptionKey, row: Row, group: Option['group']): Option {
  const flag = row.flag ?? key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  return { ...row, key, group, flag, environment: `MONGREL2_FETCH_${flag.toUpperCase().replaceAll('-', '_')}` }
}

const SERVE_ALONE: readonly OptionKey[] = [
  'http',
  'direct',
  'cluster',
  'clusterKey',
  'clusterNodes',
  'clusterZeromq',
  'insecure',
]

/** What takes an app and options. */
export type Subcommand = 'serve' | 'dev'

/** The options that a subcommand takes as flags. */
export function flagsOf(command: Subcommand): Option[] {
  const others = ({ key, group }: Option) =>
    command === 'serve' ? key === 'port' : SERVE_ALONE.includes(key) || group === 'workers'
  return OPTIONS.filter((option) => option.key !== 'app' && !others(option))
}
