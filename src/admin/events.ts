import type { AdminSecond, AdminStats, Monitor } from './monitor.ts'

/** An event of `/events`: what the page shows. */
interface AdminEvent {
  readonly stats: AdminStats
  /** The seconds since the last event; in the first one the last two minutes. */
  readonly seconds: readonly AdminSecond[]
  /** Whether the page may offer to reload the app. */
  readonly reloads: boolean
}

const INTERVAL = 1000

/** An event stream with one event a second. Once the server closes it ends, so that it does not hold up a server that it is part of. */
export function eventsOf(monitor: Monitor, reloads: boolean): Response {
  let timer: NodeJS.Timeout | undefined
  let last = 0
  const send = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    // The client reads too slowly: it gets the next one.
    if ((controller.desiredSize ?? 0) <= 0) return
    const stats = monitor.stats()
    const seconds = monitor.seconds.filter(({ time }) => time > last)
    last = seconds.at(-1)?.time ?? last
    const event: AdminEvent = { stats, seconds, reloads }
    controller.enqueue(Buffer.from(`retry: ${INTERVAL}\ndata: ${JSON.stringify(event)}\n\n`))
    if (!stats.closing) return
    clearInterval(timer)
    controller.close()
  }
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      timer = setInterval(() => send(controller), INTERVAL)
      send(controller)
    },
    cancel: () => clearInterval(timer),
  })
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' } })
}
