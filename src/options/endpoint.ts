import { resolve } from 'node:path'
import { invalid, isObject, Mongrel2Error } from '../runtime/errors.ts'
import * as is from './option.ts'

/** Where Mongrel2 stores large bodies, and whether to keep them. */
export interface UploadOptions {
  /** The value of Mongrel2's setting `upload.temp_store`. Default: `tmp/mongrel2.upload.XXXXXX`. */
  tempStore?: string
  /** Whether to keep the files after the response. Default: false, they are deleted. */
  keep?: boolean
}

/** The kind of sockets to Mongrel2. */
export type LinkOption = 'auto' | 'zmtp' | 'zeromq'

/** A Handler of a Mongrel2, by the names of its configuration, with options that may differ from those of other endpoints. */
export interface EndpointOptions {
  /** The Handler's `send_spec`: `tcp://HOST:PORT` or `ipc://PATH`; or `inproc://NAME` as a gateway of this process has bound it. */
  sendSpec: string
  /** The Handler's `recv_spec`. */
  recvSpec: string
  /** As `chroot` of all endpoints. */
  chroot?: string
  /** As `uploads` of all endpoints. */
  uploads?: UploadOptions
  /** As `flowControl` of all endpoints. */
  flowControl?: boolean
  /** As `link` of all endpoints. */
  link?: LinkOption
  /** As `maxMessageSize` of all endpoints. */
  maxMessageSize?: number
  /**
   * The address of Mongrel2's control port, which tells what clients have read: `ipc://PATH` or `tcp://HOST:PORT`; or, as `controlPort` of all
   * endpoints, whether to look for it.
   */
  controlPort?: string | boolean
}

/** An endpoint as options or as the string `SEND_SPEC,RECV_SPEC` or `SEND_SPEC,RECV_SPEC,CONTROL_PORT`. */
export type EndpointInput = string | EndpointOptions

/** A Mongrel2 Handler, by its own names: we pull from its send_spec and publish to its recv_spec. */
export interface Endpoint {
  /** The Handler's `send_spec`, such as `tcp://127.0.0.1:9999` or `ipc:///srv/m2/run/send`. */
  readonly sendSpec: string
  /** The Handler's `recv_spec`. */
  readonly recvSpec: string
}

/** The options of a link, checked. */
export interface EndpointSettings extends Endpoint {
  /** Bytes that the body of a message may have; longer messages are cut. */
  readonly maxMessageSize: number
  readonly link: 'zmtp' | 'zeromq'
  /** The address, if the user gave it. */
  readonly controlPort: string | undefined
  /** Whether to look for it in the chroot without an address. */
  readonly findControlPort: boolean
  readonly uploads: is.Checked<typeof UPLOADS> & { readonly chroot: string }
  readonly flowControl: boolean
}

/** The longest body of a message: a netstring's length has 9 digits. */
const MAX_MESSAGE_SIZE = 999_999_999

const UPLOADS = {
  tempStore: is.text(
    "Mongrel2's upload.temp_store, a path that ends in XXXXXX and has no '..'",
    (path) => path.endsWith('XXXXXX') && !path.split('/').includes('..'),
    {
      initial: 'tmp/mongrel2.upload.XXXXXX',
      flag: 'temp-store',
      placeholder: 'TEMPLATE',
      help: "The value of Mongrel2's setting upload.temp_store.",
    },
  ),
  keep: is.boolean(false, { flag: 'keep-uploads', help: 'Keep the files of uploads when the response is finished.' }),
} satisfies is.Described<UploadOptions>

