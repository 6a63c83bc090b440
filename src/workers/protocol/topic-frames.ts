import { SharedMessage } from '../../connection/shared-message.ts'
import { checkEventFields } from '../../topic/options.ts'
import type { EventFields } from '../../wire/http.ts'
import { MalformedError } from '../../wire/malformed.ts'

/**
 * A message of a topic with a name, as it goes from a slot to the dispatcher and on to the slots that have members: kind, slot, whether
 * it is bytes, the lengths of the name and of the event's fields, then these and the message.
 */

const TOPIC = 0x54
const HEAD = 11

/** A message of a topic. */
export interface TopicFrame {
  readonly name: string
  readonly message: SharedMessage
}

/** @param slot Who sends it. */
export function renderTopicFrame(slot: number, { name, message }: TopicFrame): Buffer {
  const nameBytes = Buffer.from(name)
  const fields = Buffer.from(JSON.stringify(message.fields))
  const head = Buffer.allocUnsafe(HEAD)
  head[0] = TOPIC
  head[1] = slot
  head[2] = message.binary ? 1 : 0
  head.writeUInt32LE(nameBytes.length, 3)
  head.writeUInt32LE(fields.length, 7)
  return Buffer.concat([head, nameBytes, fields, message.payload])
}

export function isTopicFrame(frame: Buffer): boolean {
  return frame[0] === TOPIC
}

/** The slot that it comes from, or goes to. */
export function topicSlotOf(frame: Buffer): number {
  return frame[1] as number
}

/** The topic that it is for. */
export function topicNameOf(frame: Buffer): string {
  return parseTopicFrame(frame).name
}

/** The same for another slot. */
export function addressTopicFrame(frame: Buffer, slot: number): Buffer {
  const copy = Buffer.from(frame)
  copy[1] = slot
  return copy
}

/** @throws MalformedError when it is none: whoever sent it, others are about to parse it. */
export function parseTopicFrame(frame: Buffer): TopicFrame {
  const start = frame.length < HEAD ? HEAD : HEAD + frame.readUInt32LE(3)
  const end = frame.length < HEAD ? HEAD : start + frame.readUInt32LE(7)
  if (end > frame.length) {
    throw new MalformedError(`expected a topic's message of at least ${end} bytes, got ${frame.length}`)
  }
  const name = frame.toString('utf8', HEAD, start)
  const fields = fieldsIn(frame.toString('utf8', start, end))
  return { name, message: new SharedMessage(frame[2] === 1, frame.subarray(end), fields) }
}

function fieldsIn(json: string): EventFields {
  try {
    return checkEventFields(JSON.parse(json))
  } catch (error) {
    throw new MalformedError(`expected an event's fields in a topic's message: ${error}`)
  }
}
