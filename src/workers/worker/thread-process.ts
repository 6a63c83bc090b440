import { parentPort, workerData } from 'node:worker_threads'
import type { Settings } from '../../exchange/options.ts'
import { Mongrel2Error } from '../../runtime/errors.ts'
import { type Deferred, deferred } from '../../runtime/promises.ts'
import { lengthOf } from '../../wire/reply.ts'
import { loadSettings, reasonOf, type WorkerConfig } from './config.ts'
import { Core, type Uplink } from './core.ts'
import { distantLogger } from './distant-logger.ts'
import { leaveAfterUncaughtError } from './leaving.ts'
import type { ControlPortAnswer, FromThread, ToThread } from './thread-messages.ts'

// The entry of a handler thread. It has no sockets: ending a thread with a pending read of ZeroMQ's would end the process.

/** Bytes that may be on their way through the main thread until streams are asked to wait. */
const FULL_AT = 4 * 1024 * 1024

const port = parentPort
if (port === null) throw new Error('expected to run in a worker thread')
const { config, slot } = workerData as { config: WorkerConfig; slot: number }

const underway = new Map<number, number>()
const rooms = new Map<number, Deferred<void>>()
const questions = new Map<number, Deferred<Map<number, number>>>()
let asked = 0

const say = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer)

const uplink: Uplink = {
  emit({ before, publication, after }) {
    const transfer: ArrayBuffer[] = []
    const own = (bytes: Buffer | undefined) => {
      if (bytes === undefined) return undefined
      const copy = new Uint8Array(bytes)
      transfer.push(copy.buffer)
      return copy
    }
    const joined = publication && {
      epoch: publication.epoch,
      lengths: publication.replies.map(lengthOf),
      bytes: join(publication.replies.flat()),
    }
    if (joined !== undefined) {
      transfer.push(joined.bytes.buffer)
      underway.set(joined.epoch, (underway.get(joined.epoch) ?? 0) + joined.bytes.length)
    }
    say({ before: own(before), publication: joined, after: own(after) }, transfer)
  },
  tell: (news) => say({ news: JSON.stringify(news) }),
  relay(frame) {
    const own = new Uint8Array(frame)
    say({ topic: own }, [own.buffer])
  },
  isFull: (epoch) => (underway.get(epoch) ?? 0) > FULL_AT,
  async drained(epoch) {
    if ((underway.get(epoch) ?? 0) === 0) return
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
      say({ question, epoch, address })
      return answer.promise
    },
    close: () => {},
  }),
}

const logger = distantLogger(config.logLevels, uplink.tell)
const core = new Core(await load(), slot, uplink)
// An error while the app loads ends the thread, which is how the main thread knows.
leaveAfterUncaughtError(logger, (reason) => uplink.tell({ news: 'leaving', reason }))
port.on('message', (message: ToThread) => {
  if ('head' in message) core.take(message.head, Buffer.from(message.message.buffer))
  else if ('order' in message) core.obey(message.order)
  else if ('topic' in message) core.takeTopicMessage(Buffer.from(message.topic.buffer))
  else if ('lost' in message) {
    core.lose(message.lost)
    taken(message.lost, underway.get(message.lost) ?? 0)
  } else if ('stop' in message) void core.stop(message.stop).then(() => say({ stopped: true }))
  else if ('taken' in message) taken(message.epoch, message.taken)
  else answered(message)
})
say({ loaded: true })

async function load(): Promise<Settings> {
  try {
    return await loadSettings(config, logger)
  } catch (error) {
    say({ failed: reasonOf(error) })
    throw error
  }
}

function taken(epoch: number, bytes: number): void {
  const left = Math.max(0, (underway.get(epoch) ?? 0) - bytes)
  if (left > 0) {
    underway.set(epoch, left)
    return
  }
  underway.delete(epoch)
  rooms.get(epoch)?.resolve()
  rooms.delete(epoch)
}

function answered({ question, written }: ControlPortAnswer): void {
  const answer = questions.get(question)
  questions.delete(question)
  if (written === undefined) answer?.reject(new Mongrel2Error('timeout', 'the control port gave no answer'))
  else answer?.resolve(new Map(written))
}

function join(pieces: readonly Buffer[]): Uint8Array<ArrayBuffer> {
  let size = 0
  for (const { length } of pieces) size += length
  const joined = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    joined.set(piece, at)
    at += piece.length
  }
  return joined
}
