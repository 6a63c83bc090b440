import { connect } from 'node:net'
import { addressOf } from '../../link/zmtp/connection.ts'
import { ZmtpPublisher } from '../../link/zmtp/publisher.ts'
import { messageOf } from '../../runtime/log.ts'
import { delay } from '../../runtime/promises.ts'
import { parseCommand, parseReady } from '../../wire/zmtp/command.ts'
import { FrameParser } from '../../wire/zmtp/frame.ts'
import { GREETING, parseGreeting } from '../../wire/zmtp/greeting.ts'

/** Milliseconds for an answer. */
const TIMEOUT = 1500

/** The type of the ZeroMQ socket at an address, such as `PUSH`, or why there is none. */
export interface Probed {
  readonly type?: string
  readonly problem?: string
}

/** Finds out the type of a socket, without the end of the handshake: a PUSH deals no message to us. */
export function probe(spec: string): Promise<Probed> {
  return new Promise((resolve) => {
    const socket = connect(addressOf(spec))
    const end = (probed: Probed) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(probed)
    }
    const timer = setTimeout(() => end({ problem: `no answer within ${TIMEOUT} ms` }), TIMEOUT)
    const frames = new FrameParser(({ body }) => {
      end({ type: parseReady(parseCommand(body).data).get('socket-type') ?? '' })
    })
    let greeting: Buffer | undefined = Buffer.alloc(0)
    socket.on('connect', () => socket.write(GREETING))
    socket.on('error', (error) => end({ problem: messageOf(error) }))
    socket.on('close', () => end({ problem: 'it closed the connection' }))
    socket.on('data', (bytes: Buffer) => {
      try {
        if (greeting === undefined) return frames.push(bytes)
        greeting = Buffer.concat([greeting, bytes])
        if (parseGreeting(greeting) === undefined) return
        frames.push(greeting.subarray(GREETING.length))
        greeting = undefined
      } catch (error) {
        end({ problem: messageOf(error) })
      }
    })
  })
}

/** The prefix that a SUB socket has subscribed to; undefined if it does not say. */
export async function subscriptionAt(spec: string): Promise<string | undefined> {
  const publisher = new ZmtpPublisher(spec, 'doctor', () => {})
  try {
    return await Promise.race([publisher.opened, delay(TIMEOUT).then(() => undefined)])
  } catch {
    return undefined
  } finally {
    publisher.close()
  }
}
