import { defineHandler } from 'nitro'
import { createEventStream } from 'nitro/h3'
import { steps } from '../../steps.ts'

export default defineHandler((event) => {
  const stream = createEventStream(event)
  void (async () => {
    for await (const step of steps()) await stream.push(step)
    await stream.close()
  })()
  return stream.send()
})
