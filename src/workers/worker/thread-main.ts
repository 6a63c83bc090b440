import { parentPort, workerData } from 'node:worker_threads'
import type { Settings } from '../../exchange/options.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { countGarbage } from '../../runtime/process/young-collection.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { piecesOf } from '../../wire/reply.ts'
import { type News, renderJson } from '../protocol/frames.ts'
import { leaveAfterUncaughtError, parentLogger } from './parent.ts'
import { bufferOf, type FromThread, type OwnBytes, sizeOf, type ToThread } from './thread-handle.ts'
import { loadSettings, reasonOf, type WorkerConfig } from './worker-config.ts'
import { type Uplink, WorkerServer } from './worker-server.ts'

// The entry of a handler thread. It has no sockets: the end of a thread with a pending read of ZeroMQ's would end the process.

/** Bytes on their way through the main thread above which streams wait. */
const FULL_AT = 4 * 1024 * 1024

const NOTHING = new Uint8Array()

const port = parentPort
if (port === null) throw new Error('expected to run in a worker thread')
const { config, thread } = workerData as { config: WorkerConfig; thread: number }

/** Published bytes that the system has not taken, by epoch. */
const untaken = new Map<number, number>()
const rooms = new Map<number, Deferred<void>>()
const questions = new Map<number, Deferred<Map<number, number>>>()
let asked = 0

const send = (message: FromThread, transfer: readonly ArrayBuffer[] = []) => port.postMessage(message, [...transfer])
const sendFrame = (bytes: Buffer) => {
  const frame = new Uint8Array(bytes)
  send({ frame }, [frame.buffer])
}
const tell = (news: News) => sendFrame(renderJson(news))

const uplink: Uplink = {
  publish({ before, publication, after }) {
    const replies = (publication?.replies ?? []).map(piecesOf)
    // One piece of memory is transferred faster than many.
    const all = [before ?? NOTHING, after ?? NOTHING, ...replies.flat()]
    const bytes = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    const own = (pieces: readonly Uint8Array[]): OwnBytes => {
      const start = at
      for (const piece of pieces) {
        bytes.set(piece, at)
        at += piece.length
      }
      return bytes.subarray(start, at)
    }
    const message = {
      before: before && own([before]),
      after: after && own([after]),
      publication: publication && { epoch: publication.epoch, replies: replies.map(own) },
    }
    if (message.publication !== undefined) {
      const { epoch, replies } = message.publication
      untaken.set(epoch, (untaken.get(epoch) ?? 0) + sizeOf(replies))
    }
    send(message, [bytes.buffer])
  },
  send: sendFrame,
  isFull: (epoch) => (untaken.get(epoch) ?? 0) > FULL_AT,
  async drained(epoch) {
    if ((untaken.get(epoch) ?? 0) === 0) return
    const room = rooms.get(epoch) ?? deferred()
    rooms.set(epoch, room)
    await room.promise
  },
  feedback: (epoch, address) => ({
    address,
    bytesWritten: () => {
      const question = ++asked
      const answer: Deferred<Map<number, number>> = deferred()
      questions.set(question, answer)
      send({ question, epoch, address })
      return answer.promise
    },
    close: () => {},
  }),
}

const logger = parentLogger(config.logLevels, tell)
const server = new WorkerServer(await load(), thread, uplink)
void server.stopped.then(() => send({ stopped: true }))
// Set after loading: an earlier error ends the thread, which the main thread notices.
leaveAfterUncaughtError(logger, (reason) => tell({ news: 'leaving', reason }))
port.on('message', (message: ToThread) => {
  if ('frames' in message) {
    for (const frame of message.frames) {
      countGarbage(frame.length)
      server.receive(bufferOf(frame))
    }
  } else if ('taken' in message) taken(message.epoch, message.taken)
  else answered(message.question, message.written)
})
send({ loaded: true })

async function load(): Promise<Settings> {
  try {
    return await loadSettings(config, logger)
  } catch (error) {
    send({ failed: reasonOf(error) })
    throw error
  }
}

function taken(epoch: number, bytes: number): void {
  const left = (untaken.get(epoch) ?? 0) - bytes
  if (left > 0) {
    untaken.set(epoch, left)
    return
  }
  untaken.delete(epoch)
  rooms.get(epoch)?.resolve()
  rooms.delete(epoch)
}

function answered(question: number, written: ReadonlyMap<number, number> | undefined): void {
  const answer = questions.get(question)
  questions.delete(question)
  if (written === undefined) answer?.reject(new Mongrel2Error('timeout', 'the control port gave no answer'))
  else answer?.resolve(new Map(written))
}
