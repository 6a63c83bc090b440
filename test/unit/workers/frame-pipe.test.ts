import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import { renderMessages } from '../../../src/wire/zmtp/frame.ts'
import { FramePipe } from '../../../src/workers/protocol/frame-pipe.ts'
import { mostExternalMemory } from '../support/external-memory.ts'

const MIB = 1024 * 1024

it('frames that nobody keeps fill no memory', async () => {
  const [input, output] = [new PassThrough(), new PassThrough()]
  let received: (frame: Buffer) => void = () => {}
  new FramePipe(
    input as unknown as Socket,
    output as unknown as Socket,
    (frame) => received(frame),
    (error) => expect.fail(String(error)),
  )
  const frames = renderMessages([Buffer.alloc(MIB)])
  const most = await mostExternalMemory(MIB, async () => {
    const size = new Promise<number>((resolve) => {
      received = ({ length }) => resolve(length)
    })
    for (const piece of frames) input.write(piece)
    expect(await size).toBe(MIB)
  })
  expect(most).toBeLessThan(16)
})
