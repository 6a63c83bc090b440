/** What stands in an attribute such as `onmessage`. */
export type EventHandler<Target, Dispatched extends Event> = ((this: Target, event: Dispatched) => void) | null

/** An attribute such as `onmessage` (HTML standard, "event handlers"): a listener whose function can be replaced. */
export class EventHandlerAttribute<Target, Dispatched extends Event> {
  readonly #target: Target
  readonly #listen: (listener: (event: Dispatched) => void) => void
  #handler: EventHandler<Target, Dispatched> = null
  #listens = false

  /** @param listen Adds a listener to the target, once there is a handler: it keeps its place among the others. */
  constructor(target: Target, listen: (listener: (event: Dispatched) => void) => void) {
    this.#target = target
    this.#listen = listen
  }

  get handler(): EventHandler<Target, Dispatched> {
    return this.#handler
  }

  /** Whatever is no function takes the handler away. */
  set handler(handler: EventHandler<Target, Dispatched>) {
    this.#handler = typeof handler === 'function' ? handler : null
    if (this.#listens || this.#handler === null) return
    this.#listens = true
    this.#listen((event) => this.#handler?.call(this.#target, event))
  }
}
