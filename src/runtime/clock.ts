let turn: number | undefined

/** When this turn of the event loop first asked, by `performance.now()`, which would cost more than what it is asked for. */
export function turnTime(): number {
  if (turn === undefined) {
    turn = performance.now()
    setImmediate(() => {
      turn = undefined
    })
  }
  return turn
}

/** Milliseconds from one look at the other clock to the next: it may be set. */
const INTERVAL = 1000
let offset = 0
let nextLook = 0

/** A time of `performance.now()` as milliseconds since 1970, by the clock of now: it may have been set since the process started. */
export function wallTime(time: number): number {
  if (time >= nextLook) {
    const now = performance.now()
    offset = Date.now() - now
    nextLook = now + INTERVAL
  }
  return time + offset
}