/** Options of the server that an endpoint may have too. */
export const OF_ENDPOINTS = {
  link: is.oneOf(['auto', 'zmtp', 'zeromq'], 'auto', {
    placeholder: 'KIND',
    help: "What the sockets are made of: zmtp (Node's own), zeromq (libzmq) or auto.",
  }),
  chroot: is.text('a path', undefined, {
    initial: () => process.cwd(),
    fallback: 'working directory',
    placeholder: 'DIR',
    help: "Mongrel2's chroot as seen from this process.",
  }),
  uploads: is.group('option of uploads', '{ tempStore, keep }', UPLOADS),
  flowControl: is.boolean(false, {
    fallback: 'found out',
    help: 'Mongrel2 runs with download.flow_control and several processes pull from its Handler.',
  }),
  controlPort: is.boolean(true, {
    help: "Look for Mongrel2's control port, run/control in its chroot, where --zeromq names none.",
  }),
  maxMessageSize: is.bytes(16 * is.MIB, [1, MAX_MESSAGE_SIZE], {
    help: 'What one message from Mongrel2 may have as its body: a WebSocket frame, or a body that is sent whole.',
  }),
}

const ENDPOINT = {
  sendSpec: is.SEND_SPEC,
  recvSpec: is.SPEC,
  ...OF_ENDPOINTS,
  controlPort: is.checkedBy<string | boolean>((name, value) =>
    (typeof value === 'string' ? is.SPEC : OF_ENDPOINTS.controlPort).check(name, value),
  ),
} satisfies is.Described<EndpointOptions>
const checkEndpoint = is.checkerOf('option of an endpoint', 'an object', ENDPOINT)

/** The option `zeromq`. */
export const ZEROMQ: is.Option<readonly EndpointOptions[]> = is.checkedBy(checkEndpoints, {
  read: is.wordsIn,
  repeated: true,
  placeholder: 'SEND,RECV[,CONTROL]',
})

function checkEndpoints(name: string, value: unknown): EndpointOptions[] {
  const inputs: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (inputs.length === 0) throw invalid(name, 'at least one endpoint', value)
  const endpoints = inputs.map((input) => endpointOf(name, input))
  const pulled = endpoints.map(({ sendSpec }) => sendSpec)
  const twice = pulled.find((spec, at) => pulled.indexOf(spec) !== at)
  if (twice !== undefined) {
    throw new Mongrel2Error('invalid_option', `${name}: expected each Handler once, got ${twice} twice`)
  }
  return endpoints
}

/** An endpoint as an object, its options checked. */
function endpointOf(name: string, input: unknown): EndpointOptions {
  const form = "'SEND_SPEC,RECV_SPEC[,CONTROL_PORT]' or { sendSpec, recvSpec }"
  if (typeof input === 'string') {
    const [sendSpec, recvSpec, controlPort, ...more] = input.split(',').map((spec) => spec.trim())
    if (recvSpec === undefined || more.length > 0) throw invalid(name, form, input)
    return endpointOf(name, { sendSpec, recvSpec, controlPort })
  }
  if (!isObject(input)) throw invalid(name, form, input)
  checkEndpoint(input)
  const defined = Object.entries(input).filter(([, value]) => value !== undefined)
  return Object.fromEntries(defined) as object as EndpointOptions
}

/** @param ofAll The options of the server, for those that the endpoint does not set. */
export function endpointSettings(own: EndpointOptions, ofAll: is.Checked<typeof OF_ENDPOINTS>): EndpointSettings {
  const { sendSpec, recvSpec, flowControl, maxMessageSize, controlPort, link, chroot, uploads } = checkEndpoint({
    ...ofAll,
    ...own,
    uploads: { ...ofAll.uploads, ...own.uploads },
  })
  return {
    sendSpec,
    recvSpec,
    link: linkOf(link, [sendSpec, recvSpec]),
    controlPort: typeof controlPort === 'string' ? controlPort : undefined,
    findControlPort: typeof controlPort === 'string' ? ofAll.controlPort : controlPort,
    uploads: { chroot: resolve(chroot), ...uploads },
    flowControl,
    maxMessageSize,
  }
}

/** Abstract names need libzmq: Node 20 pads them with zeros, which changes them. */
function linkOf(link: LinkOption, specs: readonly string[]): 'zmtp' | 'zeromq' {
  const abstract = specs.find((spec) => spec.startsWith('ipc://@'))
  if (abstract === undefined) return link === 'zeromq' ? link : 'zmtp'
  if (link === 'zmtp') throw invalid('link', `'auto' or 'zeromq' for ${abstract}`, link)
  return 'zeromq'
}
