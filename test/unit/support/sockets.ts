import {
  type ServerWebSocket,
  type SocketCloseEvent,
  type UpgradeWebSocketOptions,
  upgradeWebSocket,
} from '../../../src/index.ts'
import { describeFrame, parseServerFrames } from '../../support/websocket-frames.ts'
import { renderFrameMessage, renderHandshake } from './message.ts'
import { type FakePublisher, type Stage, type StageOptions, setStage } from './stage.ts'

/** A stage whose handler accepts every handshake, with one socket open on connection 1. */
export interface SocketStage {
  readonly stage: Stage
  readonly socket: ServerWebSocket
  /** What happened at the socket, in a few words. */
  readonly events: string[]
  /** The frames that the client has got, in a few words, and `end` for the end of the connection. */
  frames(): string[]
  /** Hands over a frame of the client's. */
  frame(flags: string, payload?: string | Uint8Array): void
}

/**
 * Opens a socket.
 *
 * @param before What the handler waits for before it returns its response.
 */
export function openSocket(
  options: UpgradeWebSocketOptions = {},
  { headers, ...stageOptions }: StageOptions & { headers?: Record<string, string> } = {},
  before?: () => Promise<void>,
): SocketStage {
  const sockets: ServerWebSocket[] = []
  const events: string[] = []
  const stage = setStage((request) => {
    const { socket, response } = upgradeWebSocket(request, options)
    sockets.push(socket)
    record(socket, events)
    return before === undefined ? response : before().then(() => response)
  }, stageOptions)
  stage.receive(renderHandshake({ headers: headers ?? {} }))
  const [socket] = sockets
  if (socket === undefined) throw new Error('no socket')
  return {
    stage,
    socket,
    events,
    frames: () => framesOf(stage.publisher, 1),
    frame: (flags, payload) => stage.receive(renderFrameMessage(1, flags, payload)),
  }
}

/** Describes what happens at a socket, which gets bytes as ArrayBuffer. */
export function record(socket: ServerWebSocket, events: string[]): void {
  socket.binaryType = 'arraybuffer'
  socket.addEventListener('open', () => events.push('open'))
  socket.addEventListener('message', ({ data }) => {
    events.push(data instanceof ArrayBuffer ? `bytes ${Buffer.from(data).toString('latin1')}` : `text ${data}`)
  })
  socket.addEventListener('error', ({ message }) => events.push(`error ${message}`))
  socket.addEventListener('close', (event) => events.push(describeClose(event)))
}

export function describeClose({ code, reason, wasClean }: SocketCloseEvent): string {
  return `close ${code} ${JSON.stringify(reason)}${wasClean ? ' clean' : ''}`
}

/** The frames that a client has got behind the head. */
export function framesOf(publisher: FakePublisher, id: number): string[] {
  const payloads = publisher.payloadsFor(id)
  const bytes = Buffer.concat(payloads)
  const start = bytes.indexOf('\r\n\r\n') + 4
  const { frames, rest } = parseServerFrames(bytes.subarray(start))
  if (rest.length > 0) throw new Error(`${rest.length} bytes of a frame`)
  return [...frames.map(describeFrame), ...(payloads.some(({ length }) => length === 0) ? ['end'] : [])]
}
